#include "record/scalar.hpp"

#include <fmt/format.h>

#include "core/text.hpp"
#include "heft/error.hpp"
#include "heft/tensor_view.hpp"
#include "record/record_access.hpp"

namespace heft::record {
namespace {

Scalar of_integer(std::int64_t value) noexcept {
  // Negated without a sign: -INT64_MIN overflows.
  const auto bits = static_cast<std::uint64_t>(value);
  return {.kind = RecordKind::integer, .negative = value < 0, .magnitude = value < 0 ? ~bits + 1 : bits};
}

Scalar of_unsigned_integer(std::uint64_t value) noexcept { return {.kind = RecordKind::integer, .magnitude = value}; }
Scalar of_real(double value) noexcept { return {.kind = RecordKind::real, .real = value}; }

// Converts `size` bytes of little-endian two's complement; returns nothing if the number does not fit 64 bits.
std::optional<Scalar> big_integer(const char* bytes, std::size_t size) noexcept {
  const bool negative = (static_cast<unsigned char>(bytes[size - 1]) & 0x80) != 0;
  std::uint64_t low = 0;
  for (std::size_t i = 0; i < size; ++i) {
    const auto byte = static_cast<unsigned char>(bytes[i]);
    // Bytes behind the eighth must only extend the sign.
    if (i < 8)
      low |= static_cast<std::uint64_t>(byte) << (8 * i);
    else if (byte != (negative ? 0xFF : 0))
      return {};
  }
  if (!negative) return of_unsigned_integer(low);
  // Extends the sign to 64 bits.
  if (size < 8) low |= ~std::uint64_t{0} << (8 * size);
  if (low == 0) return {};  // -2^64: its magnitude does not fit
  return Scalar{.kind = RecordKind::integer, .negative = true, .magnitude = ~low + 1};
}

// Returns a view of one element without its dims.
TensorView without_dims(const TensorView& view) {
  // A view of pieces cannot be reshaped; its only part can.
  if (view.pieces().size() == 1) return view.pieces().front().part.reshape(Shape{});
  return view.reshape(Shape{});
}

// Returns the value of a tensor of rank 0; nothing for dtypes without a Scalar: complex, quantized, narrow floats.
std::optional<Scalar> of_element(const TensorView& element) {
  switch (element.dtype()) {
    case DType::boolean:
      return Scalar{.kind = RecordKind::boolean, .magnitude = element.read<boolean>().bits != 0 ? 1u : 0u};
    case DType::u8: return of_unsigned_integer(element.read<std::uint8_t>());
    case DType::u16: return of_unsigned_integer(element.read<std::uint16_t>());
    case DType::u32: return of_unsigned_integer(element.read<std::uint32_t>());
    case DType::u64: return of_unsigned_integer(element.read<std::uint64_t>());
    case DType::i8: return of_integer(element.read<std::int8_t>());
    case DType::i16: return of_integer(element.read<std::int16_t>());
    case DType::i32: return of_integer(element.read<std::int32_t>());
    case DType::i64: return of_integer(element.read<std::int64_t>());
    case DType::f16: return of_real(static_cast<float>(element.read<f16>()));
    case DType::bf16: return of_real(static_cast<float>(element.read<bf16>()));
    case DType::f32: return of_real(element.read<float>());
    case DType::f64: return of_real(element.read<double>());
    default: return {};
  }
}

}  // namespace

std::optional<Scalar> integer_of(const format::Node& node) noexcept {
  if (node.kind == format::NodeKind::unsigned_integer) return of_unsigned_integer(node.unsigned_integer);
  return node.count != 0 ? big_integer(node.text, node.count) : of_integer(node.integer);
}

std::optional<Scalar> scalar_of(const Record& record) {
  switch (record.kind()) {
    case RecordKind::boolean: return Scalar{.kind = RecordKind::boolean, .magnitude = record.boolean() ? 1u : 0u};
    case RecordKind::real: return of_real(record.real());
    case RecordKind::integer:
      if (auto whole = integer_of(*RecordAccess::node(record))) return whole;
      throw Error(ErrorCode::out_of_range, "expected an integer of at most 64 bits", {.tensor = record.path()});
    case RecordKind::tensor: break;
    default: return {};
  }
  // PyTorch saves counters, such as num_batches_tracked, as tensors of one element.
  const TensorView view = record.tensor();
  return view.element_count() == 1 ? of_element(without_dims(view)) : std::nullopt;
}

std::string describe(const Record& record) {
  if (record.kind() == RecordKind::tensor) {
    const TensorView view = record.tensor();
    return fmt::format("a tensor of {} {}", core::escaped(view.dtype_name()), to_string(view.shape()));
  }
  return core::with_article(name(record.kind()));
}

}  // namespace heft::record
