// materialize/schedule.hpp: a plan compiled for execution: the pieces that are fetched, and the use of each.
//
//   entry      a tensor to be loaded                         (plan.hpp)
//   transfer   the part of it that one stored view provides  strides on both sides, one conversion (transfer.hpp)
//   part       a piece of a transfer that lies together in the source: the unit of copying
//   chunk      parts that are fetched together: the unit of reading; bytes that several parts need are read once
//   batch      neighbouring chunks: the unit that a worker takes
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <utility>
#include <vector>

#include "materialize/transfer.hpp"

namespace heft::engine {

/// Position of a chunk in Schedule::chunks.
enum class ChunkIndex : std::uint32_t {};

/// A part of a transfer: all of its axes after `level`, and `count` steps of axis `level` itself.
struct Part {
  std::uint64_t from = 0;      ///< Byte offset in the source of its first unit ...
  std::uint64_t from_end = 0;  ///< ... and past its last one.
  std::int64_t to = 0;         ///< Byte offset in the entry's memory.
  std::int64_t count = 0;
  TransferIndex transfer = {};
  std::uint32_t level = 0;
};

/// Bytes [begin, end) of a source.
struct Range {
  std::uint64_t begin = 0;
  std::uint64_t end = 0;
  [[nodiscard]] std::uint64_t size() const noexcept { return end - begin; }
};

/// Parts [first_part, last_part) of Schedule::parts, of one source and one group, in the order of their first bytes.
struct Chunk {
  Range range;  ///< Contains all bytes of the parts.
  std::uint32_t first_part = 0;
  std::uint32_t last_part = 0;
  SourceIndex source = {};
  std::uint32_t group = 0;  ///< Of its entries: see compile().
  /// All parts are contiguous and none overlap: the bytes may be read to where they belong, without staging.
  bool contiguous = false;
  bool transposed = false;  ///< Some part's rows become columns.
  /// The chunk before contains all these bytes: it exists because their parts write too much for one.
  bool repeats = false;
  bool sparse = false;  ///< Between the parts' runs lie gaps worth leaving out: needed_ranges() returns the runs.
};

/// Chunks [first, last), of one source, in file order; of an ascending source all of them.
struct Batch {
  ChunkIndex first = {};
  ChunkIndex last = {};
  bool steps_back = false;  ///< Chunks of an ascending source overlap: it is inflated whole.
};

/// Sizes that chunking aims at, in bytes.
struct ChunkSizes {
  std::uint64_t contiguous = 4u << 20;  ///< Read to where it belongs: large requests, whole huge pages.
  /// Fetched, then converted or gathered while still in the second-level cache.
  std::uint64_t converted = 512u << 10;
  std::uint64_t transposed = 512u << 10;  ///< Rows become columns: more rows make longer runs to write.
  /// Written by a part of bytes that repeat: progress and stop come between parts.
  std::uint64_t part = 1u << 20;
  std::uint64_t transposed_part = 16u << 20;  ///< The same of rows that become columns.
  /// Written by a chunk, about: further parts of the same bytes are another chunk.
  std::uint64_t written = 32u << 20;
  /// Gaps up to this are read over: less than a page costs more to leave out than to read.
  std::uint64_t gap = 4096;
  /// Fetched, or half of the bytes written where these are more: the size of a mapping's window.
  std::uint64_t batch = 8u << 20;
};

/// Sums and maxima over a schedule, in bytes, from which the memory of a load is computed.
struct ScheduleSizes {
  std::uint64_t read = 0;           ///< From sources, each byte once, with the gaps that are read over.
  std::uint64_t written = 0;        ///< To entries.
  std::uint64_t spanned = 0;        ///< From each chunk's first byte to its last, added up.
  std::uint64_t max_batch = 0;      ///< From a batch's first byte to its last.
  std::uint64_t max_chunk = 0;      ///< Of a chunk.
  std::uint64_t max_converted = 0;  ///< Of a chunk that is converted or gathered; 0: there is none.
  std::uint64_t max_filled = 0;     ///< Written by a part of such a chunk.
  /// Of a contiguous chunk with parts too short for reads of their own, or of a source that is inflated or gathered.
  std::uint64_t max_buffered = 0;
  std::uint64_t max_reader = 0;  ///< Working memory of a source that is inflated or gathered.
  /// Of chunks that are requested and do not go straight to where they belong: all of them, and the largest.
  std::uint64_t request_spanned = 0;
  std::uint64_t max_request = 0;
  std::uint64_t in_requests = 0;  ///< Memory of requests in flight, in sources of the caller's.
  bool has_files = false;         ///< Some source is a file: it can be read directly.
  bool has_mapped = false;        ///< Some source is mapped, or memory.
};

/// A plan compiled for execution. Immutable: const members may be called from several threads.
struct Schedule {
  std::shared_ptr<const Transfers> transfers;
  std::vector<Part> parts;    ///< By group, then by source, then by the first byte.
  std::vector<Chunk> chunks;  ///< In the same order.
  std::vector<Batch> batches;
  ScheduleSizes sizes;

  [[nodiscard]] const record::Source& source(SourceIndex source) const noexcept {
    return *transfers->sources[position(source)];
  }
  [[nodiscard]] const Transfer& transfer(const Part& part) const noexcept {
    return transfers->transfers[position(part.transfer)];
  }
  [[nodiscard]] const Conversion& conversion(const Part& part) const noexcept {
    return transfers->conversions[transfer(part).conversion];
  }
  /// The part's own axes: its transfer's from `level` on. Of the first of them the part has `count` steps only.
  [[nodiscard]] std::span<const Axis> axes_of(const Part& part) const noexcept {
    return transfers->axes_of(transfer(part)).subspan(part.level);
  }
  [[nodiscard]] std::span<const Part> parts_of(const Chunk& chunk) const noexcept {
    return std::span(parts).subspan(chunk.first_part, chunk.last_part - chunk.first_part);
  }
  [[nodiscard]] std::span<const Chunk> chunks_of(const Batch& batch) const noexcept {
    return std::span(chunks).subspan(position(batch.first), position(batch.last) - position(batch.first));
  }
  /// Bytes that a part writes.
  [[nodiscard]] std::uint64_t written_by(const Part& part) const noexcept;
};

/// Parts of a contiguous chunk shorter than this are read into a buffer, many at a time. In bytes.
inline constexpr std::uint64_t min_read_bytes = 16u << 10;

/// Runs shorter than this are not worth a direct read, or a request, of their own: they come with their neighbours. In
/// bytes.
inline constexpr std::uint64_t worth_a_request = 256u << 10;

/// Cuts the transfers into parts, sorts them by source and offset, and groups them into chunks and batches.
/// `group_of` has a number for each entry, by which the parts are sorted first: no chunk is of two groups, and chunks
/// of a group come before those of the next. Empty: all entries are of group 0.
std::shared_ptr<const Schedule> compile(std::shared_ptr<const Transfers> transfers, const ChunkSizes& sizes = {},
                                        std::span<const std::uint32_t> group_of = {});

/// Returns true if an ascending source is read to its end, which proves its bytes, after chunk number `number` of
/// `chunks`, which are of a batch: if it is the last one, or the last one of its group.
[[nodiscard]] inline bool ends_proof(const Schedule& schedule, std::span<const Chunk> chunks,
                                     std::size_t number) noexcept {
  if (schedule.source(chunks[number].source).order() != record::Source::Order::ascending) return false;
  return number + 1 == chunks.size() || chunks[number + 1].group != chunks[number].group;
}

/// From the first byte of a batch's chunks to the last one's end.
[[nodiscard]] inline Range range_of(std::span<const Chunk> chunks) noexcept {
  return {chunks.front().range.begin, chunks.back().range.end};
}

/// Bytes that a chunk's parts write.
[[nodiscard]] std::uint64_t written_by(const Schedule& schedule, const Chunk& chunk) noexcept;

/// A step of the source, which is never negative.
[[nodiscard]] inline std::uint64_t as_bytes(std::int64_t step) noexcept { return static_cast<std::uint64_t>(step); }

/// The number of a part's trailing axes that make one run of source bytes when gaps up to `gap` are filled, and the
/// bytes of that run.
[[nodiscard]] std::pair<std::size_t, std::uint64_t> inner_run(const Schedule& schedule, const Part& part,
                                                              std::uint64_t gap) noexcept;

/// The byte ranges that the parts of a chunk need, in order, with gaps up to `gap` filled.
[[nodiscard]] std::vector<Range> needed_ranges(const Schedule& schedule, const Chunk& chunk, std::uint64_t gap);

/// Returns the bytes that the parts of a chunk need. Gaps that are read over count; bytes that the chunk before needs
/// too do not.
[[nodiscard]] std::uint64_t needed_bytes(const Schedule& schedule, const Chunk& chunk);

}  // namespace heft::engine
