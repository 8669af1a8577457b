// record/view_access.hpp: makes TensorViews for this room, and gives the rooms above access to their private members.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <utility>

#include "heft/error.hpp"
#include "heft/tensor_view.hpp"
#include "record/source.hpp"

namespace heft::record {

/// Returns the bytes of `elements`, which must be whole blocks of `dtype` inside a checked storage, so that the product
/// does not overflow.
[[nodiscard]] inline std::uint64_t packed_bytes(DType dtype, std::uint64_t elements) noexcept {
  const DTypeInfo& type = info(dtype);
  return elements / type.block_elements * type.block_bytes;
}

/// Throws an Error with the file and the name of a view.
[[noreturn]] inline void fail(const TensorView& view, ErrorCode code, std::string message) {
  throw Error(code, std::move(message), {.path = std::string(view.shard_path()), .tensor = std::string(view.name())});
}

/// Throws an Error about a tensor that is made of several views, and so of no file.
[[noreturn]] inline void fail(ErrorCode code, const std::string& name, std::string message) {
  throw Error(code, std::move(message), {.tensor = name});
}

}  // namespace heft::record

namespace heft {

/// Access to TensorView's private members. Borrowed results are valid while the view lives.
struct ViewAccess {
  /// Returns the storage's source; null for an empty view and for a view of pieces.
  static const std::shared_ptr<const record::Source>& source(const TensorView& view) noexcept { return view.source_; }
  /// Return the storage's byte offset in the source, and its bytes.
  static std::uint64_t begin(const TensorView& view) noexcept { return view.begin_; }
  static std::uint64_t size(const TensorView& view) noexcept { return view.size_; }
  /// Returns the number of elements between the start of the storage and element 0.
  static std::uint64_t first(const TensorView& view) noexcept { return view.first_; }
  /// Returns the byte offset of element 0 in the source.
  static std::uint64_t first_byte(const TensorView& view) noexcept {
    return view.begin_ + record::packed_bytes(view.dtype_, view.first_);
  }
  /// Returns the format::TensorFlag bits except for `strided`.
  static std::uint8_t flags(const TensorView& view) noexcept { return view.flags_; }
  static std::span<const Piece> pieces(const TensorView& view) noexcept {
    return view.pieces_ ? std::span<const Piece>(*view.pieces_) : std::span<const Piece>();
  }

  /// The properties of a stored tensor.
  struct Parts {
    std::shared_ptr<const record::Source> source;
    std::string_view name;       ///< Lives as long as `source`, or as the owner given to set_name().
    std::string_view type_name;  ///< The same.
    std::uint64_t begin = 0;
    std::uint64_t size = 0;
    std::uint64_t first = 0;
    std::span<const std::int64_t> sizes;
    std::span<const std::int64_t> strides;  ///< Empty: packed row-major.
    DType dtype = DType::unknown;
    std::uint8_t flags = 0;
  };
  /// Makes a view of a storage. Requires that it lies inside the source, which formats check at open.
  static TensorView make(Parts parts);
  /// Makes a view of pieces. Requires that they tile `shape`. A single piece of the whole shape becomes a view of that
  /// piece.
  static TensorView make_pieces(const TensorView& like, Shape shape, std::vector<Piece> pieces);
  /// Makes a view of the same storage with another layout. Requires that its elements are those of `view`.
  static TensorView with_layout(TensorView view, Shape shape, Strides strides) noexcept {
    view.shape_ = std::move(shape);
    view.strides_ = std::move(strides);
    return view;
  }
  static void set_name(TensorView& view, std::string_view name, std::shared_ptr<const void> owner) noexcept {
    view.name_ = name;
    view.name_owner_ = std::move(owner);
  }
};

}  // namespace heft
