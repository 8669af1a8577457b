#include "mmap/descriptor_pool.hpp"

#include <algorithm>
#include <cerrno>
#include <utility>

#include "mmap/syscalls.hpp"

namespace heft::mmap {

std::uint64_t descriptor_limit() noexcept { return sys::descriptor_limit(); }

std::shared_ptr<DescriptorPool> DescriptorPool::for_shards() {
  // A quarter leaves the server descriptors for its connections, and other checkpoints room beside this one.
  return std::make_shared<DescriptorPool>(std::clamp<std::uint64_t>(descriptor_limit() / 4, 4, 256));
}

void DescriptorPool::keep(std::shared_ptr<const Descriptor> opened) { keep_in(kept_, capacity_, std::move(opened)); }

void DescriptorPool::keep_direct(std::shared_ptr<const Descriptor> opened) {
  // 16 for the capacity of 256; at least one, for the file whose tensors are loaded one by one.
  constexpr std::size_t share = 16;
  keep_in(direct_, std::max<std::size_t>(capacity_ / share, 1), std::move(opened));
}

void DescriptorPool::keep_in(Kept& kept, std::size_t capacity, std::shared_ptr<const Descriptor> opened) {
  std::shared_ptr<const Descriptor> oldest;  // declared before the lock, so that it is closed after the unlock
  const std::lock_guard lock(mutex_);
  kept.push_back(std::move(opened));
  if (kept.size() <= capacity) return;
  oldest = std::move(kept.front());
  kept.pop_front();
}

bool DescriptorPool::give_up_half() noexcept {
  const std::lock_guard lock(mutex_);
  if (!direct_.empty()) {
    direct_.clear();
    return true;
  }
  if (kept_.empty()) return false;
  // A descriptor that a reader still holds stays open until the reader releases it, so the call can free fewer than
  // half.
  kept_.erase(kept_.begin(), kept_.begin() + static_cast<std::ptrdiff_t>((kept_.size() + 1) / 2));
  return true;
}

Descriptor open_at(int folder, const char* name, int flags, DescriptorPool& pool) noexcept {
  for (;;) {
    Descriptor opened = open_at(folder, name, flags);
    // EMFILE: the process has too many; ENFILE: the system. Each round halves the pool, so the loop ends.
    const bool too_many = opened.os_error() == EMFILE || opened.os_error() == ENFILE;
    if (!too_many || !pool.give_up_half()) return opened;
  }
}

}  // namespace heft::mmap
