#include "heft/bytes.hpp"

#include <cstring>
#include <utility>

#include <fmt/format.h>

#include "core/allocate.hpp"
#include "core/checked.hpp"
#include "heft/error.hpp"

namespace heft {

Bytes Bytes::copy_of(std::span<const std::byte> bytes) {
  // Empty Bytes need no owner, and memcpy() must not see their null pointer.
  if (bytes.empty()) return {};
  auto owner = core::allocate_bytes(bytes.size(), "for a copy");
  std::memcpy(owner.get(), bytes.data(), bytes.size());
  const std::span<const std::byte> copy(owner.get(), bytes.size());
  return {copy, std::move(owner)};
}

Bytes Bytes::subrange(std::uint64_t offset, std::uint64_t size) const {
  if (!core::inside(offset, size, size_))
    throw Error(ErrorCode::out_of_range,
                fmt::format("expected a range inside {} bytes, found {} bytes from {}", size_, size, offset));
  // The part shares the owner: the bytes live as long as the part does, also without this object.
  return {{data_ + offset, static_cast<std::size_t>(size)}, owner_};
}

}  // namespace heft
