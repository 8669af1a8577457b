// materialize/sink/device_sink.hpp: finished bytes on their way to a destination whose memory the engine cannot write to.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <utility>
#include <vector>

#include "heft/destination.hpp"
#include "materialize/memory/staging_pool.hpp"
#include "materialize/schedule.hpp"

namespace heft::engine {

class Load;

/// Far memory's side of a load: bytes land in slots, and the slots go to Destination::write(). Parts of the plan with
/// a buffer of the caller's land there as ever.
///
/// Threads: all members may be called from any worker.
class Handover {
 public:
  /// `offsets` has the place of each entry of the plan in the destination's memory. Both outlive this.
  Handover(Destination& destination, const std::vector<std::uint64_t>& offsets, std::shared_ptr<Slots> slots) noexcept
      : destination_(destination), offsets_(offsets), slots_(std::move(slots)) {}

  /// Puts what `bytes` hold, which are `range` of the chunk's source, into slots, and hands those over. Waits while
  /// all are out. `range` may be a part of a plain chunk; of any other it holds all. Reports progress.
  /// Throws what the destination throws, and Error{cancelled} after a stop request and once the slots are closed.
  void land(Load& load, const Chunk& chunk, Range range, const std::byte* bytes);
  /// The same for a plain chunk's bytes that lie in a slot already: nothing is copied. Returns the bytes written, and
  /// reports nothing.
  std::uint64_t hand_over(const Load& load, const Chunk& chunk, Range range, const std::byte* bytes,
                          const Slots::Slot& slot);

  /// A slot to read into. Throws Error{cancelled} once the slots are closed.
  [[nodiscard]] Slots::Slot take_slot();
  [[nodiscard]] Slots& slots() const noexcept { return *slots_; }

 private:
  class Outbox;
  void land_plain(Load& load, const Chunk& chunk, Range range, const std::byte* bytes, Outbox& outbox);
  void land_staged(Load& load, const Chunk& chunk, Range range, const std::byte* bytes, Outbox& outbox);
  [[nodiscard]] std::uint64_t offset_of(const Load& load, const Part& part) const noexcept;

  Destination& destination_;
  const std::vector<std::uint64_t>& offsets_;
  std::shared_ptr<Slots> slots_;
};

}  // namespace heft::engine
