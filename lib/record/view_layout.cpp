// record/view_layout.cpp: views of views, by arithmetic on shape, strides and the offset of element 0. Copies no bytes.
#include <algorithm>
#include <utility>

#include <fmt/format.h>

#include "core/text.hpp"
#include "heft/error.hpp"
#include "heft/tensor_view.hpp"
#include "record/pieces.hpp"
#include "record/view_access.hpp"

namespace heft {
namespace {

using record::fail;

// Throws Error{out_of_range} unless the view has the dim.
void require_dim(const TensorView& view, std::size_t dim) {
  if (dim >= view.rank())
    fail(view, ErrorCode::out_of_range,
         fmt::format("expected a dim below {}, found {} for shape {}", view.rank(), dim, to_string(view.shape())));
}

std::int64_t block_of(const TensorView& view) noexcept { return info(view.dtype()).block_elements; }

bool is_empty(const Shape& shape) noexcept { return std::find(shape.begin(), shape.end(), 0) != shape.end(); }

// Throws Error{misaligned} if the slice would cut a block. Blocks run along the last dim; slices of other dims contain
// whole ones.
void require_whole_blocks_of_dim(const TensorView& view, std::size_t dim, std::int64_t begin, std::int64_t end) {
  const std::int64_t block = block_of(view);
  if (block == 1 || dim + 1 != view.rank() || (begin % block == 0 && end % block == 0)) return;
  fail(view, ErrorCode::misaligned,
       fmt::format("expected a slice of whole blocks of {} elements ({}), found {} to {}", block,
                   core::escaped(view.dtype_name()), begin, end));
}

// Returns true if element 0 starts a block and the view, or each of its innermost runs, is contiguous whole blocks.
bool has_whole_blocks(const TensorView& view) {
  const std::int64_t block = block_of(view);
  if (block == 1 || is_empty(view.shape())) return true;
  // Offsets in bytes are computed from elements in whole blocks.
  if (ViewAccess::first(view) % static_cast<std::uint64_t>(block) != 0) return false;
  if (view.is_contiguous()) return view.element_count() % static_cast<std::uint64_t>(block) == 0;
  const std::size_t last = view.rank() - 1;
  if (view.shape()[last] % block != 0 || view.strides()[last] != 1) return false;
  return std::all_of(view.strides().begin(), view.strides().begin() + last,
                     [&](std::int64_t stride) { return stride % block == 0; });
}

// Computes strides with which shape `to` has the elements of `from` in the same order; returns false if there are none.
// Dims of `from` that are packed in each other form chunks; each chunk is matched with dims of `to` of the same
// product.
bool strides_for(const Shape& from, const Strides& steps, const Shape& to, Strides& result) {
  result = Strides(to.rank(), 0);
  std::size_t next = to.rank();
  std::int64_t chunk = 1;
  // `base` is the stride of the chunk's innermost dim, `chunk` its number of elements so far.
  std::int64_t base = from.rank() == 0 ? 1 : steps[from.rank() - 1];
  for (std::size_t dim = from.rank(); dim-- > 0;) {
    chunk *= from[dim];
    // A dim of 1 joins any chunk: its stride is never used.
    const bool joins = dim > 0 && (from[dim - 1] == 1 || steps[dim - 1] == chunk * base);
    if (joins) continue;
    // Takes dims of `to` from the innermost on until they have the chunk's elements. More elements would cross into
    // another chunk, where the stride changes.
    std::int64_t covered = 1;
    while (next > 0 && (covered < chunk || to[next - 1] == 1)) {
      // One step of this dim passes over the dims inside it, `covered` elements of the chunk.
      result[next - 1] = covered * base;
      covered *= to[--next];
    }
    if (covered != chunk) return false;
    if (dim > 0) {
      chunk = 1;
      base = steps[dim - 1];
    }
  }
  // Outer dims of 1 in front of the last chunk.
  while (next > 0 && to[next - 1] == 1) result[--next] = 1;
  return next == 0;
}

}  // namespace

TensorView TensorView::slice(std::size_t dim, std::int64_t start, std::int64_t end) const {
  require_dim(*this, dim);
  if (start < 0 || start > end || end > shape_[dim])
    fail(*this, ErrorCode::out_of_range,
         fmt::format("expected a range inside dim {} of shape {}, found {} to {}", dim, to_string(shape_), start, end));
  // Also right for dtypes that cannot be sliced.
  if (start == 0 && end == shape_[dim]) return *this;
  if (dtype_ == DType::unknown)
    fail(*this, ErrorCode::type_mismatch,
         fmt::format("cannot slice: the size of an element of {} is not known", core::escaped(dtype_name())));
  // For views of pieces too, which have no strides to check below.
  require_whole_blocks_of_dim(*this, dim, start, end);
  Shape shape = shape_;
  shape[dim] = end - start;
  if (pieces_) return ViewAccess::make_pieces(*this, std::move(shape), record::slice_pieces(*pieces_, dim, start, end));
  TensorView view = *this;
  view.shape_ = std::move(shape);
  // An empty view has no element 0: its offset stays inside the storage.
  if (start < end) view.first_ += static_cast<std::uint64_t>(start * strides_[dim]);
  if (!has_whole_blocks(view))
    fail(*this, ErrorCode::misaligned,
         fmt::format("elements {} to {} of dim {} do not lie in whole blocks of {} ({})", start, end, dim,
                     block_of(*this), core::escaped(dtype_name())));
  return view;
}

TensorView TensorView::shard(std::size_t dim, std::int64_t tp_rank, std::int64_t tp_size, Uneven uneven) const {
  require_dim(*this, dim);
  if (tp_size < 1 || tp_rank < 0 || tp_rank >= tp_size)
    fail(*this, ErrorCode::out_of_range,
         fmt::format("expected a rank below the number of ranks, found rank {} of {}", tp_rank, tp_size));
  const std::int64_t whole = shape_[dim];
  if (whole % tp_size != 0 && uneven == Uneven::refuse)
    fail(*this, ErrorCode::out_of_range,
         fmt::format("dim {} of shape {} does not divide by {} ranks", dim, to_string(shape_), tp_size));
  // Rounded up, as torch.chunk() divides: the last ranks get less, or nothing.
  const std::int64_t part = whole / tp_size + (whole % tp_size != 0 ? 1 : 0);
  // tp_rank * part can exceed the dim, and 63 bits, so compare by division.
  const bool past = part == 0 || tp_rank > whole / part;
  const std::int64_t begin = past ? whole : tp_rank * part;
  return slice(dim, begin, std::min(whole - begin, part) + begin);
}

TensorView TensorView::transpose(std::size_t a, std::size_t b) const {
  require_dim(*this, a);
  require_dim(*this, b);
  if (a == b) return *this;
  // Elements of a block share a scale and have no bytes of their own, so the last dim stays last.
  if (dtype_ == DType::unknown || (block_of(*this) > 1 && std::max(a, b) + 1 == rank()))
    fail(*this, ErrorCode::type_mismatch,
         fmt::format("cannot exchange dims {} and {}: elements of {} do not stand alone", a, b,
                     core::escaped(dtype_name())));
  Shape shape = shape_;
  std::swap(shape[a], shape[b]);
  if (pieces_) return ViewAccess::make_pieces(*this, std::move(shape), record::transpose_pieces(*pieces_, a, b));
  TensorView view = *this;
  view.shape_ = std::move(shape);
  std::swap(view.strides_[a], view.strides_[b]);
  if (!has_whole_blocks(view))
    fail(*this, ErrorCode::type_mismatch,
         fmt::format("cannot exchange dims {} and {}: rows are not whole blocks of {}", a, b,
                     core::escaped(dtype_name())));
  return view;
}

TensorView TensorView::reshape(Shape shape) const {
  if (shape == shape_) return *this;
  // Also refuses negative dims, and products over 63 bits.
  if (shape.element_count() != element_count())
    fail(*this, ErrorCode::out_of_range,
         fmt::format("cannot reshape {} to {}: the element counts differ", to_string(shape_), to_string(shape)));
  if (pieces_)
    fail(*this, ErrorCode::type_mismatch, "cannot reshape a tensor that lies in pieces: materialize() first");
  TensorView view = *this;
  if (is_contiguous())
    view.strides_ = Strides::contiguous(shape);
  else if (!strides_for(shape_, strides_, shape, view.strides_))
    fail(*this, ErrorCode::type_mismatch,
         fmt::format("strides cannot reshape {} (strides {}) to {}: materialize() first", to_string(shape_),
                     to_string(strides_), to_string(shape)));
  view.shape_ = std::move(shape);
  // Called for its check that rows of the new shape are whole blocks.
  if (block_of(*this) > 1) static_cast<void>(bytes_for(dtype_, view.shape_));
  if (!has_whole_blocks(view))
    fail(
        *this, ErrorCode::misaligned,
        fmt::format("rows of {} would not be whole blocks of {}", to_string(view.shape_), core::escaped(dtype_name())));
  return view;
}

}  // namespace heft
