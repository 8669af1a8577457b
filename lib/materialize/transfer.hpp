// materialize/transfer.hpp: the transfers of a plan: units of sources, their places in tensors, and their conversions.
// schedule.hpp cuts them.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <type_traits>
#include <unordered_map>
#include <vector>

#include "heft/tensor_view.hpp"
#include "kernels/conversion.hpp"
#include "record/source.hpp"

namespace heft::engine {

using kernels::Conversion;
using kernels::Store;

/// Indices into the tables of a plan and of its schedule: types of their own, so that none is used for another.
enum class SourceIndex : std::uint32_t {};
enum class EntryIndex : std::uint32_t {};
enum class TransferIndex : std::uint32_t {};

/// The position in its table that an index stands for.
template <class Index>
  requires std::is_enum_v<Index>
[[nodiscard]] constexpr std::uint32_t position(Index index) noexcept {
  return static_cast<std::uint32_t>(index);
}

/// One dim of a transfer: how many units, and how many bytes lie between neighbours on either side.
struct Axis {
  std::int64_t count = 1;
  std::int64_t from_step = 0;  ///< Never negative.
  std::int64_t to_step = 0;
};

/// Axes that a transfer can have at most, after dims that run on into each other have become one.
inline constexpr std::size_t max_axes = 32;

/// Units of one source on their way into one tensor.
struct Transfer {
  std::uint64_t from = 0;  ///< Byte offset in the source of the first unit.
  std::int64_t to = 0;     ///< Byte offset of it in the entry's memory.
  SourceIndex source = {};
  EntryIndex entry = {};         ///< Position in the plan.
  std::uint32_t conversion = 0;  ///< Position in Transfers::conversions.
  /// Position of the first axis in Transfers::axes. Steps of the source go down: the last axis is the one that runs
  /// through neighbouring bytes of the source. There is at least one.
  std::uint32_t axes = 0;
  std::uint32_t rank = 1;   ///< Number of axes.
  bool contiguous = false;  ///< One run of bytes that is one run in the destination, unchanged.
  bool transposed = false;  ///< Rows of the source become columns.
};

/// Where the elements of a view go in an entry's memory: element (i, j, ...) to `first` + i * strides[0] + j *
/// strides[1] + ..., in elements.
struct ElementLayout {
  std::int64_t first = 0;
  std::span<const std::int64_t> strides;
};

/// The transfers of a plan, in the order of their entries, and what they refer to.
struct Transfers {
  std::vector<std::shared_ptr<const record::Source>> sources;
  std::unordered_map<const record::Source*, SourceIndex> source_indices;
  std::vector<Conversion> conversions;  ///< Each once.
  std::vector<Axis> axes;
  std::vector<Transfer> transfers;

  /// The index of `source`, which is added when it is new.
  SourceIndex index_of(const std::shared_ptr<const record::Source>& source);
  /// Adds the transfers of `view`, which has data, into an entry's memory. Throws Error{unsupported} for a conversion
  /// that heft does not do, Error{corrupt} for a view that reaches past the end of its source.
  void add(EntryIndex entry, const TensorView& view, DType to_type, const ElementLayout& layout);

  /// The transfers of one entry.
  [[nodiscard]] std::span<const Transfer> of(EntryIndex entry) const noexcept;
  [[nodiscard]] std::span<const Axis> axes_of(const Transfer& transfer) const noexcept {
    return std::span(axes).subspan(transfer.axes, transfer.rank);
  }
};

}  // namespace heft::engine
