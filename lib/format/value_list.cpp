#include "format/value_list.hpp"

#include <bit>
#include <limits>
#include <memory>
#include <new>
#include <optional>
#include <span>

#include <fmt/format.h>

#include "core/checked.hpp"
#include "core/endian.hpp"
#include "heft/error.hpp"

namespace heft::format {
namespace {

bool is_integer(PackKind kind) noexcept { return kind == PackKind::natural || kind == PackKind::negative; }

bool same_kind(PackKind a, PackKind b) noexcept { return a == b || (is_integer(a) && is_integer(b)); }

DType dtype_of(const PackItem& first, const ListTypes& types) {
  switch (first.kind) {
    case PackKind::real32: return DType::f32;
    case PackKind::real64: return DType::f64;
    case PackKind::boolean: return DType::boolean;
    case PackKind::natural:
    case PackKind::negative: return types.half != DType::unknown ? types.half : types.integer;
    default:
      throw Error(ErrorCode::corrupt,
                  fmt::format("a value list: expected numbers or booleans, found {}", name(first.kind)),
                  {.offset = first.offset});
  }
}

/// The bytes that such a number takes in the file at least.
std::uint64_t packed_bytes(PackKind kind) noexcept {
  return kind == PackKind::real32 ? 5 : kind == PackKind::real64 ? 9 : 1;
}

[[noreturn]] void fail_range(const PackItem& item, DType dtype) {
  throw Error(ErrorCode::corrupt,
              fmt::format("a value list: expected integers that fit {}, found one that does not", info(dtype).name),
              {.offset = item.offset});
}

template <class T>
void store_integer(std::byte* to, const PackItem& item, DType dtype) {
  if (item.kind == PackKind::natural ? item.number > static_cast<std::uint64_t>(std::numeric_limits<T>::max())
                                     : item.integer < static_cast<std::int64_t>(std::numeric_limits<T>::min()))
    fail_range(item, dtype);
  core::store_le(
      to, static_cast<T>(item.kind == PackKind::natural ? static_cast<std::int64_t>(item.number) : item.integer));
}

void store(std::byte* to, const PackItem& item, DType dtype) {
  switch (dtype) {
    case DType::f32:
      return core::store_le(to, static_cast<std::uint32_t>(item.number));  // bits: a signalling NaN stays one
    case DType::f64: return core::store_le(to, item.number);
    case DType::boolean: *to = static_cast<std::byte>(item.number); return;
    case DType::f16:
    case DType::bf16:
    case DType::u16: return store_integer<std::uint16_t>(to, item, dtype);
    case DType::i8: return store_integer<std::int8_t>(to, item, dtype);
    case DType::u8: return store_integer<std::uint8_t>(to, item, dtype);
    case DType::i16: return store_integer<std::int16_t>(to, item, dtype);
    case DType::i32: return store_integer<std::int32_t>(to, item, dtype);
    case DType::u32: return store_integer<std::uint32_t>(to, item, dtype);
    case DType::u64: return store_integer<std::uint64_t>(to, item, dtype);
    default: return store_integer<std::int64_t>(to, item, dtype);
  }
}

std::shared_ptr<std::byte[]> allocate(std::uint64_t size) {
  try {
    return std::make_shared_for_overwrite<std::byte[]>(size);
  } catch (const std::bad_alloc&) {
    throw Error(ErrorCode::out_of_memory, fmt::format("no memory for {} bytes of a value list", size));
  }
}

}  // namespace

TensorEntry read_value_list(Catalog& catalog, PackReader& reader, const PackItem& list, const ListTypes& types,
                            const Limits& limits, std::uint64_t& held) {
  if (list.number == 0) return {.dtype = DType::f32};
  PackItem item = reader.next("a value list");
  const PackKind kind = item.kind;
  const DType dtype = dtype_of(item, types);
  const std::uint64_t element = element_bytes(dtype);
  // The count is of 32 bits, so these products fit. At a byte each it was compared with what remains before.
  core::require_inside(0, list.number * packed_bytes(kind), item.payload - item.offset + reader.remaining(),
                       "a value list");
  const std::uint64_t size = list.number * element;
  core::require_limit(core::add_or_throw(held, size, "bytes of value lists"), limits.value_list_bytes,
                      "bytes of value lists", "value_list_bytes", list.offset);
  held += size;
  std::shared_ptr<std::byte[]> memory = allocate(size);
  for (std::uint64_t i = 0;; item = reader.next("a value list")) {
    if (!same_kind(item.kind, kind))
      throw Error(ErrorCode::corrupt,
                  fmt::format("a value list: expected {} as the first value, found {}", name(kind), name(item.kind)),
                  {.offset = item.offset});
    store(memory.get() + i * element, item, dtype);
    if (++i == list.number) break;
  }
  const std::span<const std::byte> made(memory.get(), static_cast<std::size_t>(size));
  TensorEntry entry{.size = size, .member = static_cast<std::uint32_t>(catalog.members.size()), .dtype = dtype};
  catalog.members.push_back({.full_size = size, .name = "value list", .made = Bytes(made, std::move(memory))});
  return entry;
}

}  // namespace heft::format
