#include "record/pieces.hpp"

#include <algorithm>
#include <iterator>
#include <utility>

#include <fmt/format.h>

#include "core/checked.hpp"
#include "core/text.hpp"
#include "heft/error.hpp"
#include "record/tiling.hpp"
#include "record/view_access.hpp"

namespace heft {
namespace record {
namespace {

bool is_empty(const Shape& shape) noexcept { return std::find(shape.begin(), shape.end(), 0) != shape.end(); }

// Returns true if the parts have an element in common: they are apart in no dim.
bool overlap(const Piece& a, const Piece& b) noexcept {
  for (std::size_t dim = 0; dim < a.at.rank(); ++dim) {
    if (a.at[dim] >= b.at[dim] + b.part.shape()[dim] || b.at[dim] >= a.at[dim] + a.part.shape()[dim]) return false;
  }
  return true;
}

// Replaces parts that are in pieces themselves by their pieces, moved to the place of the part.
std::vector<Piece> flattened(std::vector<Piece> pieces) {
  std::vector<Piece> flat;
  for (Piece& piece : pieces) {
    // Parts without elements cover nothing; tile_exactly() requires that there are none.
    if (is_empty(piece.part.shape())) continue;
    if (piece.part.pieces().empty()) {
      flat.push_back(std::move(piece));
      continue;
    }
    for (Piece inner : piece.part.pieces()) {
      for (std::size_t dim = 0; dim < inner.at.rank(); ++dim) inner.at[dim] += piece.at[dim];
      flat.push_back(std::move(inner));
    }
  }
  return flat;
}

// Throws unless one conversion suits all parts: dtype, byte order and lazy bits are properties of the whole view.
void require_alike(const std::string& name, const std::vector<Piece>& pieces) {
  const TensorView& first = pieces.front().part;
  for (const Piece& piece : pieces) {
    if (piece.part.dtype() != first.dtype() || piece.part.dtype_name() != first.dtype_name())
      fail(ErrorCode::type_mismatch, name,
           fmt::format("expected parts of one dtype, found {} and {}", core::escaped(first.dtype_name()),
                       core::escaped(piece.part.dtype_name())));
    if (ViewAccess::flags(piece.part) != ViewAccess::flags(first))
      fail(ErrorCode::type_mismatch, name, "expected parts of one byte order and without differing lazy bits");
    if (piece.part.dtype() == DType::unknown)
      fail(ErrorCode::type_mismatch, name,
           fmt::format("expected a known dtype, found {}", core::escaped(first.dtype_name())));
  }
}

// Throws unless the part lies inside `shape`, on whole blocks.
void require_placed(const std::string& name, const Shape& shape, const Piece& piece) {
  const Shape& part = piece.part.shape();
  if (piece.at.rank() != shape.rank() || part.rank() != shape.rank())
    fail(ErrorCode::out_of_range, name,
         fmt::format("expected parts of rank {}, found shape {} at {}", shape.rank(), to_string(part),
                     to_string(piece.at)));
  for (std::size_t dim = 0; dim < shape.rank(); ++dim) {
    // Written without the sum of place and size, which can overflow.
    if (piece.at[dim] < 0 || part[dim] > shape[dim] || piece.at[dim] > shape[dim] - part[dim])
      fail(ErrorCode::out_of_range, name,
           fmt::format("expected parts inside {}, found shape {} at {}", to_string(shape), to_string(part),
                       to_string(piece.at)));
  }
  const std::int64_t block = info(piece.part.dtype()).block_elements;
  // Blocks run along the last dim; a part that starts inside one has no bytes of its own.
  if (block > 1 &&
      (shape.rank() == 0 || piece.at[shape.rank() - 1] % block != 0 || part[shape.rank() - 1] % block != 0))
    fail(ErrorCode::out_of_range, name,
         fmt::format("expected parts of whole blocks of {} elements, found one at {}", block, to_string(piece.at)));
}

// Returns the dim along which parts start at the most places: if sorted by it, few parts lie side by side.
std::size_t widest_dim(const std::vector<Piece>& pieces, std::size_t rank) {
  std::size_t best = 0;
  std::size_t most = 0;
  std::vector<std::int64_t> begins;
  for (std::size_t dim = 0; dim < rank; ++dim) {
    begins.clear();
    for (const Piece& piece : pieces) begins.push_back(piece.at[dim]);
    std::sort(begins.begin(), begins.end());
    const auto distinct = static_cast<std::size_t>(std::unique(begins.begin(), begins.end()) - begins.begin());
    if (distinct > most) {
      most = distinct;
      best = dim;
    }
  }
  return best;
}

// Throws an error that names two overlapping parts, if a search of bounded length finds them.
void name_overlap(const std::string& name, const Shape& shape, std::vector<Piece>& pieces) {
  // The parts are wrong in any case; the search only makes the message better, and a hostile index can declare a
  // million parts.
  constexpr std::size_t max_compared = 1u << 20;
  const std::size_t dim = shape.rank() == 0 ? 0 : widest_dim(pieces, shape.rank());
  if (shape.rank() != 0)
    std::stable_sort(pieces.begin(), pieces.end(),
                     [dim](const Piece& a, const Piece& b) { return a.at[dim] < b.at[dim]; });
  std::size_t compared = 0;
  for (std::size_t i = 0; i < pieces.size() && compared < max_compared; ++i) {
    for (std::size_t j = i + 1; j < pieces.size() && compared < max_compared; ++j, ++compared) {
      // Sorted by their start, all further parts lie behind part i.
      if (shape.rank() != 0 && pieces[j].at[dim] >= pieces[i].at[dim] + pieces[i].part.shape()[dim]) break;
      if (overlap(pieces[i], pieces[j]))
        fail(ErrorCode::out_of_range, name,
             fmt::format("expected parts that do not overlap, those at {} and {} do", to_string(pieces[i].at),
                         to_string(pieces[j].at)));
    }
  }
}

// Throws unless the parts cover `shape`, each element once.
void require_tiling(const std::string& name, const Shape& shape, std::vector<Piece>& pieces) {
  std::uint64_t elements = 0;
  for (const Piece& piece : pieces) {
    require_placed(name, shape, piece);
    elements = core::add_or_throw(elements, piece.part.element_count(), "the number of elements in all parts");
  }
  // The rest only finds the words for the failure.
  if (tile_exactly(shape, pieces)) return;
  name_overlap(name, shape, pieces);
  if (elements != shape.element_count())
    fail(ErrorCode::out_of_range, name,
         fmt::format("expected parts of {} elements together, found {}", shape.element_count(), elements));
  fail(ErrorCode::out_of_range, name, "expected parts that cover each element once");
}

}  // namespace

std::vector<Piece> slice_pieces(std::span<const Piece> pieces, std::size_t dim, std::int64_t begin, std::int64_t end) {
  std::vector<Piece> cut;
  for (const Piece& piece : pieces) {
    // The part of the piece inside [begin, end), in the coordinates of the old whole.
    const std::int64_t from = std::max(begin, piece.at[dim]);
    const std::int64_t to = std::min(end, piece.at[dim] + piece.part.shape()[dim]);
    if (from >= to) continue;
    Piece kept{piece.part.slice(dim, from - piece.at[dim], to - piece.at[dim]), piece.at};
    kept.at[dim] = from - begin;
    cut.push_back(std::move(kept));
  }
  return cut;
}

std::vector<Piece> transpose_pieces(std::span<const Piece> pieces, std::size_t a, std::size_t b) {
  std::vector<Piece> turned;
  turned.reserve(pieces.size());
  for (const Piece& piece : pieces) {
    turned.push_back({piece.part.transpose(a, b), piece.at});
    std::swap(turned.back().at[a], turned.back().at[b]);
  }
  return turned;
}

bool pieces_share_storage(std::span<const Piece> a, std::span<const Piece> b) noexcept {
  return std::equal(a.begin(), a.end(), b.begin(), b.end(),
                    [](const Piece& x, const Piece& y) { return x.part.shares_storage_with(y.part); });
}

void read_from_pieces(std::span<const Piece> pieces, std::span<const std::int64_t> index,
                      const std::function<void(const TensorView&, std::span<const std::int64_t>)>& read) {
  for (const Piece& piece : pieces) {
    Dims inside(index);
    bool holds = true;
    for (std::size_t dim = 0; dim < index.size(); ++dim) {
      inside[dim] -= piece.at[dim];
      holds = holds && inside[dim] >= 0 && inside[dim] < piece.part.shape()[dim];
    }
    if (holds) return read(piece.part, inside.span());
  }
}

}  // namespace record

TensorView ViewAccess::make_pieces(const TensorView& like, Shape shape, std::vector<Piece> pieces) {
  TensorView view = like;
  // A slice that lies in one piece is an ordinary view: contiguous ones can be borrowed without a copy.
  if (pieces.size() == 1 && pieces.front().part.shape() == shape) {
    view = std::move(pieces.front().part);
    view.wanted_ = like.wanted_;
    set_name(view, like.name_, like.name_owner_ ? like.name_owner_ : std::shared_ptr<const void>(like.pieces_));
    return view;
  }
  view.size_ = 0;
  for (const Piece& piece : pieces) view.size_ += piece.part.storage_bytes();
  // Strides of a view of pieces describe the layout that it will have in memory.
  view.strides_ = Strides::contiguous(shape);
  view.shape_ = std::move(shape);
  // The owner of the name keeps it: for a whole made at open, that is its first list of pieces.
  if (!view.name_owner_) view.name_owner_ = like.pieces_;
  const bool none = pieces.empty();
  view.pieces_ = none ? nullptr : std::make_shared<const std::vector<Piece>>(std::move(pieces));
  return view;
}

TensorView TensorView::over_pieces(std::string name, Shape shape, std::vector<Piece> pieces) {
  // Taken before flattened() drops parts without elements: they still have the dtype.
  const TensorView sample = pieces.empty() ? TensorView() : pieces.front().part;
  pieces = record::flattened(std::move(pieces));
  if (!pieces.empty()) record::require_alike(name, pieces);
  record::require_tiling(name, shape, pieces);
  TensorView like;
  like.dtype_ = sample.dtype();
  like.flags_ = sample.flags_;
  // A single part of the same shape gets the new name too.
  return ViewAccess::make_pieces(like, std::move(shape), std::move(pieces)).renamed(std::move(name));
}

}  // namespace heft
