#include "materialize/sink/strided_copy.hpp"

#include <algorithm>
#include <cstdlib>
#include <cstring>

namespace heft::engine {
namespace {

// Gathered, converted and put down at a time; at least the largest unit, a block of 256 elements decoded to doubles.
constexpr std::size_t gathered_bytes = 8192;
// As many rows are transposed at once as make a run to write of two lines or more. Where they are converted first, a
// block of them lies packed in the first-level cache, a line further apart than they are long: at powers of two they
// would share few places of it.
constexpr std::size_t line = 64;
constexpr std::size_t transposed_rows = 128;
constexpr std::size_t transposed_bytes = 32u << 10;

// Visits every index of the outer axes and gives `row` the places that the indices lead to.
template <class Row>
void for_each_row(std::span<const Axis> outer, const std::byte* from, std::byte* to, const Row& row) {
  if (outer.empty()) return row(from, to);
  // Recursion is as deep as the part has axes: max_axes at most.
  for (std::int64_t i = 0; i < outer[0].count; ++i)
    for_each_row(outer.subspan(1), from + i * outer[0].from_step, to + i * outer[0].to_step, row);
}

void gather(const std::byte* from, std::int64_t step, std::size_t width, std::size_t count,
            std::byte* packed) noexcept {
  for (std::size_t i = 0; i < count; ++i)
    std::memcpy(packed + i * width, from + static_cast<std::int64_t>(i) * step, width);
}

void scatter(const std::byte* packed, std::size_t width, std::size_t count, std::byte* to, std::int64_t step) noexcept {
  for (std::size_t i = 0; i < count; ++i)
    std::memcpy(to + static_cast<std::int64_t>(i) * step, packed + i * width, width);
}

// One row, packed on neither side or on one: through packed copies.
void run_strided(const Conversion& conversion, const Axis& axis, const std::byte* from, std::byte* to) noexcept {
  const std::size_t from_width = conversion.from_bytes();
  const std::size_t to_width = conversion.to_bytes();
  alignas(64) std::byte before[gathered_bytes];
  alignas(64) std::byte after[gathered_bytes];
  // As many as fit both buffers. Conversions work on packed units, so each block is gathered, converted and scattered.
  const std::size_t units = gathered_bytes / std::max(from_width, to_width);
  for (std::int64_t done = 0; done < axis.count; done += static_cast<std::int64_t>(units)) {
    const std::size_t now = std::min(units, static_cast<std::size_t>(axis.count - done));
    gather(from + done * axis.from_step, axis.from_step, from_width, now, before);
    conversion.run(before, after, now, Store::cached);
    scatter(after, to_width, now, to + done * axis.to_step, axis.to_step);
  }
}

// Two axes at once: `rows` is packed in the destination, `columns` in the source. A line of each row of a block at a
// time is transposed in registers, and leaves as runs of whole lines: from where the rows lie, or, where elements are
// not just copied, from a packed copy of the block that was converted row by row.
class Transpose {
 public:
  Transpose(const Conversion& conversion, const Axis& rows, const Axis& columns, Store store) noexcept
      : conversion_(conversion),
        rows_(rows),
        columns_(columns),
        store_(store),
        width_(conversion.to_bytes()),
        block_rows_(width_ == 1 ? transposed_rows : transposed_rows / 2),
        block_columns_(transposed_bytes / block_rows_ / std::max<std::size_t>(width_, conversion.from_bytes())),
        pitch_(block_columns_ * width_ + line) {}

  void run(const std::byte* from, std::byte* to) noexcept {
    // The same for all blocks: rows that lie differently within their lines get 0.
    into_line_ = columns_into_line(from);
    for (std::size_t r = 0; r < count(rows_); r += block_rows_)
      for (std::size_t c = 0; c < count(columns_); c += columns_from(c)) run_block(from, to, r, c);
  }

 private:
  static std::size_t count(const Axis& axis) noexcept { return static_cast<std::size_t>(axis.count); }
  [[nodiscard]] std::size_t rows_from(std::size_t r) const noexcept { return std::min(block_rows_, count(rows_) - r); }
  [[nodiscard]] std::size_t in_line() const noexcept { return line / width_; }
  // Blocks, and the steps through them, end where lines of the source end, for no line to be fetched twice.
  [[nodiscard]] std::size_t columns_from(std::size_t c) const noexcept {
    return std::min(block_columns_ - (c + into_line_) % block_columns_, count(columns_) - c);
  }
  [[nodiscard]] std::ptrdiff_t from_offset(std::size_t r, std::size_t c) const noexcept {
    return static_cast<std::int64_t>(r) * rows_.from_step + static_cast<std::int64_t>(c) * columns_.from_step;
  }

  [[nodiscard]] bool reads_in_place() const noexcept { return conversion_.is_copy() && rows_.from_step >= 0; }
  // Returns how far into a line the first column lies; 0 where it does not matter, or where rows differ in it.
  [[nodiscard]] std::size_t columns_into_line(const std::byte* from) const noexcept {
    const std::size_t bytes = reinterpret_cast<std::uintptr_t>(from) % line;
    const bool same_in_all = static_cast<std::size_t>(rows_.from_step) % line == 0 && bytes % width_ == 0;
    return reads_in_place() && same_in_all ? bytes / width_ : 0;
  }

  // A block of converted elements, and the distance of its rows.
  struct Block {
    const std::byte* rows;
    std::size_t pitch;
  };

  [[nodiscard]] Block convert(const std::byte* from, std::size_t rows, std::size_t columns) noexcept {
    // A copy needs no packed block: the rows are transposed from where they lie.
    if (reads_in_place()) return {from, static_cast<std::size_t>(rows_.from_step)};
    for (std::size_t i = 0; i < rows; ++i)
      conversion_.run(from + static_cast<std::int64_t>(i) * rows_.from_step, packed_ + i * pitch_, columns,
                      Store::cached);
    return {packed_, pitch_};
  }

  void run_block(const std::byte* from, std::byte* to, std::size_t r, std::size_t c) noexcept {
    const std::size_t rows = rows_from(r);
    const std::size_t columns = columns_from(c);
    const Block block = convert(from + from_offset(r, c), rows, columns);
    for (std::size_t at = 0; at < columns;) {
      std::byte* const transposed =
          to + static_cast<std::int64_t>(r) * rows_.to_step + static_cast<std::int64_t>(c + at) * columns_.to_step;
      // A line of each row: it is fetched once, and all of it is used while it is in the first-level cache.
      const std::size_t step = std::min(in_line() - (c + at + into_line_) % in_line(), columns - at);
      transpose_line({block.rows + at * width_, block.pitch}, transposed, rows, step);
      at += step;
    }
  }

  // Returns true if the block is stored in place: unless streaming stores would write parts of lines.
  [[nodiscard]] bool writes_in_place(const std::byte* to) const noexcept {
    const bool in_lines =
        reinterpret_cast<std::uintptr_t>(to) % line == 0 && columns_.to_step % std::int64_t{line} == 0;
    return columns_.to_step >= 0 && (store_ == Store::cached || in_lines);
  }

  void transpose_line(const Block& block, std::byte* to, std::size_t rows, std::size_t columns) noexcept {
    const auto step = static_cast<std::size_t>(columns_.to_step);
    if (writes_in_place(to))
      return kernels::transpose_block(width_, block.rows, block.pitch, to, step, rows, columns, store_);
    // Streaming a part of a line makes the memory controller read the rest: the block is transposed into a buffer, and
    // copied from it as runs.
    const std::size_t run = rows * width_;
    kernels::transpose_block(width_, block.rows, block.pitch, transposed_, run, rows, columns, Store::cached);
    if (columns_.to_step >= 0) return kernels::copy_rows(transposed_, run, to, step, columns, run, store_);
    for (std::size_t i = 0; i < columns; ++i)
      kernels::copy_run(transposed_ + i * run, to + static_cast<std::int64_t>(i) * columns_.to_step, run, store_);
  }

  const Conversion& conversion_;
  const Axis rows_;
  const Axis columns_;
  const Store store_;
  const std::size_t width_;
  const std::size_t block_rows_;
  const std::size_t block_columns_;
  const std::size_t pitch_;
  std::size_t into_line_ = 0;
  alignas(line) std::byte packed_[transposed_bytes + transposed_rows * line];
  alignas(line) std::byte transposed_[transposed_rows * line];
};

bool can_transpose(std::size_t width) noexcept { return width == 1 || width == 2 || width == 4 || width == 8; }

}  // namespace

void copy_part(const Conversion& conversion, std::span<const Axis> axes, std::int64_t count, const std::byte* from,
               std::byte* to, Store store) noexcept {
  Axis own[max_axes];  // the part's own: the first counts `count`
  std::size_t rank = std::copy(axes.begin(), axes.end(), own) - own;
  own[0].count = count;
  const Axis inner = own[rank - 1];
  // Three ways, fastest first: rows that are packed on both sides, rows that become columns, and all others through
  // packed copies.
  const bool from_packed = inner.from_step == conversion.from_bytes();
  const bool to_packed = inner.to_step == conversion.to_bytes();
  const auto outer = [&] { return std::span<const Axis>(own, rank - 1); };
  if (from_packed && to_packed)
    return for_each_row(outer(), from, to, [&](const std::byte* row_from, std::byte* row_to) {
      conversion.run(row_from, row_to, static_cast<std::size_t>(inner.count), store);
    });
  Axis* const packed_rows =
      std::find_if(own, own + rank - 1, [&](const Axis& axis) { return axis.to_step == conversion.to_bytes(); });
  if (from_packed && packed_rows != own + rank - 1 && can_transpose(conversion.to_bytes())) {
    const Axis rows = *packed_rows;
    // Taken out of the outer axes: Transpose steps along it itself.
    std::copy(packed_rows + 1, own + rank, packed_rows);
    --rank;
    Transpose transpose(conversion, rows, inner, store);
    return for_each_row(outer(), from, to,
                        [&](const std::byte* row_from, std::byte* row_to) { transpose.run(row_from, row_to); });
  }
  for_each_row(outer(), from, to,
               [&](const std::byte* row_from, std::byte* row_to) { run_strided(conversion, inner, row_from, row_to); });
}

}  // namespace heft::engine
