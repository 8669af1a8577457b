#include "cli/values.hpp"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <utility>

#include <fmt/format.h>

#include "cli/text.hpp"
#include "heft/error.hpp"

namespace heft::cli {
namespace {

// Returns the value as a double; the 16-bit floats convert to float only.
template <class T>
double real_of(T value) {
  if constexpr (std::is_same_v<T, boolean>)
    return value ? 1 : 0;
  else if constexpr (std::is_same_v<T, f16> || std::is_same_v<T, bf16>)
    return static_cast<double>(static_cast<float>(value));
  else
    return static_cast<double>(value);
}

template <class T>
inline constexpr bool is_complex = std::is_same_v<T, std::complex<float>> || std::is_same_v<T, std::complex<double>>;

// Sums in blocks, because one running double over 10^9 values would lose small ones.
class Accumulator {
 public:
  void add(double value) {
    // Infinities are counted apart: they would be the minimum, the maximum and the mean.
    if (std::isnan(value))
      ++result_.nan;
    else if (std::isinf(value))
      ++result_.inf;
    else
      add_finite(value);
  }
  void add_complex(std::complex<double> value) {
    if (std::isnan(value.real()) || std::isnan(value.imag()))
      ++result_.nan;
    else if (std::isinf(value.real()) || std::isinf(value.imag()))
      ++result_.inf;
  }
  Statistics finish() {
    result_.total += block_;
    return result_;
  }

 private:
  void add_finite(double value) {
    result_.min = std::min(result_.min, value);
    result_.max = std::max(result_.max, value);
    block_ += value;
    if ((++result_.finite & 4095) == 0) result_.total += std::exchange(block_, 0);
  }
  Statistics result_;
  double block_ = 0;
};

// Counts a and b, whose bytes differ, as a difference, unless their values are equal.
template <class T>
void widen_into(Difference& difference, T a, T b) {
  double apart = 0;
  double size = 0;
  if constexpr (is_complex<T>) {
    const std::complex<double> left(a), right(b);
    const auto is_nan = [](std::complex<double> value) { return std::isnan(value.real()) || std::isnan(value.imag()); };
    // Zeros of either sign are equal, and so are two NaN, whatever their payloads.
    if (left == right || (is_nan(left) && is_nan(right))) return;
    apart = std::abs(left - right);
    size = std::max(std::abs(left), std::abs(right));
  } else {
    apart = std::abs(real_of(a) - real_of(b));
    size = std::max(std::abs(real_of(a)), std::abs(real_of(b)));
    if (std::isnan(real_of(a)) && std::isnan(real_of(b))) return;
    if (real_of(a) == real_of(b) && !std::is_integral_v<T>) return;  // equal infinities; zeros of either sign
  }
  if constexpr (std::is_integral_v<T>) {
    if (a == b) return;
    apart = std::max(apart, 1.0);  // different 64-bit integers that are equal as double
  }
  // One is NaN, or both are complex with infinite parts.
  if (std::isnan(apart)) apart = std::numeric_limits<double>::infinity();
  difference.absolute = std::max(difference.absolute, apart);
  // infinity / infinity is NaN, which counts as infinity.
  double relative = apart / size;
  if (std::isnan(relative)) relative = std::numeric_limits<double>::infinity();
  difference.relative = std::max(difference.relative, relative);
  ++difference.count;
}

}  // namespace

namespace {

// Returns the dtype of the integers of PyTorch's quantized dtypes.
DType integers_of(DType dtype) noexcept {
  switch (dtype) {
    case DType::qi8: return DType::i8;
    case DType::qu8: return DType::u8;
    case DType::qi32: return DType::i32;
    default: return DType::unknown;
  }
}

}  // namespace

std::optional<DType> readable_as(DType dtype) noexcept {
  switch (info(dtype).category) {
    case DTypeCategory::raw:
    case DTypeCategory::quantized: return std::nullopt;
    case DTypeCategory::block: return DType::f32;
    case DTypeCategory::complex: return dtype == DType::c32 ? DType::c64 : dtype;
    case DTypeCategory::real: return info(dtype).block_bytes == 1 ? DType::f32 : dtype;
    default: return dtype;
  }
}

DType loaded_as(const TensorView& view) {
  // In their own dtype, whose bytes are the integers: no conversion exists that would apply the scale.
  if (integers_of(view.dtype()) != DType::unknown) return view.dtype();
  if (const auto dtype = readable_as(view.dtype())) return *dtype;
  throw Error(ErrorCode::unsupported, fmt::format("{} has bytes but no values that heft can read", view.dtype_name()),
              {.tensor = std::string(view.name())});
}

Tensor as_numbers(Tensor tensor) {
  const DType integers = integers_of(tensor.dtype());
  if (integers == DType::unknown) return tensor;
  return {std::string(tensor.name()), integers, tensor.shape(), tensor.strides(), tensor.owned_bytes()};
}

Tensor readable(const TensorView& view, const MaterializeOptions& options) {
  return as_numbers(materialize(view, loaded_as(view), options));
}

Statistics statistics_of(const Tensor& tensor) {
  Accumulator accumulator;
  visit_elements(tensor, [&]<class T>(std::span<const T> elements) {
    for (const T value : elements) {
      if constexpr (is_complex<T>)
        accumulator.add_complex(std::complex<double>(value));
      else
        accumulator.add(real_of(value));
    }
  });
  return accumulator.finish();
}

Statistics merged(const Statistics& a, const Statistics& b) {
  return {.nan = a.nan + b.nan,
          .inf = a.inf + b.inf,
          .finite = a.finite + b.finite,
          .min = std::min(a.min, b.min),
          .max = std::max(a.max, b.max),
          .total = a.total + b.total};
}

Difference difference_of(const Tensor& a, const Tensor& b) {
  Difference difference;
  visit_elements(a, [&]<class T>(std::span<const T> left) {
    const std::span<const T> right = b.span<T>();
    // Bytes first: nearly all elements are equal, and a comparison of bytes is cheaper than one of values.
    for (std::size_t i = 0; i < left.size(); ++i)
      // NOLINTNEXTLINE(bugprone-suspicious-memory-comparison): NaN and -0 are compared as values, after it.
      if (std::memcmp(&left[i], &right[i], sizeof(T)) != 0) widen_into(difference, left[i], right[i]);
  });
  return difference;
}

Difference merged(const Difference& a, const Difference& b) {
  return {std::max(a.absolute, b.absolute), std::max(a.relative, b.relative), a.count + b.count};
}

std::string json_value(boolean value) { return value ? "true" : "false"; }
std::string json_value(f16 value) { return json_number(static_cast<float>(value)); }
std::string json_value(bf16 value) { return json_number(static_cast<float>(value)); }
std::string json_value(float value) { return json_number(value); }
std::string json_value(double value) { return json_number(value); }
std::string json_value(std::complex<double> value) {
  return fmt::format("[{},{}]", json_number(value.real()), json_number(value.imag()));
}
std::string json_value(std::complex<float> value) {
  return fmt::format("[{},{}]", json_number(value.real()), json_number(value.imag()));
}
std::string json_value(std::int64_t value) { return fmt::format("{}", value); }
std::string json_value(std::uint64_t value) { return fmt::format("{}", value); }

}  // namespace heft::cli
