#include "materialize/sink/device_sink.hpp"

#include <algorithm>
#include <cstdlib>
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

// Bytes in a staging buffer that continue each other in the destination: written when the next ones do not.
class DeviceSink::WriteCoalescer {
 public:
  explicit WriteCoalescer(const Device& device, StagingBuffer buffer = nullptr) noexcept
      : device_(device), buffer_(std::move(buffer)) {}

  /// Room in a buffer for at least `wanted` bytes; no buffer holds fewer.
  std::span<std::byte> room(std::uint64_t wanted) {
    if (!buffer_ || device_.staging->buffer_bytes() - used_ < wanted) {
      send();
      buffer_.reset();  // a worker that waits for a buffer holds none
      buffer_ = device_.staging->take();
      used_ = 0;
    }
    return {buffer_.get() + used_, device_.staging->buffer_bytes() - used_};
  }

  /// The `size` bytes at `bytes`, inside the buffer, belong at `offset` of the destination.
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
    device_.destination.write(offset_, Bytes(std::exchange(run_, {}), buffer_));
  }

 private:
  const Device& device_;
  StagingBuffer buffer_;
  std::uint64_t used_ = 0;
  std::uint64_t offset_ = 0;
  std::span<const std::byte> run_;
};

// The memory of one write: a device's, or the host's for entries with a buffer of the caller's.
class DeviceSink::DeviceMemory final : public MemoryTarget {
 public:
  explicit DeviceMemory(DeviceSink& sink) noexcept : sink_(sink), writes_(sink.device_) {}

  void copy(const Part& part, std::int64_t to, const std::byte* from, std::uint64_t size,
            WriteProgress& progress) override {
    if (sink_.host_.of(part).base != nullptr) return sink_.host_.copy(part, to, from, size, progress);
    for (std::uint64_t offset = sink_.offset_of(part, to); size > 0;) {
      const std::span<std::byte> room = writes_.room(1);
      const std::uint64_t now = std::min<std::uint64_t>(size, room.size());
      kernels::copy_run(from, room.data(), now, Store::cached);
      writes_.add(offset, room.data(), now);
      progress.add(now);
      from += now, offset += now, size -= now;
    }
  }

  void convert(const Part& part, const std::byte* from) override {
    if (sink_.host_.of(part).base != nullptr) return sink_.host_.convert(part, from);
    const Conversion& conversion = sink_.schedule_.conversion(part);
    const Packing packing = pack(sink_.schedule_.axes_of(part), part.count, conversion.to_bytes());
    std::byte* const packed = writes_.room(packing.size_bytes).data();
    copy_part(conversion, {packing.axes, packing.rank}, part.count, from, packed + packing.first, Store::cached);
    const std::uint64_t lowest = sink_.offset_of(part, part.to) - packing.before;
    for_each_run(packing, packing.rank, lowest, 0,
                 [&](std::uint64_t to, std::uint64_t at, std::uint64_t size) { writes_.add(to, packed + at, size); });
  }

  void send() { writes_.send(); }

 private:
  DeviceSink& sink_;
  WriteCoalescer writes_;
};

void DeviceSink::write(const Chunk& chunk, Range range, const std::byte* bytes) {
  DeviceMemory memory(*this);
  write_chunk(schedule_, monitor_, chunk, range, bytes, memory);
  memory.send();
}

void DeviceSink::forward(const Chunk& chunk, Range range, const std::byte* bytes, const StagingBuffer& buffer) {
  WriteCoalescer writes(device_, buffer);
  WriteProgress progress(monitor_);
  for_each_piece(schedule_, chunk, range, [&](const Piece& piece) {
    const std::byte* const from = bytes + (piece.range.begin - range.begin);
    if (host_.of(piece.part).base != nullptr)
      return host_.copy(piece.part, piece.to(), from, piece.range.size(), progress);
    writes.add(offset_of(piece.part, piece.to()), from, piece.range.size());
    progress.add(piece.range.size());
  });
  writes.send();
  progress.report();
}

}  // namespace heft::engine
