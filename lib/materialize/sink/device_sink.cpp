#include "materialize/sink/device_sink.hpp"

#include <algorithm>
#include <cstdlib>
#include <numeric>
#include <utility>

#include "heft/error.hpp"
#include "materialize/sink/strided_copy.hpp"
#include "materialize/pipeline.hpp"

namespace heft::engine {

// Bytes in a slot that continue each other in the destination: written when the next ones do not.
class Handover::Outbox {
 public:
  explicit Outbox(Handover& handover, Slots::Slot slot = nullptr) noexcept
      : handover_(handover), slot_(std::move(slot)) {}

  /// Room in a slot for at least `wanted` bytes; no slot holds fewer.
  std::span<std::byte> room(std::uint64_t wanted) {
    if (!slot_ || handover_.slots_->slot_bytes() - used_ < wanted) {
      send();
      slot_.reset();  // whoever waits for a slot holds none
      slot_ = handover_.take_slot();
      used_ = 0;
    }
    return {slot_.get() + used_, handover_.slots_->slot_bytes() - used_};
  }

  /// The `size` bytes at `bytes`, inside the slot, belong at `offset` of the destination.
  void add(std::uint64_t offset, const std::byte* bytes, std::uint64_t size) {
    if (run_.data() + run_.size() != bytes || offset_ + run_.size() != offset) {
      send();
      offset_ = offset;
      run_ = {bytes, 0};
    }
    run_ = {run_.data(), run_.size() + size};
    used_ += size;
  }

  void send() {
    if (run_.empty()) return;
    handover_.destination_.write(offset_, Bytes(std::exchange(run_, {}), slot_));
  }

 private:
  Handover& handover_;
  Slots::Slot slot_;
  std::uint64_t used_ = 0;
  std::uint64_t offset_ = 0;
  std::span<const std::byte> run_;
};

namespace {

// What of a plain part lies in a range of the source.
struct Piece {
  const Part& part;
  Range range;
  [[nodiscard]] std::int64_t to() const noexcept {
    return part.to + static_cast<std::int64_t>(range.begin - part.from);
  }
};

template <class Visit>
void for_each_piece(const Schedule& schedule, const Chunk& chunk, Range range, const Visit& visit) {
  const std::span<const Part> parts = schedule.parts_of(chunk);
  auto part =
      std::partition_point(parts.begin(), parts.end(), [&](const Part& p) { return p.from_end <= range.begin; });
  for (; part != parts.end() && part->from < range.end; ++part)
    visit(Piece{*part, {std::max(part->from, range.begin), std::min(part->from_end, range.end)}});
}

std::uint64_t distance(std::int64_t step) noexcept { return static_cast<std::uint64_t>(std::abs(step)); }

// A part's axes, and where its units go when they are packed in the order in which they lie in the destination.
struct Packing {
  std::size_t rank = 0;
  Axis axes[max_axes];            // the part's own, with packed steps
  std::uint32_t order[max_axes];  // axes by their step in the destination, the smallest first
  std::uint64_t steps[max_axes];  // that step, in the same order
  std::uint64_t size_bytes = 0;    // of all units
  std::uint64_t first = 0;         // of the part's first unit among the packed ones: not 0 where an axis runs backwards
  std::uint64_t before = 0;        // bytes of the destination from its lowest unit to that first one
};

Packing pack(std::span<const Axis> axes, std::int64_t count, std::uint64_t unit) noexcept {
  Packing packing;
  packing.rank = axes.size();
  packing.size_bytes = unit;
  std::copy(axes.begin(), axes.end(), packing.axes);
  packing.axes[0].count = count;
  std::uint32_t* const order = packing.order;
  std::iota(order, order + packing.rank, 0u);
  std::sort(order, order + packing.rank,
            [&](std::uint32_t a, std::uint32_t b) { return distance(axes[a].to_step) < distance(axes[b].to_step); });
  for (std::size_t i = 0; i < packing.rank; ++i) {
    Axis& axis = packing.axes[order[i]];
    const auto last = static_cast<std::uint64_t>(axis.count - 1);
    packing.steps[i] = distance(axis.to_step);
    const bool backwards = axis.to_step < 0;
    if (backwards) packing.first += last * packing.size_bytes;
    if (backwards) packing.before += last * packing.steps[i];
    axis.to_step = static_cast<std::int64_t>(packing.size_bytes) * (backwards ? -1 : 1);
    packing.size_bytes *= last + 1;
  }
  return packing;
}

// Calls `visit` with the destination's offset, the packed offset and the size of each run of the axes below `level`.
template <class Visit>
void for_each_run(const Packing& packing, std::size_t level, std::uint64_t to, std::uint64_t packed,
                  const Visit& visit) {
  const auto step_of = [&](std::size_t i) { return distance(packing.axes[packing.order[i]].to_step); };
  const std::uint64_t size = level == packing.rank ? packing.size_bytes : step_of(level);
  std::size_t runs_on = 0;
  while (runs_on < level && packing.steps[runs_on] == step_of(runs_on)) ++runs_on;
  if (runs_on == level) return visit(to, packed, size);
  const Axis& outer = packing.axes[packing.order[level - 1]];
  for (std::int64_t i = 0; i < outer.count; ++i)
    for_each_run(packing, level - 1, to + static_cast<std::uint64_t>(i) * packing.steps[level - 1],
                 packed + static_cast<std::uint64_t>(i) * step_of(level - 1), visit);
}

}  // namespace

Slots::Slot Handover::take_slot() {
  Slots::Slot slot = slots_->take();
  if (!slot) throw Error(ErrorCode::cancelled, "stopped while waiting for the destination to take bytes");
  return slot;
}

std::uint64_t Handover::hand_over(const Load& load, const Chunk& chunk, Range range, const std::byte* bytes,
                                  const Slots::Slot& slot) {
  Outbox outbox(*this, slot);
  std::uint64_t written = 0;
  for_each_piece(load.schedule(), chunk, range, [&](const Piece& piece) {
    const Target target = load.target(piece.part);
    const std::byte* const from = bytes + (piece.range.begin - range.begin);
    written += piece.range.size();
    if (target.base != nullptr) return kernels::copy_run(from, target.base + piece.to(), piece.range.size(), target.store);
    outbox.add(offset_of(load, piece.part) + static_cast<std::uint64_t>(piece.to()), from, piece.range.size());
  });
  outbox.send();
  return written;
}

void Handover::land(Load& load, const Chunk& chunk, Range range, const std::byte* bytes) {
  Outbox outbox(*this);
  if (chunk.contiguous)
    land_plain(load, chunk, range, bytes, outbox);
  else
    land_staged(load, chunk, range, bytes, outbox);
  outbox.send();
}

void Handover::land_plain(Load& load, const Chunk& chunk, Range range, const std::byte* bytes, Outbox& outbox) {
  Landed landed(load);
  for_each_piece(load.schedule(), chunk, range, [&](const Piece& piece) {
    const Target target = load.target(piece.part);
    const std::byte* from = bytes + (piece.range.begin - range.begin);
    std::uint64_t left = piece.range.size();
    if (target.base != nullptr) {
      kernels::copy_run(from, target.base + piece.to(), left, target.store);
      return landed.add(left);
    }
    for (std::uint64_t to = offset_of(load, piece.part) + static_cast<std::uint64_t>(piece.to()); left > 0;) {
      const std::span<std::byte> room = outbox.room(1);
      const std::uint64_t now = std::min<std::uint64_t>(left, room.size());
      kernels::copy_run(from, room.data(), now, Store::cached);
      outbox.add(to, room.data(), now);
      landed.add(now);
      from += now, to += now, left -= now;
    }
  });
  landed.report();
}

void Handover::land_staged(Load& load, const Chunk& chunk, Range range, const std::byte* bytes, Outbox& outbox) {
  const Schedule& schedule = load.schedule();
  Landed landed(load);
  for (const Part& part : schedule.parts_of(chunk)) {
    const Target target = load.target(part);
    const Conversion& conversion = schedule.conversion(part);
    const std::byte* const from = bytes + (part.from - range.begin);
    if (target.base != nullptr) {
      fill_part(conversion, schedule.axes_of(part), part.count, from, target.base + part.to, target.store);
      landed.add(schedule.written_by(part));
      continue;
    }
    const Packing packing = pack(schedule.axes_of(part), part.count, conversion.to_bytes());
    std::byte* const packed = outbox.room(packing.size_bytes).data();
    fill_part(conversion, {packing.axes, packing.rank}, part.count, from, packed + packing.first, Store::cached);
    const std::uint64_t lowest = offset_of(load, part) + static_cast<std::uint64_t>(part.to) - packing.before;
    for_each_run(packing, packing.rank, lowest, 0,
                 [&](std::uint64_t to, std::uint64_t at, std::uint64_t size) { outbox.add(to, packed + at, size); });
    landed.add(packing.size_bytes);
  }
  landed.report();
}

std::uint64_t Handover::offset_of(const Load& load, const Part& part) const noexcept {
  return offsets_[position(load.schedule().transfer(part).entry)];
}

}  // namespace heft::engine
