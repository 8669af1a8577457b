#include "materialize/sink/device_sink.hpp"

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <numeric>
#include <span>

#include "materialize/sink/strided_copy.hpp"

namespace heft::engine {
namespace {

std::uint64_t distance(std::int64_t step) noexcept { return static_cast<std::uint64_t>(std::abs(step)); }

// A part's axes, and where its units go when they are packed in the order in which they lie in the destination.
struct Packing {
  std::size_t rank = 0;
  Axis axes[max_axes];            // the part's own, with packed steps
  std::uint32_t order[max_axes];  // axes by their step in the destination, the smallest first
  std::uint64_t steps[max_axes];  // that step, in the same order
  std::uint64_t size_bytes = 0;   // of all units
  std::uint64_t first = 0;        // of the part's first unit among the packed ones: not 0 where an axis runs backwards
  std::uint64_t before = 0;       // bytes of the destination from its lowest unit to that first one
};

Packing pack(std::span<const Axis> axes, std::int64_t count, std::uint64_t unit) noexcept {
  Packing packing;
  packing.rank = axes.size();
  packing.size_bytes = unit;
  std::copy(axes.begin(), axes.end(), packing.axes);
  packing.axes[0].count = count;
  std::uint32_t* const order = packing.order;
  std::iota(order, order + packing.rank, 0u);
  // Packed in the order of the destination's steps, units are neighbours here when they are neighbours there: the runs
  // to write are as long as they can be.
  std::sort(order, order + packing.rank,
            [&](std::uint32_t a, std::uint32_t b) { return distance(axes[a].to_step) < distance(axes[b].to_step); });
  for (std::size_t i = 0; i < packing.rank; ++i) {
    Axis& axis = packing.axes[order[i]];
    const auto last = static_cast<std::uint64_t>(axis.count - 1);
    packing.steps[i] = distance(axis.to_step);
    // An axis that runs backwards in the destination does so among the packed units too. Its last step has the lowest
    // place, and the part's first unit is moved up.
    const bool backwards = axis.to_step < 0;
    if (backwards) packing.first += last * packing.size_bytes;
    if (backwards) packing.before += last * packing.steps[i];
    axis.to_step = static_cast<std::int64_t>(packing.size_bytes) * (backwards ? -1 : 1);
    packing.size_bytes *= last + 1;
  }
  return packing;
}

// Equal runs of packed bytes, one after the other, and where the destination has them.
struct Rows {
  std::uint64_t to = 0;      // the destination's offset of the first
  std::uint64_t packed = 0;  // its offset among the packed bytes
  std::uint64_t size = 0;    // of each
  std::uint64_t count = 1;
  std::uint64_t pitch = 0;  // from one to the next, in the destination
};

// Calls `visit` with the runs of the axes below `level`: as rows with a pitch, or one by one.
template <class Visit>
void for_each_run(const Packing& packing, std::size_t level, std::uint64_t to, std::uint64_t packed, bool as_rows,
                  const Visit& visit) {
  const auto step_of = [&](std::size_t i) { return distance(packing.axes[packing.order[i]].to_step); };
  // The bytes of everything below `level`: the packed step of that axis.
  const std::uint64_t size = level == packing.rank ? packing.size_bytes : step_of(level);
  std::size_t runs_on = 0;
  // Axes whose steps are the same on both sides have no gaps: together they are one run.
  while (runs_on < level && packing.steps[runs_on] == step_of(runs_on)) ++runs_on;
  if (runs_on == level) return visit(Rows{.to = to, .packed = packed, .size = size});
  const Axis& outer = packing.axes[packing.order[level - 1]];
  const auto count = static_cast<std::uint64_t>(outer.count);
  const std::uint64_t pitch = packing.steps[level - 1];
  // Equal runs at equal distances: one write with a pitch, if the device takes such.
  if (as_rows && runs_on == level - 1) return visit(Rows{to, packed, step_of(level - 1), count, pitch});
  for (std::uint64_t i = 0; i < count; ++i)
    for_each_run(packing, level - 1, to + i * pitch, packed + i * step_of(level - 1), as_rows, visit);
}

bool same_memory(const Placement& a, const Placement& b) noexcept {
  return a.device_type == b.device_type && a.device_id == b.device_id && a.data == b.data;
}

}  // namespace

// Bytes in a staging buffer that continue each other in the destination: written when the next ones do not.
class DeviceSink::WriteCoalescer {
 public:
  explicit WriteCoalescer(const DeviceSink& sink, StagingBuffer buffer = nullptr) noexcept
      : sink_(sink), buffer_(std::move(buffer)) {}

  /// Room in a buffer for at least `wanted` bytes, which go to `to`; no buffer holds fewer. Waits for one.
  std::span<std::byte> room(const Target& to, std::uint64_t wanted) {
    if (!has_room(to, wanted)) {
      let_go();  // a worker that waits for a buffer holds none
      buffer_ = staging().take();
    }
    return {buffer_.get() + used_, left()};
  }

  /// The same without waiting: empty when no buffer is free.
  std::span<std::byte> room_at_once(const Target& to, std::uint64_t wanted) {
    if (!has_room(to, wanted)) {
      let_go();
      buffer_ = staging().try_take();
    }
    return {buffer_.get() + used_, left()};
  }

  /// The `size` bytes at `bytes`, inside the buffer, belong at `to`.
  void add(const Target& to, const std::byte* bytes, std::uint64_t size) {
    // Continues the pending run only if it does so in the buffer and in the destination.
    if (run_.data() + run_.size() != bytes || !ends_at(to.place)) {
      send();
      to_ = to.place;
      run_ = {bytes, 0};
    }
    run_ = {run_.data(), run_.size() + size};
    used_ += size;
    ends_entry_ = size == to.left;
  }

  /// Rows with a pitch, inside the buffer, the first of which belongs at `to`.
  void add_rows(const Target& to, const std::byte* bytes, const Rows& rows) {
    if (rows.count == 1) return add(to, bytes, rows.size);
    // Rows lie apart in the destination, so the pending run ends before them.
    send();
    const std::uint64_t size = rows.count * rows.size;
    used_ += size;
    sink_.writer_.write({.to = to.place, .staged = {bytes, size}, .rows = rows.count, .pitch_bytes = rows.pitch},
                        buffer_);
  }

  void send() {
    if (!run_.empty()) sink_.writer_.write({.to = to_, .staged = std::exchange(run_, {})}, buffer_);
  }

 private:
  [[nodiscard]] StagingPool& staging() const noexcept { return sink_.device_.staging; }
  [[nodiscard]] std::uint64_t left() const noexcept { return buffer_ ? staging().buffer_bytes() - used_ : 0; }
  [[nodiscard]] bool ends_at(const Placement& place) const noexcept {
    return same_memory(place, to_) && to_.byte_offset + run_.size() == place.byte_offset;
  }

  bool has_room(const Target& to, std::uint64_t wanted) noexcept {
    fill_gap(to, wanted);
    return buffer_ && left() >= wanted;
  }

  void let_go() {
    send();
    buffer_.reset();
    used_ = 0;
  }

  // Bytes between two entries, of neither, are written with both: the gaps that come of an alignment.
  void fill_gap(const Target& to, std::uint64_t wanted) noexcept {
    const std::uint64_t end = to_.byte_offset + run_.size();
    if (run_.empty() || !ends_entry_ || to.offset != 0 || !same_memory(to.place, to_) || to.place.byte_offset <= end)
      return;
    // A gap of an alignment or more may belong to another tensor. Smaller ones are padding: they are zeroed, for no old
    // bytes of the buffer to reach the device.
    const std::uint64_t gap = to.place.byte_offset - end;
    if (gap >= sink_.device_.requirements.alignment || left() < gap + wanted) return;
    std::memset(buffer_.get() + used_, 0, gap);
    run_ = {run_.data(), run_.size() + gap};
    used_ += gap;
  }

  const DeviceSink& sink_;
  StagingBuffer buffer_;
  std::uint64_t used_ = 0;
  Placement to_;
  std::span<const std::byte> run_;
  bool ends_entry_ = false;  // the run
};

// The memory of one write: a device's, or the host's for entries with a buffer of the caller's.
class DeviceSink::DeviceMemory final : public MemoryTarget {
 public:
  explicit DeviceMemory(DeviceSink& sink) noexcept : sink_(sink), writes_(sink) {}

  void copy(const Part& part, std::int64_t to, const std::byte* from, std::uint64_t size,
            WriteProgress& progress) override {
    if (sink_.host_.of(part).base != nullptr) return sink_.host_.copy(part, to, from, size, progress);
    for (Target target = sink_.target_of(part, static_cast<std::uint64_t>(to)); size > 0;) {
      // As much as the buffer has left: a copy may span buffers.
      const std::span<std::byte> room = writes_.room(target, 1);
      const std::uint64_t now = std::min<std::uint64_t>(size, room.size());
      kernels::copy_run(from, room.data(), now, Store::cached);
      writes_.add(target, room.data(), now);
      progress.add(now);
      target.advance(now);
      from += now, size -= now;
    }
  }

  void convert(const Part& part, const std::byte* from) override {
    if (sink_.host_.of(part).base != nullptr) return sink_.host_.convert(part, from);
    const Conversion& conversion = sink_.schedule_.conversion(part);
    // A device cannot be written to unit by unit: the part is converted into a buffer first. The budget's
    // staging_buffer_bytes holds the largest part (ScheduleSizes::max_filled).
    const Packing packing = pack(sink_.schedule_.axes_of(part), part.count, conversion.to_bytes());
    // Writes go upwards from the lowest byte, which is not the first unit's where an axis runs backwards.
    const Target lowest = sink_.target_of(part, static_cast<std::uint64_t>(part.to) - packing.before);
    std::byte* const packed = writes_.room(lowest, packing.size_bytes).data();
    copy_part(conversion, {packing.axes, packing.rank}, part.count, from, packed + packing.first, Store::cached);
    for_each_run(packing, packing.rank, 0, 0, sink_.device_.requirements.strided_writes, [&](const Rows& rows) {
      Target to = lowest;
      to.advance(rows.to);
      writes_.add_rows(to, packed + rows.packed, rows);
    });
  }

  void send() { writes_.send(); }

 private:
  DeviceSink& sink_;
  WriteCoalescer writes_;
};

void DeviceSink::write(const Chunk& chunk, Range range, const std::byte* bytes) {
  DeviceMemory memory(*this);
  write_chunk(schedule_, monitor_, chunk, range, bytes, memory);
  // The pending run refers to this call's buffer: nothing is left pending between chunks.
  memory.send();
}

// Long pieces are written from where they are. Short ones are first brought together in another buffer, if one is free:
// a device takes longer to start a write than the processor takes to copy them.
void DeviceSink::forward(const Chunk& chunk, Range range, const std::byte* bytes, const StagingBuffer& buffer) {
  constexpr std::uint64_t min_write_bytes = 32u << 10;
  WriteCoalescer in_place(*this, buffer);
  WriteCoalescer gathered(*this);
  WriteProgress progress(monitor_);
  for_each_piece(schedule_, chunk, range, [&](const Piece& piece) {
    const std::byte* const from = bytes + (piece.range.begin - range.begin);
    const std::uint64_t size = piece.range.size();
    if (host_.of(piece.part).base != nullptr) return host_.copy(piece.part, piece.to(), from, size, progress);
    const Target to = target_of(piece.part, static_cast<std::uint64_t>(piece.to()));
    // A piece that is the whole range has no neighbours to be written with.
    const bool is_short = size < min_write_bytes && size < range.size();
    const std::span<std::byte> room = is_short ? gathered.room_at_once(to, size) : std::span<std::byte>();
    if (room.empty()) {
      in_place.add(to, from, size);
    } else {
      kernels::copy_run(from, room.data(), size, Store::cached);
      gathered.add(to, room.data(), size);
    }
    progress.add(size);
  });
  in_place.send();
  gathered.send();
  progress.report();
}

// Searched for after a failure: the writes themselves need not know their tensors.
std::optional<EntryByte> DeviceSink::byte_at(const Placement& place) const {
  std::optional<EntryByte> found;
  std::uint64_t nearest = UINT64_MAX;
  for (std::size_t i = 0; i < device_.entries.size(); ++i) {
    const Entry& entry = device_.entries[i];
    const std::uint64_t begin = entry.place.byte_offset;
    const bool is_before = begin + entry.size_bytes <= place.byte_offset;
    if (entry.size_bytes == 0 || is_before || begin >= nearest || !same_memory(entry.place, place)) continue;
    nearest = begin;
    found = {static_cast<EntryIndex>(i), place.byte_offset - std::min(begin, place.byte_offset)};
  }
  return found;
}

}  // namespace heft::engine
