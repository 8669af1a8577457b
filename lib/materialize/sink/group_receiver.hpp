// materialize/sink/group_receiver.hpp: where the tensors of a group go when they are whole.
#pragma once

#include <cstddef>
#include <vector>

#include "heft/tensor.hpp"

namespace heft::engine {

/// Gives groups of tensors room, and receives them from a StreamSink. Groups are numbered in the order of their chunks.
///
/// Threads: all members may be called from any worker.
class GroupReceiver {
 public:
  virtual ~GroupReceiver() = default;
  /// Gives room to a group. False: it does not fit yet. Called until it returns true, once then.
  [[nodiscard]] virtual bool enter(std::size_t group) = 0;
  /// Waits until enter() may return true. False: stop() was called.
  [[nodiscard]] virtual bool await_room(std::size_t group) = 0;
  /// Takes the tensors of a group, once each: their bytes are complete and proved. Tensors own their memory.
  virtual void put(std::size_t group, std::vector<Tensor> tensors) = 0;
  /// Ends all waiting for room.
  virtual void stop() noexcept = 0;

 protected:
  GroupReceiver() = default;
  GroupReceiver(const GroupReceiver&) = default;
  GroupReceiver& operator=(const GroupReceiver&) = default;
};

}  // namespace heft::engine
