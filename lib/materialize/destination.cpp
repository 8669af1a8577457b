#include "heft/destination.hpp"

#include "heft/error.hpp"
#include "materialize/memory/arena.hpp"

namespace heft {

void Allocation::write_async(const WriteRequest&, Completion) {
  throw Error(ErrorCode::unsupported, "expected a destination of the kind 'device' to take bytes, this one does not");
}

StagingMemory Destination::staging(std::uint64_t size_bytes) const {
  // The contract asks for a page only. On a huge page the kernel can back the memory with huge pages, fewer of which
  // are pinned when it is registered.
  std::shared_ptr<engine::Arena> arena = engine::Arena::allocate(size_bytes, engine::Arena::huge_page);
  const std::span<std::byte> bytes = arena->span();
  return {bytes, std::move(arena)};
}

}  // namespace heft
