#include "materialize/transfer.hpp"

#include <algorithm>
#include <cstdlib>
#include <utility>

#include <fmt/format.h>

#include "core/checked.hpp"
#include "heft/error.hpp"
#include "record/view_access.hpp"

namespace heft::engine {
namespace {

Error refusal(ErrorCode code, const TensorView& view, std::string message) {
  return Error(code, std::move(message), {.path = std::string(view.shard_path()), .tensor = std::string(view.name())});
}

// Plans name few sources and conversions, and neighbours name the same: the last one found is looked at first.
template <class Item, class Same>
std::uint32_t index_of(std::vector<Item>& items, const Same& same, Item item) {
  // Linear: a plan has as many conversions as pairs of dtypes.
  const auto found = std::find_if(items.rbegin(), items.rend(), same);
  if (found != items.rend()) return static_cast<std::uint32_t>(items.rend() - found - 1);
  items.push_back(std::move(item));
  return static_cast<std::uint32_t>(items.size() - 1);
}

Conversion conversion_of(const TensorView& view, DType to_type) {
  try {
    return Conversion::find(
        view.dtype(), to_type,
        {.swapped = view.is_swapped(), .conjugated = view.is_conjugated(), .negated = view.is_negated()});
  } catch (const Error& error) {
    throw error.with_path(view.shard_path()).with_tensor(view.name());
  }
}

// One axis over the packed units of the whole view.
Axis flat_axis(const TensorView& view, const Conversion& conversion) {
  const std::uint64_t units = view.size_bytes() / conversion.from_bytes();
  return {.count = static_cast<std::int64_t>(units),
          .from_step = conversion.from_bytes(),
          .to_step = conversion.to_bytes()};
}

bool is_packed(const Shape& shape, std::span<const std::int64_t> strides) {
  const Strides packed = Strides::contiguous(shape);
  for (std::size_t dim = 0; dim < shape.rank(); ++dim)
    if (shape[dim] != 1 && packed[dim] != strides[dim]) return false;
  return true;
}

// An axis for each dim, in units: blocks lie along the last dim, and are not cut.
std::vector<Axis> axes_by_dim(const TensorView& view, const Conversion& conversion, const ElementLayout& layout) {
  const std::int64_t unit = conversion.unit_elements();
  const std::int64_t to_unit = conversion.from() == conversion.to() ? unit : 1;
  // Bytes of one unit of the destination: of a block that stays one, of an element of a block that is decoded.
  const std::int64_t to_bytes = conversion.to_bytes() / (unit / to_unit);
  std::vector<Axis> axes;
  const auto require_whole = [&](bool whole) {
    if (!whole)
      throw refusal(ErrorCode::unsupported, view,
                    fmt::format("expected whole blocks of {} along the last dim", name(view.dtype())));
  };
  // A block holds neighbours of the last dim: it can only be moved whole, where those are neighbours on both sides.
  require_whole(unit == 1 || (view.rank() > 0 && view.strides()[view.rank() - 1] == 1 && layout.strides.back() == 1));
  require_whole(layout.first % to_unit == 0);
  for (std::size_t dim = 0; dim < view.rank(); ++dim) {
    // Steps of the other dims are whole blocks too, or a row would start inside one.
    const bool along_blocks = unit > 1 && dim + 1 == view.rank();
    require_whole(!along_blocks || view.shape()[dim] % unit == 0);
    require_whole(along_blocks || (view.strides()[dim] % unit == 0 && layout.strides[dim] % to_unit == 0));
    axes.push_back(
        {.count = along_blocks ? view.shape()[dim] / unit : view.shape()[dim],
         .from_step = along_blocks ? conversion.from_bytes() : view.strides()[dim] / unit * conversion.from_bytes(),
         .to_step = along_blocks ? conversion.to_bytes() : layout.strides[dim] / to_unit * to_bytes});
  }
  return axes;
}

// Puts axes into the order of the source's bytes: steps of the source go down and are not negative, and axes that run
// on into each other on both sides are one.
void normalize(std::vector<Axis>& axes, Transfer& transfer) {
  // Along an axis of one step nothing is stepped over.
  std::erase_if(axes, [](const Axis& axis) { return axis.count == 1; });
  for (Axis& axis : axes) {
    if (axis.from_step >= 0) continue;
    // Starts at the other end, so that the source is read upwards; the destination runs downwards instead.
    transfer.from -= static_cast<std::uint64_t>((axis.count - 1) * -axis.from_step);
    transfer.to += (axis.count - 1) * axis.to_step;
    axis.from_step = -axis.from_step;
    axis.to_step = -axis.to_step;
  }
  // Stable: axes of one step, such as 0 for repeated bytes, stay in the order of the dims.
  std::stable_sort(axes.begin(), axes.end(), [](const Axis& a, const Axis& b) { return a.from_step > b.from_step; });
  std::size_t kept = 0;
  for (std::size_t i = 0; i < axes.size(); ++i) {
    // The outer axis continues where the inner one ends, in the source and in the destination: they are one, with
    // longer runs.
    Axis* const outer = kept == 0 ? nullptr : &axes[kept - 1];
    const Axis& inner = axes[i];
    if (outer != nullptr && outer->from_step == inner.from_step * inner.count &&
        outer->to_step == inner.to_step * inner.count)
      *outer = {.count = outer->count * inner.count, .from_step = inner.from_step, .to_step = inner.to_step};
    else
      axes[kept++] = inner;
  }
  axes.resize(kept);
}

// Bytes from the first unit's begin to the last one's end; checked, for a view may come from anywhere.
std::uint64_t span_of(std::span<const Axis> axes, const Conversion& conversion) {
  std::uint64_t span = conversion.from_bytes();
  for (const Axis& axis : axes)
    span = core::add_or_throw(span,
                              core::mul_or_throw(static_cast<std::uint64_t>(axis.count - 1),
                                                 static_cast<std::uint64_t>(axis.from_step), "bytes of a view"),
                              "bytes of a view");
  return span;
}

// True when some rows of the source become columns: neighbours in it lie farther apart than those of another axis do.
bool transposes_rows(std::span<const Axis> axes) noexcept {
  const std::int64_t last = std::abs(axes.back().to_step);
  return std::any_of(axes.begin(), axes.end() - 1,
                     [&](const Axis& axis) { return axis.to_step != 0 && std::abs(axis.to_step) < last; });
}

// Adds the transfer, whose axes these are, once it is known to lie in its source.
void put(Transfers& transfers, Transfer transfer, const TensorView& view, std::span<const Axis> axes,
         const Conversion& conversion) {
  // Compared with the source once, before anything is compiled: chunking and copying rely on it.
  const auto& source = ViewAccess::source(view);
  if (!source || !core::inside(transfer.from, span_of(axes, conversion), source->size_bytes()))
    throw refusal(ErrorCode::corrupt, view,
                  fmt::format("expected a view inside its {} bytes of storage", source ? source->size_bytes() : 0));
  transfer.contiguous = axes.size() == 1 && conversion.is_copy() && axes[0].from_step == conversion.from_bytes() &&
                        axes[0].to_step == conversion.to_bytes();
  transfer.transposed = !transfer.contiguous && transposes_rows(axes);
  transfer.source = transfers.index_of(source);
  transfer.conversion =
      index_of(transfers.conversions, [&](const Conversion& other) { return other == conversion; }, conversion);
  transfer.axes = static_cast<std::uint32_t>(transfers.axes.size());
  transfer.rank = static_cast<std::uint32_t>(axes.size());
  transfers.axes.insert(transfers.axes.end(), axes.begin(), axes.end());
  transfers.transfers.push_back(transfer);
}

void add_stored(Transfers& transfers, EntryIndex entry, const TensorView& view, DType to_type,
                const ElementLayout& layout) {
  const Conversion conversion = conversion_of(view, to_type);
  // The layout counts elements. A destination of blocks is stepped by whole blocks.
  const std::int64_t to_unit = conversion.from() == conversion.to() ? conversion.unit_elements() : 1;
  Transfer transfer;
  transfer.entry = entry;
  transfer.from = ViewAccess::first_byte(view);
  transfer.to = layout.first / to_unit * static_cast<std::int64_t>(info(to_type).block_bytes);
  // Most tensors by far are of this kind: no list of axes is made for them.
  if (view.is_contiguous() && (is_packed(view.shape(), layout.strides) || view.dtype() == DType::unknown)) {
    const Axis axis = flat_axis(view, conversion);
    return put(transfers, transfer, view, {&axis, 1}, conversion);
  }
  std::vector<Axis> axes = axes_by_dim(view, conversion, layout);
  normalize(axes, transfer);
  if (axes.empty())
    // A tensor of one unit has lost all its axes: parts need one to count along.
    axes.push_back({.count = 1, .from_step = conversion.from_bytes(), .to_step = conversion.to_bytes()});
  if (axes.size() > max_axes)
    throw refusal(ErrorCode::unsupported, view,
                  fmt::format("expected at most {} dims with strides of their own, found {}", max_axes, axes.size()));
  put(transfers, transfer, view, axes, conversion);
}

}  // namespace

SourceIndex Transfers::index_of(const std::shared_ptr<const record::Source>& source) {
  const auto next = static_cast<SourceIndex>(sources.size());
  // Views of one file follow each other in a plan: most calls end here.
  if (!sources.empty() && sources.back() == source) return static_cast<SourceIndex>(sources.size() - 1);
  const auto [at, is_new] = source_indices.try_emplace(source.get(), next);
  if (is_new) sources.push_back(source);
  return at->second;
}

void Transfers::add(EntryIndex entry, const TensorView& view, DType to_type, const ElementLayout& layout) {
  if (!view.has_data())
    throw refusal(ErrorCode::unsupported, view, "expected bytes to load, this is a meta tensor and has none");
  // Items of no bytes are legal in NumPy: of a type that heft has no row for, elements need not mean bytes.
  if (view.size_bytes() == 0) {
    (void)conversion_of(view, to_type);
    return;
  }
  if (view.pieces().empty()) return add_stored(*this, entry, view, to_type, layout);
  for (const heft::Piece& piece : view.pieces()) {
    // A piece is laid out with the strides of the whole, from its own first element.
    ElementLayout inside = layout;
    for (std::size_t dim = 0; dim < view.rank(); ++dim) inside.first += piece.at[dim] * layout.strides[dim];
    add(entry, piece.part, to_type, inside);
  }
}

std::span<const Transfer> Transfers::of(EntryIndex entry) const noexcept {
  // Transfers are added entry by entry, so they are sorted.
  const auto range = std::equal_range(transfers.begin(), transfers.end(), Transfer{.entry = entry},
                                      [](const Transfer& a, const Transfer& b) { return a.entry < b.entry; });
  return {range.first, range.second};
}

}  // namespace heft::engine
