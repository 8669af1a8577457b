// record/concat.cpp: views of several tensors as one, by arithmetic on the places of their elements. Copies no bytes.
#include <algorithm>
#include <utility>

#include <fmt/format.h>

#include "core/text.hpp"
#include "heft/error.hpp"
#include "heft/tensor_view.hpp"
#include "record/view_access.hpp"

namespace heft {
namespace {

using record::fail;

std::string quoted(const TensorView& view) { return fmt::format("'{}'", core::escaped(view.name())); }

// Throws unless the views have one dtype, and one dtype to be loaded as. over_pieces() compares the rest.
void require_one_dtype(const std::string& name, std::span<const TensorView> views) {
  if (views.empty()) fail(ErrorCode::out_of_range, name, "expected at least one view, found none");
  const TensorView& first = views.front();
  for (const TensorView& view : views) {
    // Names are compared, because all dtypes that heft does not have are DType::unknown.
    if (view.dtype_name() != first.dtype_name())
      fail(ErrorCode::type_mismatch, name,
           fmt::format("expected one dtype, found {} ({}) and {} ({})", core::escaped(first.dtype_name()),
                       quoted(first), core::escaped(view.dtype_name()), quoted(view)));
    if (view.wanted_dtype() != first.wanted_dtype())
      fail(ErrorCode::type_mismatch, name,
           fmt::format("expected views to be loaded as one dtype, found {} ({}) and {} ({})",
                       heft::name(first.wanted_dtype()), quoted(first), heft::name(view.wanted_dtype()), quoted(view)));
  }
}

// Throws unless all views have the first one's shape, in dims other than `except`.
void require_shapes(const std::string& name, std::span<const TensorView> views, std::size_t except) {
  const Shape& first = views.front().shape();
  for (const TensorView& view : views) {
    bool fits = view.rank() == first.rank();
    for (std::size_t dim = 0; fits && dim < first.rank(); ++dim)
      fits = dim == except || view.shape()[dim] == first[dim];
    if (!fits)
      fail(ErrorCode::out_of_range, name,
           fmt::format("expected shapes that fit {}, found {} ({})", to_string(first), to_string(view.shape()),
                       quoted(view)));
  }
}

// Returns the dims with one of `value` before dim `at`.
std::vector<std::int64_t> inserted(std::span<const std::int64_t> dims, std::size_t at, std::int64_t value) {
  std::vector<std::int64_t> result(dims.begin(), dims.end());
  result.insert(result.begin() + static_cast<std::ptrdiff_t>(at), value);
  return result;
}

// Returns the view with a new dim of 1 before dim `at`.
TensorView with_dim(const TensorView& view, std::size_t at) {
  const Shape shape(std::span<const std::int64_t>(inserted(view.shape().span(), at, 1)));
  std::vector<Piece> pieces(view.pieces().begin(), view.pieces().end());
  for (Piece& piece : pieces) {
    piece.part = with_dim(piece.part, at);
    piece.at = Dims(std::span<const std::int64_t>(inserted(piece.at.span(), at, 0)));
  }
  // The strides of a view of pieces are not used; those of its parts were extended above.
  if (!pieces.empty()) return ViewAccess::make_pieces(view, shape, std::move(pieces));
  // Any stride is right for a dim of 1, also one that wraps; this one keeps the strides of a packed tensor in order.
  const std::uint64_t stride =
      at == view.rank() ? 1
                        : static_cast<std::uint64_t>(view.shape()[at]) * static_cast<std::uint64_t>(view.strides()[at]);
  return ViewAccess::with_layout(
      view, shape,
      Strides(std::span<const std::int64_t>(inserted(view.strides().span(), at, static_cast<std::int64_t>(stride)))));
}

// Joins views that differ in `dim` only.
TensorView joined(std::string name, std::vector<TensorView> views, std::size_t dim) {
  const DType wanted = views.front().wanted_dtype();
  Shape shape = views.front().shape();
  // Grows by each view, so that it is the place of the next one.
  shape[dim] = 0;
  std::vector<Piece> pieces;
  for (TensorView& view : views) {
    const std::int64_t size = view.shape()[dim];
    if (size > INT64_MAX - shape[dim])  // dims of empty tensors are not bounded by bytes
      fail(ErrorCode::out_of_range, name,
           fmt::format("expected dims whose sum is below 2^63, found {} and {}", shape[dim], size));
    Dims at(shape.rank(), 0);
    at[dim] = std::exchange(shape[dim], shape[dim] + size);
    pieces.push_back({std::move(view), std::move(at)});
  }
  // The whole has the stored dtype; the dtype to be loaded as is the same for all views and is set again.
  const TensorView whole = TensorView::over_pieces(std::move(name), std::move(shape), std::move(pieces));
  return wanted == whole.dtype() ? whole : whole.cast_on_load(wanted);
}

}  // namespace

TensorView concat(std::string name, std::span<const TensorView> views, std::size_t dim) {
  // Also requires a first view, which the lines below use.
  require_one_dtype(name, views);
  if (dim >= views.front().rank())
    fail(ErrorCode::out_of_range, name,
         fmt::format("expected a dim of {}, found dim {}", to_string(views.front().shape()), dim));
  require_shapes(name, views, dim);
  return joined(std::move(name), {views.begin(), views.end()}, dim);
}

TensorView stack(std::string name, std::span<const TensorView> views, std::size_t dim) {
  require_one_dtype(name, views);
  if (dim > views.front().rank())
    fail(ErrorCode::out_of_range, name,
         fmt::format("expected a new dim in {}, found dim {}", to_string(views.front().shape()), dim));
  // The rank is no dim, so none is excepted: rows must have equal shapes.
  require_shapes(name, views, views.front().rank());
  std::vector<TensorView> rows;
  for (const TensorView& view : views) rows.push_back(with_dim(view, dim));
  return joined(std::move(name), std::move(rows), dim);
}

}  // namespace heft
