#include "materialize/fill.hpp"

#include <algorithm>
#include <cstdlib>
#include <cstring>

namespace heft::engine {
namespace {

// Gathered, converted and put down at a time; at least the largest unit, a block of 256 elements decoded to doubles.
constexpr std::size_t gathered_bytes = 8192;
// A transposed block: a cache line of each of many rows.
constexpr std::size_t line = 64;
constexpr std::size_t turned_rows = 256;

// Visits every index of the outer axes and gives `row` the places that the indices lead to.
template <class Row>
void for_each_row(std::span<const Axis> outer, const std::byte* from, std::byte* to, const Row& row) {
  if (outer.empty()) return row(from, to);
  for (std::int64_t i = 0; i < outer[0].count; ++i)
    for_each_row(outer.subspan(1), from + i * outer[0].from_step, to + i * outer[0].to_step, row);
}

void gather(const std::byte* from, std::int64_t step, std::size_t width, std::size_t count, std::byte* packed) noexcept {
  for (std::size_t i = 0; i < count; ++i) std::memcpy(packed + i * width, from + static_cast<std::int64_t>(i) * step, width);
}

void scatter(const std::byte* packed, std::size_t width, std::size_t count, std::byte* to, std::int64_t step) noexcept {
  for (std::size_t i = 0; i < count; ++i) std::memcpy(to + static_cast<std::int64_t>(i) * step, packed + i * width, width);
}

// One row, packed on neither side or on one: through packed copies.
void run_strided(const Conversion& conversion, const Axis& axis, const std::byte* from, std::byte* to) noexcept {
  const std::size_t from_width = conversion.from_bytes();
  const std::size_t to_width = conversion.to_bytes();
  alignas(64) std::byte before[gathered_bytes];
  alignas(64) std::byte after[gathered_bytes];
  const std::size_t units = gathered_bytes / std::max(from_width, to_width);
  for (std::int64_t done = 0; done < axis.count; done += static_cast<std::int64_t>(units)) {
    const std::size_t now = std::min(units, static_cast<std::size_t>(axis.count - done));
    gather(from + done * axis.from_step, axis.from_step, from_width, now, before);
    conversion.run(before, after, now, Store::cached);
    scatter(after, to_width, now, to + done * axis.to_step, axis.to_step);
  }
}

// Two axes at once: `rows` is packed in the destination, `columns` in the source. A line of each of many rows is turned in the cache, where it
// gives runs that can be converted and written as they are.
void run_turned(const Conversion& conversion, const Axis& rows, const Axis& columns, const std::byte* from, std::byte* to, Store store) noexcept {
  const std::size_t width = conversion.from_bytes();
  const auto in_line = static_cast<std::int64_t>(line / width);
  alignas(64) std::byte turned[line * turned_rows];
  for (std::int64_t r = 0; r < rows.count; r += turned_rows) {
    const std::int64_t row_count = std::min<std::int64_t>(turned_rows, rows.count - r);
    const std::size_t pitch = static_cast<std::size_t>(row_count) * width;
    for (std::int64_t c = 0; c < columns.count; c += in_line) {
      const std::int64_t column_count = std::min(in_line, columns.count - c);
      transpose_block(width, from + r * rows.from_step + c * columns.from_step, static_cast<std::size_t>(rows.from_step), turned, pitch,
                      static_cast<std::size_t>(row_count), static_cast<std::size_t>(column_count));
      for (std::int64_t j = 0; j < column_count; ++j)
        conversion.run(turned + static_cast<std::size_t>(j) * pitch, to + r * rows.to_step + (c + j) * columns.to_step,
                       static_cast<std::size_t>(row_count), store);
    }
  }
}

bool can_turn(std::size_t width) noexcept { return width == 1 || width == 2 || width == 4 || width == 8; }

}  // namespace

void fill_part(const Conversion& conversion, std::span<const Axis> axes, std::int64_t count, const std::byte* from, std::byte* to, Store store) noexcept {
  Axis own[most_axes];  // the part's own: the first counts `count`
  std::size_t rank = std::copy(axes.begin(), axes.end(), own) - own;
  own[0].count = count;
  const Axis inner = own[rank - 1];
  const bool from_packed = inner.from_step == conversion.from_bytes();
  const bool to_packed = inner.to_step == conversion.to_bytes();
  const auto outer = [&] { return std::span<const Axis>(own, rank - 1); };
  if (from_packed && to_packed)
    return for_each_row(outer(), from, to, [&](const std::byte* row_from, std::byte* row_to) {
      conversion.run(row_from, row_to, static_cast<std::size_t>(inner.count), store);
    });
  Axis* const packed_rows = std::find_if(own, own + rank - 1, [&](const Axis& axis) { return axis.to_step == conversion.to_bytes(); });
  if (from_packed && packed_rows != own + rank - 1 && can_turn(conversion.from_bytes())) {
    const Axis rows = *packed_rows;
    std::copy(packed_rows + 1, own + rank, packed_rows);
    --rank;
    return for_each_row(outer(), from, to, [&](const std::byte* row_from, std::byte* row_to) {
      run_turned(conversion, rows, inner, row_from, row_to, store);
    });
  }
  for_each_row(outer(), from, to, [&](const std::byte* row_from, std::byte* row_to) { run_strided(conversion, inner, row_from, row_to); });
}

}  // namespace heft::engine
