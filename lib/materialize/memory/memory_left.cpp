#include "materialize/memory/memory_left.hpp"

#include <algorithm>
#include <utility>

#include <fmt/format.h>

#include "core/text.hpp"

namespace heft::engine {

std::uint64_t modest_bytes(std::uint64_t usual, std::uint64_t left) noexcept {
  constexpr std::uint64_t unit = 1u << 20;
  // An eighth leaves room for the tensors, for which the memory is needed.
  constexpr std::uint64_t share = 8;
  return std::min(usual, std::max(left / share / unit * unit, unit));
}

void require_memory(std::uint64_t needed, const mmap::MemoryAvailable& left, ErrorPlace place) {
  if (needed <= left.bytes) return;
  throw Error(ErrorCode::out_of_memory,
              fmt::format("expected {} bytes of memory, {} are left ({})", needed, left.bytes,
                          core::escaped(left.limited_by, 1000)),
              std::move(place));
}

}  // namespace heft::engine
