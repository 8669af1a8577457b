#include "materialize/visit_room.hpp"

namespace heft::engine {

Window::~Window() {
  if (!room_) return;
  // The memory first: another worker may take it as soon as there is room.
  tensors_.clear();
  room_->release(number_);
}

bool VisitRoom::enter(std::size_t window) {
  const std::lock_guard lock(mutex_);
  if (!fits(window)) return false;
  used_ += sizes_[window];
  has_entered_[window] = true;
  return true;
}

bool VisitRoom::await_room(std::size_t window) {
  std::unique_lock lock(mutex_);
  // Another worker, with other chunks of the window, may have entered it meanwhile.
  changed_.wait(lock, [&] { return is_stopped_ || has_entered_[window] || fits(window); });
  return !is_stopped_;
}

void VisitRoom::stop() noexcept {
  const std::lock_guard lock(mutex_);
  is_stopped_ = true;
  changed_.notify_all();
}

void VisitRoom::release(std::size_t window) noexcept {
  const std::lock_guard lock(mutex_);
  if (has_entered_[window]) used_ -= sizes_[window];
  is_released_[window] = true;
  while (first_ < is_released_.size() && is_released_[first_]) ++first_;
  changed_.notify_all();
}

}  // namespace heft::engine
