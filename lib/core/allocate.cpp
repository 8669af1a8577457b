#include "core/allocate.hpp"

#include <new>

#include <fmt/format.h>

namespace heft::core {
namespace {

// Throws Error{out_of_memory}: "could not allocate SIZE bytes PURPOSE".
[[noreturn]] void fail(std::uint64_t size, std::string_view purpose, const ErrorPlace& place) {
  throw Error(ErrorCode::out_of_memory, fmt::format("could not allocate {} bytes {}", size, purpose), place);
}

}  // namespace

std::shared_ptr<std::byte[]> allocate_bytes(std::uint64_t size, std::string_view purpose, const ErrorPlace& place,
                                            std::size_t alignment) {
  // libstdc++'s make_shared adds the control block to the size without a check for overflow.
  if (size > PTRDIFF_MAX) fail(size, purpose, place);
  try {
    // make_shared puts the bytes and the count of owners into one allocation, but takes no alignment.
    if (alignment <= alignof(std::max_align_t)) return std::make_shared_for_overwrite<std::byte[]>(size);
    const std::align_val_t aligned{alignment};
    return {static_cast<std::byte*>(::operator new(size, aligned)),
            [aligned](std::byte* memory) { ::operator delete(memory, aligned); }};
  } catch (const std::bad_alloc&) {
    fail(size, purpose, place);
  }
}

}  // namespace heft::core
