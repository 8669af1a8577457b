// cli/values.hpp: reads elements as numbers, and computes statistics of them.
#pragma once

#include <complex>
#include <cstdint>
#include <limits>
#include <optional>
#include <string>

#include "heft/element.hpp"
#include "heft/materialize.hpp"
#include "heft/tensor.hpp"

namespace heft::cli {

/// Returns the dtype in which elements of `dtype` can be read: itself for C++ number types, f32 for small floats and
/// ggml blocks, c64 for c32; nothing for raw and quantized types, which have only bytes.
std::optional<DType> readable_as(DType dtype) noexcept;

/// Loads the view in readable_as() of its dtype, quantized types as their integers. Throws Error{unsupported} if there
/// is no such dtype.
Tensor readable(const TensorView& view, const MaterializeOptions& options = {});

/// Returns the dtype in which readable() loads the view. Throws Error{unsupported} if there is none.
DType loaded_as(const TensorView& view);
/// Returns a tensor that was loaded in loaded_as(), as numbers: quantized types as their integers.
Tensor as_numbers(Tensor tensor);

/// Counts and extremes. `min`, `max` and `total` are those of finite values, which complex numbers have none of.
struct Statistics {
  std::uint64_t nan = 0;
  std::uint64_t inf = 0;
  std::uint64_t finite = 0;
  double min = std::numeric_limits<double>::infinity();
  double max = -std::numeric_limits<double>::infinity();
  double total = 0;
};
/// Of a tensor from readable().
Statistics statistics_of(const Tensor& tensor);
/// Returns the statistics of two parts of a tensor together.
Statistics merged(const Statistics& a, const Statistics& b);

/// The largest differences of two tensors of one shape: |a - b|, and |a - b| / max(|a|, |b|). Two NaN are equal; the
/// difference of NaN and a number is infinity.
struct Difference {
  double absolute = 0;
  double relative = 0;
  std::uint64_t count = 0;  ///< Elements that differ.
};
Difference difference_of(const Tensor& a, const Tensor& b);
/// Returns the differences of two parts of tensors together.
Difference merged(const Difference& a, const Difference& b);

/// Calls `visit` with the elements of a tensor from readable() as a typed span. Returns false for other dtypes.
template <class Visit>
bool visit_elements(const Tensor& tensor, Visit&& visit) {
  switch (tensor.dtype()) {
    case DType::boolean: visit(tensor.span<boolean>()); return true;
    case DType::u8: visit(tensor.span<std::uint8_t>()); return true;
    case DType::i8: visit(tensor.span<std::int8_t>()); return true;
    case DType::u16: visit(tensor.span<std::uint16_t>()); return true;
    case DType::i16: visit(tensor.span<std::int16_t>()); return true;
    case DType::u32: visit(tensor.span<std::uint32_t>()); return true;
    case DType::i32: visit(tensor.span<std::int32_t>()); return true;
    case DType::u64: visit(tensor.span<std::uint64_t>()); return true;
    case DType::i64: visit(tensor.span<std::int64_t>()); return true;
    case DType::f16: visit(tensor.span<f16>()); return true;
    case DType::bf16: visit(tensor.span<bf16>()); return true;
    case DType::f32: visit(tensor.span<float>()); return true;
    case DType::f64: visit(tensor.span<double>()); return true;
    case DType::c64: visit(tensor.span<std::complex<float>>()); return true;
    case DType::c128: visit(tensor.span<std::complex<double>>()); return true;
    default: return false;
  }
}

/// Returns an element as JSON: a number, true or false, [real, imaginary], or a string of json_number().
std::string json_value(boolean value);
std::string json_value(f16 value);
std::string json_value(bf16 value);
std::string json_value(float value);
std::string json_value(double value);
std::string json_value(std::complex<double> value);
std::string json_value(std::complex<float> value);
std::string json_value(std::int64_t value);
std::string json_value(std::uint64_t value);
inline std::string json_value(std::integral auto value) {
  if constexpr (std::is_signed_v<decltype(value)>)
    return json_value(static_cast<std::int64_t>(value));
  else
    return json_value(static_cast<std::uint64_t>(value));
}

}  // namespace heft::cli
