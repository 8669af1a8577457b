// materialize/stream_queue.hpp: groups of tensors on their way from the workers to the consumer, in bounded memory.
#pragma once

#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <exception>
#include <map>
#include <mutex>
#include <optional>
#include <utility>
#include <vector>

#include "heft/tensor.hpp"
#include "materialize/sink/group_receiver.hpp"

namespace heft::engine {

/// The finished tensors of a stream, and the room for more: bytes of groups that are being filled, are finished, or
/// that the consumer has not released.
///
/// Groups get room in their order, which is that of the chunks. All groups before one that waits for room are therefore
/// being filled or are finished; when the consumer has released them, the waiting group has all the room.
///
/// Threads: take() is called by one thread at a time, all other members by any.
class StreamQueue final : public GroupReceiver {
 public:
  /// `sizes` are the bytes of the groups, in order. `bound` is for the groups that have room, together; a group of any
  /// size fits when no other one has room. `in_order`: take() returns group after group, else as put() brings them.
  StreamQueue(std::vector<std::uint64_t> sizes, std::uint64_t bound, bool in_order)
      : sizes_(std::move(sizes)), bound_(bound), in_order_(in_order) {}

  /// Gives room to all groups up to number `group` that have none, as far as they fit.
  [[nodiscard]] bool enter(std::size_t group) override;
  /// Waits until the first group without room fits, which may be an earlier one.
  [[nodiscard]] bool await_room(std::size_t group) override;
  /// Puts the tensors of a group into the queue. Their room is free again when the consumer asks for the tensor after
  /// the last of them.
  void put(std::size_t group, std::vector<Tensor> tensors) override;
  /// Ends the stream after the tensors that can still be taken; with `failure`, unless it is null.
  void end(std::exception_ptr failure);
  void stop() noexcept override;

  /// The next tensor, nothing after the last; waits for it. Throws the failure once, when no tensor is left before it.
  /// Releases the room of the tensor before.
  [[nodiscard]] std::optional<Tensor> take();
  /// Releases the room of the tensor that was taken last. Returns whether take() would return or throw without waiting.
  [[nodiscard]] bool can_take();

 private:
  struct Item {
    Tensor tensor;
    std::uint64_t room = 0;  // that is free when this tensor is released: its group's, for the last of a group
  };

  [[nodiscard]] bool next_fits() const noexcept {
    return entered_ < sizes_.size() && (used_ == 0 || used_ + sizes_[entered_] <= bound_);
  }
  void release();
  void append(std::size_t group, std::vector<Tensor> tensors);

  const std::vector<std::uint64_t> sizes_;
  const std::uint64_t bound_;
  const bool in_order_;
  mutable std::mutex mutex_;
  std::condition_variable changed_;
  std::size_t entered_ = 0;  // groups that have room, or had it: the first ones
  std::uint64_t used_ = 0;   // bytes that have room
  std::uint64_t taken_ = 0;  // room of the tensor that the consumer has
  std::deque<Item> ready_;
  std::map<std::size_t, std::vector<Tensor>> early_;  // finished before a group that comes first
  std::size_t next_ = 0;                              // group to append
  bool is_stopped_ = false;
  bool has_ended_ = false;
  std::exception_ptr failure_;
};

}  // namespace heft::engine
