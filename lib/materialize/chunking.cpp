// From transfers to parts, chunks and batches.
#include <algorithm>
#include <bit>
#include <cstdlib>
#include <utility>

#include "materialize/transfer.hpp"
#include "mmap/pages.hpp"

namespace heft::engine {
namespace {

// Fewest rows that a transposed part has, so that what it writes comes in runs of this many elements; as far as this much memory allows.
constexpr std::uint64_t transposed_rows = 128;
// Rows of transposed parts come in multiples of these, for whole cache lines to write.
constexpr std::uint64_t line_elements = 64;
constexpr std::uint64_t largest_transposed = 8u << 20;
// One read has at most this many places to write to (IOV_MAX), with room for the gaps between them.
constexpr std::uint32_t most_plain_parts = 500;

constexpr std::uint64_t huge_page = mmap::huge_page_bytes;
constexpr std::uint64_t part_of_rest = 8;

// How much work bytes are that are read and written: windows of a mapping are sized by what is read, time goes by both.
std::uint64_t weight(std::uint64_t read, std::uint64_t written) noexcept { return std::max(read, written / 2); }

std::uint64_t as_bytes(std::int64_t step) noexcept { return static_cast<std::uint64_t>(step); }

// Cuts one transfer. Cuts lie on multiples of the grain in the source, so that transfers of the same bytes are cut at the same places; those of rows
// that become columns lie on multiples of a line's elements instead, counted from the first row.
class Cutter {
 public:
  Cutter(Layout& layout, std::uint32_t number, const Grain& grain) noexcept
      : layout_(layout),
        number_(number),
        transfer_(layout.transfers[number]),
        axes_(std::span(layout.axes).subspan(transfer_.axes, transfer_.rank)) {
    spans_[transfer_.rank] = layout.conversions[transfer_.conversion].from_bytes();
    written_[transfer_.rank] = layout.conversions[transfer_.conversion].to_bytes();
    for (std::size_t level = transfer_.rank; level-- > 0;) {
      spans_[level] =
          spans_[level + 1] + static_cast<std::uint64_t>(axes_[level].count - 1) * as_bytes(axes_[level].from_step);
      written_[level] = written_[level + 1] * static_cast<std::uint64_t>(axes_[level].count);
    }
    turned_ = !transfer_.plain && turns_rows();
    layout.transfers[number].turned = turned_;
    grain_ = transfer_.plain ? grain.plain : turned_ ? transposed_grain(grain) : staged_grain(grain);
    most_written_ = transfer_.plain ? grain.plain : turned_ ? grain.turned_part : grain.part;
  }

  void run() { cut(0, transfer_.from, transfer_.to); }

 private:
  [[nodiscard]] bool turns_rows() const noexcept {
    return std::any_of(axes_.begin(), axes_.end() - 1, [&](const Axis& axis) {
      return axis.to_step != 0 && std::abs(axis.to_step) < std::abs(axes_.back().to_step);
    });
  }

  // What becomes larger is cut smaller: what a part writes has to fit a slot. By powers of two, for cuts of the same
  // bytes to meet.
  [[nodiscard]] std::uint64_t staged_grain(const Grain& grain) const noexcept {
    const Conversion& conversion = layout_.conversions[transfer_.conversion];
    const std::uint64_t from = conversion.from_bytes();
    return grain.staged / std::bit_ceil((conversion.to_bytes() + from - 1) / from);
  }

  [[nodiscard]] std::uint64_t transposed_grain(const Grain& grain) const noexcept {
    return std::clamp(transposed_rows * as_bytes(axes_[axes_.size() - 2].from_step), grain.transposed,
                      largest_transposed);
  }

  void cut(std::uint32_t level, std::uint64_t from, std::int64_t to) {
    const Axis& axis = axes_[level];
    const bool last = level + 1 == axes_.size();
    if (spans_[level] <= grain_ && !(last && crosses_cut(from, spans_[level])))
      return emit(level, from, to, axis.count);
    if (last || spans_[level + 1] <= grain_) return cut_axis(level, from, to);
    for (std::int64_t i = 0; i < axis.count; ++i)
      cut(level + 1, from + static_cast<std::uint64_t>(i) * as_bytes(axis.from_step), to + i * axis.to_step);
  }

  [[nodiscard]] bool crosses_cut(std::uint64_t from, std::uint64_t span) const noexcept {
    return !turned_ && span > 0 && from / grain_ != (from + span - 1) / grain_;
  }

  void cut_axis(std::uint32_t level, std::uint64_t from, std::int64_t to) {
    const Axis& axis = axes_[level];
    const std::uint64_t step = as_bytes(axis.from_step);
    for (std::int64_t done = 0; done < axis.count;) {
      const std::uint64_t begin = from + static_cast<std::uint64_t>(done) * step;
      const std::int64_t count =
          step == 0 ? axis.count : std::min(axis.count - done, static_cast<std::int64_t>(steps_to_cut(begin, step)));
      emit(level, begin, to + done * axis.to_step, count);
      done += count;
    }
  }

  [[nodiscard]] std::uint64_t steps_to_cut(std::uint64_t begin, std::uint64_t step) const noexcept {
    if (turned_ && grain_ / step >= line_elements) return grain_ / step / line_elements * line_elements;
    return ((begin / grain_ + 1) * grain_ - begin + step - 1) / step;
  }

  // What repeats is small in the source and large in the destination: it is cut by what it writes, at the level at which
  // that is possible.
  void emit(std::uint32_t level, std::uint64_t from, std::int64_t to, std::int64_t count) {
    const std::uint64_t a_step = written_[level + 1];
    if (static_cast<std::uint64_t>(count) <= most_written_ / a_step) return put(level, from, to, count);
    const Axis& axis = axes_[level];
    const bool deeper = a_step > most_written_ && level + 1 < axes_.size();
    const std::int64_t steps = deeper ? 1 : steps_to_write(a_step);
    for (std::int64_t done = 0; done < count; done += steps) {
      const std::uint64_t begin = from + static_cast<std::uint64_t>(done) * as_bytes(axis.from_step);
      const std::int64_t place = to + done * axis.to_step;
      if (deeper)
        emit(level + 1, begin, place, axes_[level + 1].count);
      else
        put(level, begin, place, std::min(steps, count - done));
    }
  }

  [[nodiscard]] std::int64_t steps_to_write(std::uint64_t a_step) const noexcept {
    const std::uint64_t steps = std::max<std::uint64_t>(most_written_ / a_step, 1);
    return static_cast<std::int64_t>(steps >= line_elements ? steps / line_elements * line_elements : steps);
  }

  void put(std::uint32_t level, std::uint64_t from, std::int64_t to, std::int64_t count) {
    const std::uint64_t end =
        from + static_cast<std::uint64_t>(count - 1) * as_bytes(axes_[level].from_step) + spans_[level + 1];
    layout_.parts.push_back(
        {.from = from, .from_end = end, .to = to, .count = count, .transfer = number_, .level = level});
  }

  Layout& layout_;
  std::uint32_t number_;
  const Transfer& transfer_;
  std::span<const Axis> axes_;
  // Bytes of the source from the first unit to the last, of the axes from a level on.
  std::uint64_t spans_[most_axes + 1];
  std::uint64_t written_[most_axes + 1];  // bytes of the destination, of the same axes
  std::uint64_t grain_ = 0;
  std::uint64_t most_written_ = 0;  // by a part
  bool turned_ = false;
};

void sort_parts(Layout& layout) {
  const auto before = [&](const Part& a, const Part& b) {
    const std::uint32_t a_source = layout.transfers[a.transfer].source;
    const std::uint32_t b_source = layout.transfers[b.transfer].source;
    return a_source != b_source ? a_source < b_source : a.from != b.from ? a.from < b.from : a.transfer < b.transfer;
  };
  if (!std::is_sorted(layout.parts.begin(), layout.parts.end(), before))
    std::sort(layout.parts.begin(), layout.parts.end(), before);
}

// The number of trailing axes that make one run when gaps up to `gap` are filled, and the bytes of that run.
std::pair<std::size_t, std::uint64_t> inner_run(const Layout& layout, const Part& part, std::uint64_t gap) noexcept {
  const std::span<const Axis> axes = layout.axes_of(part);
  std::uint64_t run = layout.conversion(part).from_bytes();
  std::size_t inner = 0;
  while (inner < axes.size()) {
    const std::size_t level = axes.size() - inner - 1;
    if (as_bytes(axes[level].from_step) > run + gap) break;
    run +=
        static_cast<std::uint64_t>((level == 0 ? part.count : axes[level].count) - 1) * as_bytes(axes[level].from_step);
    ++inner;
  }
  return {inner, run};
}

void add_ranges(std::vector<Range>& ranges, std::span<const Axis> axes, std::int64_t count, std::uint64_t from,
                std::uint64_t run) {
  if (axes.empty()) return ranges.push_back({from, from + run});
  for (std::int64_t i = 0; i < count; ++i)
    add_ranges(ranges, axes.subspan(1), axes.size() > 1 ? axes[1].count : 1,
               from + static_cast<std::uint64_t>(i) * as_bytes(axes[0].from_step), run);
}

void merge_ranges(std::vector<Range>& ranges, std::uint64_t gap) {
  std::sort(ranges.begin(), ranges.end(), [](const Range& a, const Range& b) { return a.begin < b.begin; });
  std::size_t kept = 0;
  for (const Range& range : ranges) {
    if (kept > 0 && range.begin <= ranges[kept - 1].end + gap)
      ranges[kept - 1].end = std::max(ranges[kept - 1].end, range.end);
    else
      ranges[kept++] = range;
  }
  ranges.resize(kept);
}

// Groups sorted parts.
class Grouper {
 public:
  Grouper(Layout& layout, const Grain& grain) : layout_(layout), grain_(grain) {}

  void run() {
    for (std::uint32_t i = 0; i < layout_.parts.size(); ++i) {
      const Part& part = layout_.parts[i];
      const Transfer& transfer = layout_.transfers[part.transfer];
      if (i == 0 || !joins(part, transfer)) {
        close();
        chunk_ = {.range = {part.from, part.from_end},
                  .first = i,
                  .last = i,
                  .source = transfer.source,
                  .plain = transfer.plain};
      }
      chunk_.plain = chunk_.plain && transfer.plain && (chunk_.first == i || part.from >= chunk_.range.end);
      chunk_.turned = chunk_.turned || transfer.turned;
      chunk_.sparse = chunk_.sparse || inner_run(layout_, part, grain_.gap).first < layout_.axes_of(part).size();
      chunk_.range.end = std::max(chunk_.range.end, part.from_end);
      chunk_.last = i + 1;
      written_ += layout_.written_by(part);
    }
    close();
    make_batches();
  }

 private:
  [[nodiscard]] bool joins(const Part& part, const Transfer& transfer) const noexcept {
    if (transfer.source != chunk_.source) return false;
    const std::uint64_t size = std::max(chunk_.range.end, part.from_end) - chunk_.range.begin;
    if (written_ >= grain_.written) return false;
    // The same bytes twice: fetched once, unless parts that overlap like scales would make one chunk of everything.
    if (part.from < chunk_.range.end) return part.from_end <= chunk_.range.end || size <= 2 * grain_.plain;
    if (part.from > chunk_.range.end + grain_.gap || transfer.plain != chunk_.plain) return false;
    const std::uint64_t grain = chunk_.plain ? grain_.plain : grain_.staged;
    if (size > grain || part.from / grain != chunk_.range.begin / grain) return false;
    return !chunk_.plain || chunk_.last - chunk_.first < most_plain_parts;
  }

  void close() {
    if (chunk_.first == chunk_.last) return;
    layout_.bytes_written += std::exchange(written_, 0);
    if (!layout_.chunks.empty()) chunk_.again = holds(layout_.chunks.back(), chunk_);
    if (chunk_.again)
      ;  // counted with the chunk before
    else if (chunk_.sparse)
      for (const Range& range : needed_ranges(layout_, chunk_, grain_.gap)) layout_.bytes_read += range.size();
    else
      layout_.bytes_read += chunk_.range.size();
    if (!chunk_.plain) note_staged();
    layout_.chunks.push_back(chunk_);
  }

  // Whether all bytes of `next` were fetched for `chunk` too.
  static bool holds(const Chunk& chunk, const Chunk& next) noexcept {
    return chunk.source == next.source && !chunk.sparse && next.range.begin >= chunk.range.begin &&
           next.range.end <= chunk.range.end;
  }

  void note_staged() {
    layout_.largest_staged = std::max(layout_.largest_staged, chunk_.range.size());
    for (const Part& part : layout_.parts_of(chunk_))
      layout_.largest_filled = std::max(layout_.largest_filled, layout_.written_by(part));
  }

  // Of what is left, a batch is a small part: threads then end at about the same time, and small loads have enough of
  // them for each thread.
  [[nodiscard]] std::uint64_t batch_weight(std::uint64_t left, std::uint64_t page_weight) const noexcept {
    return std::clamp(left / part_of_rest, std::clamp(page_weight, huge_page, grain_.batch), grain_.batch);
  }

  // A batch ends with a huge page of the file, the last one that it has room for: to give up a part of one, the kernel
  // first splits its mapping, and interrupts every processor once more.
  static bool ends_batch(const Chunk& last, const Chunk& next, std::uint64_t room, std::uint64_t page_weight) noexcept {
    const bool enters_page = next.range.begin / huge_page != last.range.begin / huge_page;
    return last.source != next.source || (enters_page && room < page_weight);
  }

  // What is inflated as it is read is one worker's.
  [[nodiscard]] bool is_ascending(const Chunk& chunk) const noexcept {
    return layout_.sources[chunk.source]->order() == record::Source::Order::ascending;
  }

  [[nodiscard]] bool starts_batch(const Chunk& last, const Chunk& next, std::uint64_t bytes, std::uint64_t full,
                                  std::uint64_t page_weight) const noexcept {
    if (is_ascending(next)) return last.source != next.source;
    return bytes >= full || ends_batch(last, next, full - bytes, page_weight);
  }

  // What a huge page weighs that is like this chunk.
  static std::uint64_t weight_of_page(const Chunk& chunk, std::uint64_t chunk_weight) noexcept {
    const double times = static_cast<double>(chunk_weight) / static_cast<double>(chunk.range.size());
    return static_cast<std::uint64_t>(times * static_cast<double>(huge_page));
  }

  void make_batches() {
    std::uint64_t left = weight(layout_.bytes_read, layout_.bytes_written);
    std::uint64_t bytes = 0;
    std::uint64_t full = 0;
    for (std::uint32_t i = 0; i < layout_.chunks.size(); ++i) {
      const Chunk& chunk = layout_.chunks[i];
      const std::uint64_t more = weight(chunk.range.size(), layout_.written_by(chunk));
      const std::uint64_t page_weight = weight_of_page(chunk, more);
      if (i == 0 || starts_batch(layout_.chunks[i - 1], chunk, bytes, full, page_weight)) {
        layout_.batches.push_back({i, i});
        full = batch_weight(left, page_weight);
        bytes = 0;
      }
      Batch& batch = layout_.batches.back();
      batch.last = i + 1;
      batch.steps_back = batch.steps_back || (is_ascending(chunk) && i > batch.first &&
                                              chunk.range.begin < layout_.chunks[i - 1].range.end);
      bytes += more;
      left -= std::min(left, more);
    }
  }

  Layout& layout_;
  const Grain& grain_;
  Chunk chunk_;
  std::uint64_t written_ = 0;  // by the chunk
};

}  // namespace

void cut(Layout& layout, const Grain& grain) {
  for (std::uint32_t number = 0; number < layout.transfers.size(); ++number) Cutter(layout, number, grain).run();
  sort_parts(layout);
  Grouper(layout, grain).run();
}

std::vector<Range> needed_ranges(const Layout& layout, const Chunk& chunk, std::uint64_t gap) {
  std::vector<Range> ranges;
  for (std::uint32_t i = chunk.first; i < chunk.last; ++i) {
    const Part& part = layout.parts[i];
    const auto [inner, run] = inner_run(layout, part, gap);
    const std::span<const Axis> axes = layout.axes_of(part);
    add_ranges(ranges, axes.first(axes.size() - inner), part.count, part.from, run);
  }
  merge_ranges(ranges, gap);
  return ranges;
}

}  // namespace heft::engine
