#include "materialize/memory/staging_pool.hpp"

#include <algorithm>
#include <utility>

namespace heft::engine {

Slots::Slots(std::uint64_t slot_bytes, std::size_t count)
    : slot_bytes_(slot_bytes),
      memory_(Arena::allocate(slot_bytes * count, Arena::huge_page)),
      fewest_free_(count),
      count_(count) {
  // The one used last is taken first: its memory has been touched.
  for (std::size_t slot = count; slot-- > 0;) free_.push_back(memory_->span().data() + slot * slot_bytes);
}

std::shared_ptr<Slots> Slots::make(std::uint64_t slot_bytes, std::size_t count) {
  return std::shared_ptr<Slots>(new Slots(slot_bytes, count));
}

Slots::Slot Slots::take() {
  std::byte* slot = nullptr;
  {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [&] { return closed_ || !free_.empty(); });
    if (closed_) return nullptr;
    slot = free_.back();
    free_.pop_back();
    fewest_free_ = std::min(fewest_free_, free_.size());
  }
  return {slot, [slots = shared_from_this()](std::byte* mine) noexcept { slots->give_back(mine); }};
}

// Within the capacity that the list had at first.
void Slots::give_back(std::byte* slot) noexcept {
  const std::lock_guard lock(mutex_);
  free_.push_back(slot);
  changed_.notify_one();
}

void Slots::close() noexcept {
  const std::lock_guard lock(mutex_);
  closed_ = true;
  changed_.notify_all();
}

std::uint64_t Slots::peak_bytes() const noexcept {
  const std::lock_guard lock(mutex_);
  return (count_ - fewest_free_) * slot_bytes_;
}

}  // namespace heft::engine
