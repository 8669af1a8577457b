// From transfers to parts (Chunker), chunks and batches (Batcher).
#include "materialize/schedule.hpp"

#include <algorithm>
#include <bit>
#include <numeric>
#include <utility>

#include "materialize/memory/arena.hpp"
#include "mmap/pages.hpp"

namespace heft::engine {
namespace {

// Fewest rows of a transposed part, so that it writes runs of this many elements, as far as max_transposed bytes allow.
constexpr std::uint64_t transposed_rows = 128;
// Rows of transposed parts come in multiples of these, for whole cache lines to write.
constexpr std::uint64_t line_elements = 64;
constexpr std::uint64_t max_transposed = 8u << 20;
// One read has at most this many places to write to (IOV_MAX), with room for the gaps between them.
constexpr std::uint32_t max_contiguous_parts = 500;

constexpr std::uint64_t huge_page = mmap::huge_page_bytes;
constexpr std::uint64_t part_of_rest = 8;

// Returns the cost of a chunk, in bytes. Time depends on bytes read and written; windows of a mapping on bytes read
// only.
std::uint64_t weight(std::uint64_t read, std::uint64_t written) noexcept { return std::max(read, written / 2); }

// Cuts one transfer. Cuts lie on multiples of `cut_bytes_` in the source, so that transfers of the same bytes are cut
// at the same places; those of rows that become columns lie on multiples of a line's elements instead, counted from the
// first row.
class Chunker {
 public:
  Chunker(Schedule& schedule, TransferIndex index, const ChunkSizes& sizes) noexcept
      : schedule_(schedule),
        index_(index),
        transfer_(schedule.transfers->transfers[position(index)]),
        axes_(schedule.transfers->axes_of(transfer_)) {
    const Conversion& conversion = schedule.transfers->conversions[transfer_.conversion];
    spans_[transfer_.rank] = conversion.from_bytes();
    written_[transfer_.rank] = conversion.to_bytes();
    // From one unit, at level `rank`, outwards: each level repeats the one inside it.
    for (std::size_t level = transfer_.rank; level-- > 0;) {
      spans_[level] =
          spans_[level + 1] + static_cast<std::uint64_t>(axes_[level].count - 1) * as_bytes(axes_[level].from_step);
      written_[level] = written_[level + 1] * static_cast<std::uint64_t>(axes_[level].count);
    }
    cut_bytes_ = transfer_.contiguous   ? sizes.contiguous
                 : transfer_.transposed ? transposed_bytes(sizes)
                                        : converted_bytes(sizes, conversion);
    // A contiguous part writes as many bytes as it reads, so that one bound serves both.
    max_written_ = transfer_.contiguous ? sizes.contiguous : transfer_.transposed ? sizes.transposed_part : sizes.part;
  }

  void run() { cut(0, transfer_.from, transfer_.to); }

 private:
  // A widening conversion is cut smaller, since the bytes that a part writes must fit a staging buffer. Sizes are
  // powers of two, so that cuts of the same source bytes coincide.
  static std::uint64_t converted_bytes(const ChunkSizes& sizes, const Conversion& conversion) noexcept {
    const std::uint64_t from = conversion.from_bytes();
    return sizes.converted / std::bit_ceil((conversion.to_bytes() + from - 1) / from);
  }

  [[nodiscard]] std::uint64_t transposed_bytes(const ChunkSizes& sizes) const noexcept {
    // A transposed transfer has two axes at least; the last but one steps from row to row of the source.
    return std::clamp(transposed_rows * as_bytes(axes_[axes_.size() - 2].from_step), sizes.transposed, max_transposed);
  }

  void cut(std::uint32_t level, std::uint64_t from, std::int64_t to) {
    const Axis& axis = axes_[level];
    // Whole when it fits. A single run is also cut where it crosses a multiple: that is where transfers of its
    // neighbours end.
    const bool last = level + 1 == axes_.size();
    if (spans_[level] <= cut_bytes_ && !(last && crosses_cut(from, spans_[level])))
      return emit(level, from, to, axis.count);
    // Cuts the outermost axis of which one step fits; a step that does not fit is entered.
    if (last || spans_[level + 1] <= cut_bytes_) return cut_axis(level, from, to);
    for (std::int64_t i = 0; i < axis.count; ++i)
      cut(level + 1, from + static_cast<std::uint64_t>(i) * as_bytes(axis.from_step), to + i * axis.to_step);
  }

  [[nodiscard]] bool crosses_cut(std::uint64_t from, std::uint64_t span) const noexcept {
    return !transfer_.transposed && span > 0 && from / cut_bytes_ != (from + span - 1) / cut_bytes_;
  }

  void cut_axis(std::uint32_t level, std::uint64_t from, std::int64_t to) {
    const Axis& axis = axes_[level];
    const std::uint64_t step = as_bytes(axis.from_step);
    for (std::int64_t done = 0; done < axis.count;) {
      const std::uint64_t begin = from + static_cast<std::uint64_t>(done) * step;
      // A step of 0 repeats the same bytes: there is nothing to cut in the source, and emit() bounds the bytes written.
      const std::int64_t count =
          step == 0 ? axis.count : std::min(axis.count - done, static_cast<std::int64_t>(steps_to_cut(begin, step)));
      emit(level, begin, to + done * axis.to_step, count);
      done += count;
    }
  }

  [[nodiscard]] std::uint64_t steps_to_cut(std::uint64_t begin, std::uint64_t step) const noexcept {
    if (transfer_.transposed && cut_bytes_ / step >= line_elements)
      return cut_bytes_ / step / line_elements * line_elements;
    // Up to the next multiple of cut_bytes_, in whole steps: at least one, so that cut_axis() advances.
    return ((begin / cut_bytes_ + 1) * cut_bytes_ - begin + step - 1) / step;
  }

  // Repeated bytes are few in the source and many in the destination: they are cut by the bytes written, at the first
  // level where that is possible.
  void emit(std::uint32_t level, std::uint64_t from, std::int64_t to, std::int64_t count) {
    const std::uint64_t a_step = written_[level + 1];
    if (static_cast<std::uint64_t>(count) <= max_written_ / a_step) return put(level, from, to, count);
    const Axis& axis = axes_[level];
    // When one step already writes too much, the axes inside it are cut.
    const bool deeper = a_step > max_written_ && level + 1 < axes_.size();
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
    const std::uint64_t steps = std::max<std::uint64_t>(max_written_ / a_step, 1);
    // In whole cache lines of elements where rows become columns: two workers then rarely write to one line.
    return static_cast<std::int64_t>(steps >= line_elements ? steps / line_elements * line_elements : steps);
  }

  void put(std::uint32_t level, std::uint64_t from, std::int64_t to, std::int64_t count) {
    const std::uint64_t end =
        from + static_cast<std::uint64_t>(count - 1) * as_bytes(axes_[level].from_step) + spans_[level + 1];
    schedule_.parts.push_back(
        {.from = from, .from_end = end, .to = to, .count = count, .transfer = index_, .level = level});
  }

  Schedule& schedule_;
  const TransferIndex index_;
  const Transfer& transfer_;
  std::span<const Axis> axes_;
  // Bytes of the source from the first unit to the last, of the axes from a level on.
  std::uint64_t spans_[max_axes + 1];
  std::uint64_t written_[max_axes + 1];  // bytes of the destination, of the same axes
  std::uint64_t cut_bytes_ = 0;
  std::uint64_t max_written_ = 0;  // by a part
};

std::uint32_t group_of_part(const Schedule& schedule, const Part& part,
                            std::span<const std::uint32_t> group_of) noexcept {
  return group_of.empty() ? 0 : group_of[position(schedule.transfer(part).entry)];
}

void sort_parts(Schedule& schedule, std::span<const std::uint32_t> group_of) {
  const auto before = [&](const Part& a, const Part& b) {
    const std::uint32_t a_group = group_of_part(schedule, a, group_of);
    const std::uint32_t b_group = group_of_part(schedule, b, group_of);
    if (a_group != b_group) return a_group < b_group;
    const SourceIndex a_source = schedule.transfer(a).source;
    const SourceIndex b_source = schedule.transfer(b).source;
    // The order of the plan decides between parts of one offset: equal plans are compiled to equal schedules.
    return a_source != b_source ? a_source < b_source : a.from != b.from ? a.from < b.from : a.transfer < b.transfer;
  };
  // Most plans name tensors in file order, and then one pass is all.
  if (!std::is_sorted(schedule.parts.begin(), schedule.parts.end(), before))
    std::sort(schedule.parts.begin(), schedule.parts.end(), before);
}

// Groups sorted parts.
class Batcher {
 public:
  Batcher(Schedule& schedule, const ChunkSizes& sizes, std::span<const std::uint32_t> group_of)
      : schedule_(schedule), wanted_(sizes), group_of_(group_of), sizes_(schedule.sizes) {}

  void run() {
    for (std::uint32_t i = 0; i < schedule_.parts.size(); ++i) {
      const Part& part = schedule_.parts[i];
      const Transfer& transfer = schedule_.transfer(part);
      const std::uint32_t group = group_of_part(schedule_, part, group_of_);
      // The first part closes the empty chunk that the batcher starts with, which is not kept.
      if (i == 0 || group != chunk_.group || !joins(part, transfer)) {
        close();
        chunk_ = {.range = {part.from, part.from},
                  .first_part = i,
                  .last_part = i,
                  .source = transfer.source,
                  .group = group,
                  .contiguous = transfer.contiguous};
        has_short_parts_ = false;
      }
      add(i, part, transfer);
    }
    close();
    make_batches();
    note_readers();
  }

 private:
  void add(std::uint32_t number, const Part& part, const Transfer& transfer) noexcept {
    has_short_parts_ = has_short_parts_ || part.from != chunk_.range.end || part.from_end - part.from < min_read_bytes;
    // Bytes of overlapping parts go to more than one place: they cannot be read to where they belong.
    chunk_.contiguous = chunk_.contiguous && transfer.contiguous && part.from >= chunk_.range.end;
    chunk_.transposed = chunk_.transposed || transfer.transposed;
    chunk_.sparse = chunk_.sparse || inner_run(schedule_, part, wanted_.gap).first < schedule_.axes_of(part).size();
    chunk_.range.end = std::max(chunk_.range.end, part.from_end);
    chunk_.last_part = number + 1;
    written_ += schedule_.written_by(part);
  }

  [[nodiscard]] bool joins(const Part& part, const Transfer& transfer) const noexcept {
    if (transfer.source != chunk_.source) return false;
    const std::uint64_t size = std::max(chunk_.range.end, part.from_end) - chunk_.range.begin;
    // Bounds the work of a chunk, which one worker does: other parts of the same bytes are another chunk, perhaps
    // another worker's.
    if (written_ >= wanted_.written) return false;
    // Bytes that several parts need are fetched once, unless a chain of overlapping parts would grow into one large
    // chunk.
    if (part.from < chunk_.range.end) return part.from_end <= chunk_.range.end || size <= 2 * wanted_.contiguous;
    if (part.from > chunk_.range.end + wanted_.gap || transfer.contiguous != chunk_.contiguous) return false;
    const std::uint64_t cut_bytes = chunk_.contiguous ? wanted_.contiguous : wanted_.converted;
    // Chunks end at the multiples where parts were cut, so that requests are of equal size and aligned.
    if (size > cut_bytes || part.from / cut_bytes != chunk_.range.begin / cut_bytes) return false;
    return !chunk_.contiguous || chunk_.last_part - chunk_.first_part < max_contiguous_parts;
  }

  void close() {
    if (chunk_.first_part == chunk_.last_part) return;
    sizes_.written += std::exchange(written_, 0);
    // Before needed_bytes(), which counts nothing for a chunk that repeats.
    if (!schedule_.chunks.empty()) chunk_.repeats = contains(schedule_.chunks.back(), chunk_);
    sizes_.read += needed_bytes(schedule_, chunk_);
    sizes_.spanned += chunk_.range.size();
    sizes_.max_chunk = std::max(sizes_.max_chunk, chunk_.range.size());
    if (!chunk_.contiguous) note_converted();
    const record::Source::Kind kind = schedule_.source(chunk_.source).kind();
    if (kind == record::Source::Kind::requested)
      note_requested();
    else if (chunk_.contiguous && (is_read_in_pieces() || kind == record::Source::Kind::made))
      sizes_.max_buffered = std::max(sizes_.max_buffered, chunk_.range.size());
    schedule_.chunks.push_back(chunk_);
  }

  // True when all bytes of `next` are fetched for `chunk` too.
  static bool contains(const Chunk& chunk, const Chunk& next) noexcept {
    return chunk.source == next.source && chunk.group == next.group && !chunk.sparse &&
           next.range.begin >= chunk.range.begin && next.range.end <= chunk.range.end;
  }

  // A chunk of one part is one run in the source and in an entry: it is read, or requested, in place.
  [[nodiscard]] bool is_one_part() const noexcept { return chunk_.last_part - chunk_.first_part == 1; }
  [[nodiscard]] bool is_read_in_pieces() const noexcept { return has_short_parts_ && !is_one_part(); }

  void note_requested() noexcept {
    if (chunk_.contiguous && is_one_part()) return;
    sizes_.request_spanned += chunk_.range.size();
    sizes_.max_request = std::max(sizes_.max_request, chunk_.range.size());
  }

  void note_converted() {
    sizes_.max_converted = std::max(sizes_.max_converted, chunk_.range.size());
    for (const Part& part : schedule_.parts_of(chunk_))
      sizes_.max_filled = std::max(sizes_.max_filled, schedule_.written_by(part));
  }

  // A batch is a small part of the work that is left: threads then end at about the same time, and small loads have a
  // batch for each thread.
  [[nodiscard]] std::uint64_t batch_weight(std::uint64_t left, std::uint64_t page_weight) const noexcept {
    return std::clamp(left / part_of_rest, std::clamp(page_weight, huge_page, wanted_.batch), wanted_.batch);
  }

  // Neighbouring chunks of one batch can be one request.
  [[nodiscard]] std::uint64_t worth_a_request(const Chunk& chunk) const noexcept {
    const record::Source& source = schedule_.source(chunk.source);
    return source.kind() == record::Source::Kind::requested ? source.request_limits().preferred_bytes : 0;
  }

  // A batch ends with a huge page of the file, the last one that it has room for: to give up a part of one, the kernel
  // first splits its mapping, and interrupts every processor once more.
  static bool ends_batch(const Chunk& last, const Chunk& next, std::uint64_t room, std::uint64_t page_weight) noexcept {
    const bool enters_page = next.range.begin / huge_page != last.range.begin / huge_page;
    return enters_page && room < page_weight;
  }

  // An ascending source is read by one worker, because its bytes are made in order.
  [[nodiscard]] bool is_ascending(const Chunk& chunk) const noexcept {
    return schedule_.source(chunk.source).order() == record::Source::Order::ascending;
  }

  [[nodiscard]] bool starts_batch(const Chunk& last, const Chunk& next, std::uint64_t bytes, std::uint64_t full,
                                  std::uint64_t page_weight) const noexcept {
    const bool steps_back = last.group != next.group && next.range.begin < last.range.end;
    if (last.source != next.source || steps_back) return true;
    // Far apart, they have nothing in common: neither a window of a mapping nor a request, nor what the page cache
    // holds.
    if (last.group != next.group && next.range.begin > last.range.end + wanted_.batch && !is_ascending(next))
      return true;
    return !is_ascending(next) && (bytes >= full || ends_batch(last, next, full - bytes, page_weight));
  }

  // Returns the cost of a huge page that is read and written as this chunk is.
  static std::uint64_t weight_of_page(const Chunk& chunk, std::uint64_t chunk_weight) noexcept {
    // In floating point: the product of two sizes may exceed 64 bits, and only the place where a batch ends depends on
    // it.
    const double times = static_cast<double>(chunk_weight) / static_cast<double>(chunk.range.size());
    return static_cast<std::uint64_t>(times * static_cast<double>(huge_page));
  }

  void make_batches() {
    std::uint64_t left = weight(sizes_.read, sizes_.written);
    std::uint64_t bytes = 0;
    std::uint64_t full = 0;
    for (std::uint32_t i = 0; i < schedule_.chunks.size(); ++i) {
      const Chunk& chunk = schedule_.chunks[i];
      const std::uint64_t more = weight(chunk.range.size(), written_by(schedule_, chunk));
      const std::uint64_t page_weight = weight_of_page(chunk, more);
      if (i == 0 || starts_batch(schedule_.chunks[i - 1], chunk, bytes, full, page_weight)) {
        schedule_.batches.push_back({.first = ChunkIndex{i}, .last = ChunkIndex{i}});
        // A source with a preferred request size gets batches of that size at least: requests do not cross batches.
        full = std::max(batch_weight(left, page_weight), worth_a_request(chunk));
        bytes = 0;
      }
      Batch& batch = schedule_.batches.back();
      batch.last = ChunkIndex{i + 1};
      batch.steps_back = batch.steps_back || (is_ascending(chunk) && i > position(batch.first) &&
                                              chunk.range.begin < schedule_.chunks[i - 1].range.end);
      sizes_.max_batch = std::max(sizes_.max_batch, range_of(schedule_.chunks_of(batch)).size());
      bytes += more;
      // Each chunk weighs the larger of its two costs, so the chunks together may weigh more than the whole did.
      left -= std::min(left, more);
    }
  }

  // A source whose chunks step back is inflated whole, which takes more memory than a reader.
  void note_readers() {
    for (const Batch& batch : schedule_.batches) {
      const record::Source& source = schedule_.source(schedule_.chunks_of(batch).front().source);
      const bool is_made = source.kind() == record::Source::Kind::made;
      const std::uint64_t bytes =
          std::max(source.reader_bytes(), is_made && batch.steps_back ? source.whole_bytes() : 0);
      sizes_.max_reader = std::max(sizes_.max_reader, bytes);
    }
  }

  Schedule& schedule_;
  const ChunkSizes& wanted_;
  const std::span<const std::uint32_t> group_of_;
  ScheduleSizes& sizes_;
  Chunk chunk_;
  bool has_short_parts_ = false;  // in the chunk: parts not worth a read of their own, or gaps
  std::uint64_t written_ = 0;     // by the chunk
};

}  // namespace

std::shared_ptr<const Schedule> compile(std::shared_ptr<const Transfers> transfers, const ChunkSizes& sizes,
                                        std::span<const std::uint32_t> group_of) {
  const auto schedule = std::make_shared<Schedule>();
  schedule->transfers = std::move(transfers);
  const auto count = static_cast<std::uint32_t>(schedule->transfers->transfers.size());
  // One part for each transfer at least; `count` fits 32 bits, as transfers are indexed by 32 bits.
  reserve_huge(schedule->parts, count);
  for (std::uint32_t i = 0; i < count; ++i) Chunker(*schedule, TransferIndex{i}, sizes).run();
  sort_parts(*schedule, group_of);
  Batcher(*schedule, sizes, group_of).run();
  ScheduleSizes& totals = schedule->sizes;
  unsigned in_flight = 0;
  std::uint64_t a_request = 0;
  for (const auto& source : schedule->transfers->sources) {
    totals.has_files |= source->kind() == record::Source::Kind::file;
    totals.has_mapped |= !source->mapped().empty();
    if (source->kind() != record::Source::Kind::requested) continue;
    in_flight = std::max(in_flight, source->request_limits().max_in_flight);
    a_request = std::max(a_request, source->request_limits().bytes_per_request);
  }
  // As many requests are in flight as the source of the most allows: see RequestGate.
  totals.in_requests = in_flight * a_request;
  return schedule;
}

}  // namespace heft::engine
