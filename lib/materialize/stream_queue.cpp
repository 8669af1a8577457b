#include "materialize/stream_queue.hpp"

#include <utility>

namespace heft::engine {

bool StreamQueue::enter(std::size_t group) {
  const std::lock_guard lock(mutex_);
  while (entered_ <= group) {
    if (!next_fits()) return false;
    // Another worker may wait for this group: it has room now, though its own call did not give it.
    used_ += sizes_[entered_++];
    changed_.notify_all();
  }
  return true;
}

bool StreamQueue::await_room(std::size_t group) {
  std::unique_lock lock(mutex_);
  // A group that fits may be an earlier one than `group`: enter() then gives room to all up to it, in order.
  changed_.wait(lock, [&] { return is_stopped_ || group < entered_ || next_fits(); });
  return !is_stopped_;
}

void StreamQueue::put(std::size_t group, std::vector<Tensor> tensors) {
  const std::lock_guard lock(mutex_);
  if (!in_order_) {
    append(group, std::move(tensors));
  } else {
    // Workers finish groups in any order. One that is early waits, and its bytes count as used all the while.
    early_.emplace(group, std::move(tensors));
    for (auto first = early_.begin(); first != early_.end() && first->first == next_; first = early_.erase(first))
      append(next_++, std::move(first->second));
  }
  changed_.notify_all();
}

void StreamQueue::append(std::size_t group, std::vector<Tensor> tensors) {
  // One arena serves the group, so its room is free when the last tensor is released: only that one carries the size.
  std::size_t left = tensors.size();
  for (Tensor& tensor : tensors) ready_.push_back({std::move(tensor), --left == 0 ? sizes_[group] : 0});
}

void StreamQueue::end(std::exception_ptr failure) {
  const std::lock_guard lock(mutex_);
  // Tensors that are ready are still handed out; then take() throws the failure.
  has_ended_ = true;
  failure_ = std::move(failure);
  changed_.notify_all();
}

void StreamQueue::stop() noexcept {
  const std::lock_guard lock(mutex_);
  is_stopped_ = true;
  changed_.notify_all();
}

void StreamQueue::release() {
  // The consumer asks for the next tensor when it has done with the last. If it keeps that one, its memory no longer
  // counts.
  used_ -= std::exchange(taken_, 0);
  changed_.notify_all();
}

std::optional<Tensor> StreamQueue::take() {
  std::unique_lock lock(mutex_);
  release();
  changed_.wait(lock, [&] { return !ready_.empty() || has_ended_; });
  if (ready_.empty()) {
    // Once: a consumer that goes on after the failure finds the end of the stream.
    if (failure_) std::rethrow_exception(std::exchange(failure_, nullptr));
    return std::nullopt;
  }
  Item item = std::move(ready_.front());
  ready_.pop_front();
  taken_ = item.room;
  return std::move(item.tensor);
}

bool StreamQueue::can_take() {
  const std::lock_guard lock(mutex_);
  release();
  return !ready_.empty() || has_ended_;
}

}  // namespace heft::engine
