// materialize/transfer.hpp: what a plan comes to: byte ranges of sources, and where and how their elements go.
//
//   entry      a tensor to be                                (plan.hpp)
//   transfer   the part of it that one stored view gives     strides on both sides, one conversion
//   part       a piece of a transfer that lies together in the source: the unit of copying
//   chunk      parts that are fetched together: the unit of reading; what several parts need is read once
//   batch      neighbouring chunks: the unit that a worker takes
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <unordered_map>
#include <vector>

#include "heft/tensor_view.hpp"
#include "kernels/conversion.hpp"
#include "record/source.hpp"

namespace heft::engine {

using kernels::Conversion;
using kernels::Store;

/// One dim of a transfer: how many units, and how many bytes lie between neighbours on either side.
struct Axis {
  std::int64_t count = 1;
  std::int64_t from_step = 0;  ///< Never negative.
  std::int64_t to_step = 0;
};

/// Most axes that a transfer can have, after dims that run on into each other have become one.
inline constexpr std::size_t most_axes = 32;

/// Units of one source on their way into one tensor.
struct Transfer {
  std::uint64_t from = 0;       ///< Byte offset in the source of the first unit.
  std::int64_t to = 0;          ///< Byte offset of it in the entry's memory.
  std::uint32_t source = 0;     ///< Index in Layout::sources.
  std::uint32_t entry = 0;      ///< Index in the plan.
  std::uint32_t conversion = 0; ///< Index in Layout::conversions.
  std::uint32_t axes = 0;       ///< Index of the first axis in Layout::axes. Steps of the source go down: the last axis is the one that runs
                                ///< through neighbouring bytes of the source. There is at least one.
  std::uint32_t rank = 1;       ///< Number of axes.
  bool plain = false;           ///< One run of bytes that is one run in the destination, unchanged.
  bool turned = false;          ///< Rows of the source become columns. Set by cut().
};

/// A part of a transfer: all of its axes after `level`, and `count` steps of axis `level` itself.
struct Part {
  std::uint64_t from = 0;       ///< Byte offset in the source of its first unit ...
  std::uint64_t from_end = 0;   ///< ... and past its last one.
  std::int64_t to = 0;          ///< Byte offset in the entry's memory.
  std::int64_t count = 0;
  std::uint32_t transfer = 0;
  std::uint32_t level = 0;
};

/// Bytes [begin, end) of a source.
struct Range {
  std::uint64_t begin = 0;
  std::uint64_t end = 0;
  [[nodiscard]] std::uint64_t size() const noexcept { return end - begin; }
};

/// Parts [first, last) of Layout::parts, of one source, in order of their begin.
struct Chunk {
  Range range;                  ///< Holds all bytes of the parts.
  std::uint32_t first = 0;
  std::uint32_t last = 0;
  std::uint32_t source = 0;
  bool plain = false;           ///< All parts are plain and none overlap: the bytes may land where they belong, without staging.
  bool turned = false;          ///< Some part's rows become columns.
  bool again = false;           ///< The chunk before holds all these bytes: it is there because their parts write too much for one.
  bool sparse = false;          ///< Between the parts' runs lie gaps worth leaving out: needed_ranges() names the runs.
};

/// Chunks [first, last), of one source, in file order; of an ascending source all of them.
struct Batch {
  std::uint32_t first = 0;
  std::uint32_t last = 0;
  bool steps_back = false;      ///< Chunks of an ascending source overlap: it is inflated whole.
};

/// A plan cut up: what the workers work through. Immutable while a load runs.
struct Layout {
  std::vector<std::shared_ptr<const record::Source>> sources;
  std::unordered_map<const record::Source*, std::uint32_t> source_numbers;
  std::vector<Conversion> conversions;  ///< Each once.
  std::vector<Axis> axes;
  std::vector<Transfer> transfers;
  std::vector<Part> parts;
  std::vector<Chunk> chunks;
  std::vector<Batch> batches;

  std::uint64_t bytes_read = 0;
  std::uint64_t bytes_written = 0;
  std::uint64_t largest_staged = 0;  ///< Bytes of the largest chunk that needs staging; 0: none does.
  std::uint64_t largest_filled = 0;  ///< Bytes that the largest part of such a chunk writes.

  [[nodiscard]] const Transfer& transfer(const Part& part) const noexcept { return transfers[part.transfer]; }
  [[nodiscard]] const Conversion& conversion(const Part& part) const noexcept { return conversions[transfer(part).conversion]; }
  /// The part's own axes: Transfer's from `level` on, the first of them cut to `count`.
  [[nodiscard]] std::span<const Axis> axes_of(const Part& part) const noexcept {
    const Transfer& whole = transfer(part);
    return std::span(axes).subspan(whole.axes + part.level, whole.rank - part.level);
  }
  [[nodiscard]] std::span<const Part> parts_of(const Chunk& chunk) const noexcept { return std::span(parts).subspan(chunk.first, chunk.last - chunk.first); }
  /// Bytes that a part, or the parts of a chunk, write.
  [[nodiscard]] std::uint64_t written_by(const Part& part) const noexcept;
  [[nodiscard]] std::uint64_t written_by(const Chunk& chunk) const noexcept;
};

/// Sizes that cutting aims at, in bytes.
struct Grain {
  std::uint64_t plain = 4u << 20;      ///< Read straight to where it belongs: large requests, whole huge pages.
  std::uint64_t staged = 512u << 10;      ///< Fetched, then converted or gathered while still in the second-level cache.
  std::uint64_t transposed = 512u << 10;  ///< Rows become columns: more rows make longer runs to write.
  std::uint64_t part = 1u << 20;       ///< Written by a part of staged bytes that repeat: progress and stop come between parts.
  std::uint64_t turned_part = 16u << 20;  ///< The same of rows that become columns.
  std::uint64_t written = 32u << 20;   ///< Written by a chunk, about: what more parts need of the same bytes is another chunk.
  std::uint64_t gap = 4096;            ///< Gaps up to this are read over: less than a page costs more to leave out than to read.
  std::uint64_t batch = 8u << 20;      ///< Fetched, or half of what is written where that is more: as large as windows of a mapping are wanted.
};

/// Where the elements of a view go in an entry's memory: element (i, j, ...) to `first` + i * strides[0] + j * strides[1] + ..., in elements.
struct Placement {
  std::int64_t first = 0;
  std::span<const std::int64_t> strides;
};

/// The number of `source` among the layout's; added to them when it is new.
std::uint32_t source_index(Layout& layout, const std::shared_ptr<const record::Source>& source);

/// Adds the transfers of `view`, which has data, into an entry's memory. Throws Error{unsupported} for a conversion that heft does not do,
/// Error{corrupt} for a view that reaches past the end of its source.
void add_transfers(Layout& layout, std::uint32_t entry, const TensorView& view, DType to_type, const Placement& placement);

/// Cuts the transfers into parts, sorts them by source and offset, and groups them.
void cut(Layout& layout, const Grain& grain);

/// The byte ranges that the parts of a chunk need, in order, with gaps up to `gap` filled.
std::vector<Range> needed_ranges(const Layout& layout, const Chunk& chunk, std::uint64_t gap);

}  // namespace heft::engine
