// materialize/visit_room.hpp: windows on their way from the workers to the visitor, in bounded memory.
#pragma once

#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <mutex>
#include <utility>
#include <vector>

#include "materialize/sink/group_receiver.hpp"
#include "materialize/window.hpp"

namespace heft::engine {

/// The room for windows that are being filled, are visited, or are kept by the visitor.
///
/// The first window that is not released has room, whatever the others take. So it is filled, and as the visitor keeps
/// it for no other one, it is released: the load cannot stop for want of room.
class VisitRoom final : public GroupReceiver, public std::enable_shared_from_this<VisitRoom> {
 public:
  /// `sizes` are the bytes of the windows, in order; `bound` is for all that have room, together. Windows may outlive
  /// the visitor.
  VisitRoom(std::vector<std::uint64_t> sizes, std::uint64_t bound, const Visitor& visitor)
      : sizes_(std::move(sizes)), bound_(bound), visitor_(visitor) {}

  [[nodiscard]] bool enter(std::size_t window) override;
  [[nodiscard]] bool await_room(std::size_t window) override;
  /// Calls the visitor.
  void put(std::size_t window, std::vector<Tensor> tensors) override {
    visitor_(Window(window, std::move(tensors), shared_from_this()));
  }
  void stop() noexcept override;
  /// Gives back the room of a window whose memory is free.
  void release(std::size_t window) noexcept;

 private:
  [[nodiscard]] bool fits(std::size_t window) const noexcept {
    return window == first_ || used_ + sizes_[window] <= bound_;
  }

  const std::vector<std::uint64_t> sizes_;
  const std::uint64_t bound_;
  const Visitor& visitor_;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::vector<bool> has_entered_ = std::vector<bool>(sizes_.size());
  std::vector<bool> is_released_ = std::vector<bool>(sizes_.size());
  std::size_t first_ = 0;   // window that is not released
  std::uint64_t used_ = 0;  // bytes of windows that have room
  bool is_stopped_ = false;
};

}  // namespace heft::engine
