#include "record/join.hpp"

#include <algorithm>
#include <string>
#include <utility>
#include <vector>

namespace heft::record {
namespace {

// Returns the number of elements in one step of each dim.
std::vector<std::int64_t> steps_of(const Shape& shape) {
  std::vector<std::int64_t> steps(shape.rank(), 1);
  for (std::size_t dim = shape.rank(); dim-- > 1;) steps[dim - 1] = steps[dim] * shape[dim];
  return steps;
}

// Returns the largest box that starts at element `at` of the whole, is contiguous, and has at most `left` elements.
Piece box_at(const TensorView& run, std::int64_t run_at, const Shape& whole, std::span<const std::int64_t> steps,
             std::int64_t at, std::int64_t left) {
  Piece piece{{}, Dims(whole.rank(), 0)};
  Shape box = whole;
  std::size_t dim = 0;
  // A run is a range of elements in row-major order; steps[d] elements of it are one step of dim d.
  // Skips dims in which the box would start inside a step or have less than one step.
  while (dim + 1 < whole.rank() && (at % steps[dim] != 0 || left < steps[dim])) ++dim;
  // The index of element `at`, one digit for each dim.
  std::int64_t rest = at;
  for (std::size_t i = 0; i < whole.rank(); ++i) {
    piece.at[i] = rest / steps[i];
    rest %= steps[i];
    if (i < dim) box[i] = 1;
  }
  // The box ends with the run, or where dim `dim` ends, because one after it starts in the next step of an outer dim.
  box[dim] = std::min(left / steps[dim], whole[dim] - piece.at[dim]);
  const std::int64_t count = box[dim] * steps[dim];
  piece.part = run.slice(0, run_at, run_at + count).reshape(std::move(box));
  return piece;
}

}  // namespace

TensorView join_runs(const Shard& shard, const format::Joined& joined) {
  const format::Catalog& catalog = *shard.catalog;
  const Shape whole(catalog.sizes(joined.whole));
  const std::vector<std::int64_t> steps = steps_of(whole);
  std::vector<Piece> pieces;
  std::int64_t at = 0;
  for (std::uint32_t part = 0; part < joined.part_count; ++part) {
    const TensorView run = shard.view(catalog.parts[joined.first_part + part]);
    const std::int64_t count = run.shape()[0];
    // A scalar has no dim to cut.
    if (whole.rank() == 0 && count == 1) pieces.push_back({run.reshape(Shape{}), {}});
    for (std::int64_t done = 0; done < count && whole.rank() > 0;) {
      pieces.push_back(box_at(run, done, whole, steps, at + done, count - done));
      done += static_cast<std::int64_t>(pieces.back().part.element_count());
    }
    at += count;
  }
  return TensorView::over_pieces(std::string(joined.whole.name), whole, std::move(pieces));
}

}  // namespace heft::record
