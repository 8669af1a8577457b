#include "save/pieces.hpp"

#include <algorithm>
#include <charconv>
#include <numeric>
#include <utility>

#include "heft/error.hpp"
#include "heft/stream.hpp"
#include "record/source.hpp"
#include "record/view_access.hpp"

namespace heft::writer {
namespace {

// Of bytes that are inflated while they are read: the windows of all workers, also of pairs, take little of 64 MiB.
constexpr std::uint64_t inflated_window_bytes = 4u << 20;

bool is_inflated(const TensorView& view) {
  const std::shared_ptr<const record::Source>& source = ViewAccess::source(view);
  if (source) return source->order() == record::Source::Order::ascending;
  return std::ranges::any_of(ViewAccess::pieces(view), [](const Piece& piece) { return is_inflated(piece.part); });
}

}  // namespace

std::uint64_t window_bytes_of(const TensorView& view) {
  return is_inflated(view) ? inflated_window_bytes : window_bytes;
}

// Finds the outermost dim of which a single index fits in a piece.
ViewCutter::ViewCutter(TensorView view, DType dtype, std::uint64_t max_bytes) : view_(std::move(view)) {
  const Shape& shape = view_.shape();
  if (view_.dtype() == DType::unknown || dtype == DType::unknown || shape.rank() == 0) return;
  if (bytes_for(dtype, shape) <= max_bytes) return;

  // Not 0, as the tensor has more than max_bytes: the divisions below are by the dims of a non-empty shape.
  std::uint64_t elements = shape.element_count();  // of one index of dim_
  const DTypeInfo& type = info(dtype);
  const auto fits = [&](std::uint64_t count) { return count / type.block_elements * type.block_bytes <= max_bytes; };
  for (dim_ = 0;; ++dim_) {
    elements /= static_cast<std::uint64_t>(shape[dim_]);
    if (dim_ + 1 == shape.rank() || fits(elements)) break;
  }
  // Blocks of both dtypes must stay whole: a tensor whose rows end inside a block is not cut.
  const std::uint64_t block = std::lcm<std::uint64_t>(type.block_elements, info(view_.dtype()).block_elements);
  const bool innermost = dim_ + 1 == shape.rank();
  if (innermost ? static_cast<std::uint64_t>(shape[dim_]) % block != 0 : elements % block != 0) return;
  const std::uint64_t unit = innermost ? block : 1;  // of dim_
  const std::uint64_t unit_bytes = elements * unit / type.block_elements * type.block_bytes;
  // As many as fit, one unit at least: a piece can exceed max_bytes where a single unit does.
  step_ = static_cast<std::int64_t>(std::max<std::uint64_t>(max_bytes / unit_bytes, 1) * unit);
  at_ = Dims(dim_ + 1, 0);
}

std::optional<TensorView> ViewCutter::next() {
  if (is_done_) return std::nullopt;
  TensorView piece = step_ == 0 ? view_ : cut();
  // The odometer carries into dim 0 last: when that is at its end, all are.
  is_done_ = step_ == 0 || at_[0] == view_.shape()[0];
  return piece;
}

// Returns the part that starts at at_, and advances at_ like an odometer.
TensorView ViewCutter::cut() {
  const Shape& whole = view_.shape();
  TensorView piece = view_;
  // One index of each outer dim and a range of dim_: the only cut whose bytes are one run in the row-major file.
  for (std::size_t dim = 0; dim < dim_; ++dim) piece = piece.slice(dim, at_[dim], at_[dim] + 1);
  const std::int64_t end = std::min(at_[dim_] + step_, whole[dim_]);
  piece = piece.slice(dim_, at_[dim_], end);
  at_[dim_] = end;
  for (std::size_t dim = dim_; dim > 0 && at_[dim] == whole[dim]; --dim) {
    at_[dim] = 0;
    ++at_[dim - 1];
  }
  return piece;
}

// Replaces the number of a piece, its name in the plan, by its tensor's name in errors.
template <class Call>
void Pieces::with_names(const Call& call) const {
  try {
    call();
  } catch (const Error& error) {
    std::size_t number = places_.size();
    const std::string& piece = error.tensor();
    std::from_chars(piece.data(), piece.data() + piece.size(), number);
    if (piece.empty() || number >= places_.size()) throw;
    ErrorPlace place = error.place();
    place.tensor = names_[places_[number].tensor];
    throw Error(error.code(), error.message(), std::move(place));
  }
}

void Pieces::add(const TensorView& view, DType dtype, std::uint64_t max_bytes) {
  names_.emplace_back(view.name());
  ViewCutter cutter(view, dtype, max_bytes);
  while (const std::optional<TensorView> piece = cutter.next()) {
    // A plan takes each name once, and pieces of one tensor share theirs: they are numbered, and with_names()
    // translates errors.
    const std::string number = std::to_string(places_.size());
    const std::uint64_t size_bytes = dtype == DType::unknown ? piece->size_bytes() : bytes_for(dtype, piece->shape());
    places_.push_back({.tensor = names_.size() - 1, .size_bytes = size_bytes});
    with_names([&] { plan_.add(piece->renamed(number), dtype); });
  }
}

engine::Windows Pieces::windows() const {
  engine::Windows windows;
  std::uint64_t bytes = 0;
  for (std::uint32_t piece = 0; piece < places_.size(); ++piece) {
    windows.add(piece);
    bytes += places_[piece].size_bytes;
    if (bytes < window_bytes && piece + 1 < places_.size()) continue;
    windows.close();
    bytes = 0;
  }
  return windows;
}

std::vector<std::string> Pieces::visit(const MaterializeOptions& options, const engine::Windows& windows,
                                       const engine::Visitor& visitor) const {
  std::vector<std::string> notes;
  with_names([&] { notes = engine::visit(plan_, options, windows, visitor).notes; });
  return notes;
}

std::vector<std::string> Pieces::for_each(const MaterializeOptions& options, std::uint64_t in_flight_bytes,
                                          const std::function<void(const Piece&)>& visit) {
  std::vector<std::string> notes;
  with_names([&] {
    TensorStream loaded =
        stream(std::move(plan_), options, {.order = StreamOrder::plan, .in_flight_bytes = in_flight_bytes});
    std::size_t number = 0;
    std::uint64_t offset = 0;
    for (const Tensor& values : loaded) {
      // The stream has the order of the plan, so the pieces of a tensor follow each other.
      const bool is_end = is_last(number);
      visit({.tensor = places_[number].tensor, .offset = offset, .values = values, .is_last = is_end});
      offset = is_end ? 0 : offset + values.bytes().size();
      ++number;
    }
    notes = loaded.stats().notes;
  });
  return notes;
}

}  // namespace heft::writer
