#include "materialize/memory/arena_destination.hpp"

#include <algorithm>
#include <vector>

namespace heft::engine {
namespace {

// Calls `visit` with the offset of each tensor in its order. Returns the size of all.
template <class Visit>
std::uint64_t lay_out(std::span<const TensorSpec> tensors, const Visit& visit) {
  std::uint64_t end = 0;
  for (const TensorSpec& tensor : tensors) {
    const std::uint64_t offset = place_after(end, tensor);
    // Rounded up after the tensor too: the sizes that bytes_for() returns are multiples of the alignment.
    visit(offset);
    end = round_up(offset + tensor.size_bytes, tensor.alignment);
  }
  return end;
}

std::uint64_t alignment_of(std::span<const TensorSpec> tensors) noexcept {
  std::uint64_t alignment = 1;
  for (const TensorSpec& tensor : tensors) alignment = std::max(alignment, tensor.alignment);
  return alignment;
}

class ArenaAllocation final : public Allocation {
 public:
  explicit ArenaAllocation(std::size_t count) { reserve_huge(placements_, count); }

  // `arena` is null if all tensors are empty.
  void place(std::span<const TensorSpec> tensors, std::shared_ptr<Arena> arena) {
    arena_ = std::move(arena);
    std::byte* const base = arena_ ? arena_->span().data() : nullptr;
    // The same walk as in bytes_for(): the offsets cannot disagree with the size.
    lay_out(tensors,
            [&](std::uint64_t offset) { placements_.push_back({.data = base == nullptr ? nullptr : base + offset}); });
  }

  [[nodiscard]] std::span<const Placement> placements() const noexcept override { return placements_; }
  [[nodiscard]] std::shared_ptr<const void> finish() override { return std::move(arena_); }

 private:
  std::vector<Placement> placements_;
  std::shared_ptr<Arena> arena_;
};

}  // namespace

std::uint64_t place_after(std::uint64_t end, const TensorSpec& tensor) noexcept {
  const std::uint64_t offset = round_up(end, tensor.alignment);
  if (!tensor.offset_in_page) return offset;
  const std::uint64_t page = mmap::page_size();
  // Up to the next place with that offset in a page: it costs less than a page, for tensors of 1 MiB and more. The
  // file's offset is a multiple of the alignment, so the result is too.
  return offset + (*tensor.offset_in_page + page - offset % page) % page;
}

std::uint64_t ArenaDestination::bytes_for(std::span<const TensorSpec> tensors) const {
  return lay_out(tensors, [](std::uint64_t) {});
}

std::unique_ptr<Allocation> ArenaDestination::allocate(std::span<const TensorSpec> tensors) const {
  // The table first, then the arena: a failure of either leaves nothing behind.
  auto allocation = std::make_unique<ArenaAllocation>(tensors.size());
  const std::uint64_t size = bytes_for(tensors);
  const std::uint64_t alignment = alignment_of(tensors);
  std::shared_ptr<Arena> arena;
  if (size != 0) arena = Arena::allocate(size, alignment);
  if (arena && count_ != nullptr) count_->add(arena->footprint());
  allocation->place(tensors, std::move(arena));
  return allocation;
}

std::uint64_t arena_footprint(std::span<const TensorSpec> tensors, std::uint64_t size_bytes) noexcept {
  return size_bytes == 0 ? 0 : Arena::footprint(size_bytes, alignment_of(tensors));
}

}  // namespace heft::engine
