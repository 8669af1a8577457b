// heft/tensor_view.hpp: a tensor at the place where it is stored: dtype, shape and strides over bytes that are not
// copied.
#pragma once

#include <concepts>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "heft/bytes.hpp"
#include "heft/element.hpp"
#include "heft/shape.hpp"
#include "heft/slice.hpp"

namespace heft {

namespace record {
class Source;
}

struct Piece;

/// The action of shard() when a dim does not divide by the number of ranks.
enum class Uneven : std::uint8_t {
  refuse,      ///< Error{out_of_range}: tensor parallelism expects equal parts.
  last_short,  ///< Blocks of ceil(dim / tp_size) elements; the last ranks get fewer elements, or none.
};

/// A view of a tensor of any dtype and any layout. It holds what it views (the mapping, the inflated record, the memory
/// of the caller), so that the Checkpoint that it came from may be destroyed first.
///
/// slice(), shard(), transpose() and reshape() make other views by arithmetic on shape and strides: no bytes move, and
/// nothing is allocated up to rank 6. A view may consist of pieces (a tensor that is stored in parts, in several
/// files): all members work on it except bytes() and as(), which need one run of memory; materialize() gathers the
/// pieces.
///
/// A value: a copy costs a reference count. Const members may be called from several threads. What the getters return
/// by reference, string_view or span is valid while this view (or a copy) lives; called on a temporary, the getters
/// return copies.
///
/// Example:
///   const heft::TensorView rows = view.slice(0, 0, 128).transpose(0, 1);   // no bytes move
///   const heft::TensorView mine = view.shard(0, 3, 8);                     // tensor parallel rank 3 of 8
///   const heft::Tensor packed = heft::materialize(rows, heft::DType::f32); // copies, packs and converts
class HEFT_API TensorView {
 public:
  /// An empty view: no name, DType::unknown, rank 0, no data.
  TensorView() noexcept;
  /// Returns a packed row-major view of the caller's memory; the view shares the owner of `bytes`. Throws
  /// Error{out_of_range} unless bytes.size_bytes() is bytes_for(dtype, shape), and what bytes_for() throws.
  ///
  /// Example:
  ///   const float values[] = {1, 2, 3, 4};
  ///   const heft::Bytes copy = heft::Bytes::copy_of(std::as_bytes(std::span(values)));
  ///   const heft::TensorView made = heft::TensorView::over("w", heft::DType::f32, {2, 2}, copy);
  static TensorView over(std::string name, DType dtype, Shape shape, Bytes bytes);
  /// Returns a tensor made of parts that together tile `shape`; Piece::at is the place of a part's element 0. All parts
  /// have one dtype. Throws Error{out_of_range} when parts overlap, leave a hole or do not fit; Error{type_mismatch}
  /// when dtypes differ.
  static TensorView over_pieces(std::string name, Shape shape, std::vector<Piece> pieces);

  /// Flat name in the checkpoint: "model.layers.0.mlp.up_proj.weight". Unescaped, as the file spells it.
  [[nodiscard]] std::string_view name() const& noexcept { return name_; }
  [[nodiscard]] std::string name() const&& { return std::string(name_); }
  /// Returns the same view under another name.
  [[nodiscard]] TensorView renamed(std::string name) const;

  /// Element type as stored. DType::unknown for a type that heft has no row for: see dtype_name().
  [[nodiscard]] DType dtype() const noexcept { return dtype_; }
  /// The dtype's name; for DType::unknown the file's word for it, unescaped.
  [[nodiscard]] std::string_view dtype_name() const& noexcept;
  [[nodiscard]] std::string dtype_name() const&& { return std::string(dtype_name()); }
  /// The dtype that loads and saves use unless they are given one: dtype(), or the dtype that cast_on_load() set. It
  /// does not affect bytes(), as() and read().
  [[nodiscard]] DType wanted_dtype() const noexcept { return wanted_ == DType::unknown ? dtype_ : wanted_; }
  /// Returns the same view, to be converted to `dtype` when it is loaded; nothing is converted now. DType::unknown
  /// resets it.
  [[nodiscard]] TensorView cast_on_load(DType dtype) const;
  /// Dims, outermost first, in elements. Rank 0 is a scalar.
  [[nodiscard]] const Shape& shape() const& noexcept { return shape_; }
  [[nodiscard]] Shape shape() const&& { return shape_; }
  /// Steps in elements; without meaning for views of pieces.
  [[nodiscard]] const Strides& strides() const& noexcept { return strides_; }
  [[nodiscard]] Strides strides() const&& { return strides_; }
  /// Number of dims.
  [[nodiscard]] std::size_t rank() const noexcept { return shape_.rank(); }
  /// Product of the dims.
  [[nodiscard]] std::uint64_t element_count() const;
  /// Bytes of the tensor when it is packed row-major in its own dtype, which can differ from the bytes of the storage
  /// that it views. For DType::unknown: the bytes stored.
  [[nodiscard]] std::uint64_t size_bytes() const;

  /// True when elements lie packed in row-major order (dims of size 1 do not matter). False for views of pieces.
  [[nodiscard]] bool is_contiguous() const noexcept;
  /// True when the payload is in the other byte order than the host's: as() refuses, materialize() swaps.
  [[nodiscard]] bool is_swapped() const noexcept { return (flags_ & swapped) != 0; }
  /// PyTorch's lazy bits: the value is the conjugate, or the negative, of the bytes. as() refuses, materialize()
  /// applies them.
  [[nodiscard]] bool is_conjugated() const noexcept { return (flags_ & conjugated) != 0; }
  [[nodiscard]] bool is_negated() const noexcept { return (flags_ & negated) != 0; }
  /// True when the file stores the elements as a list of numbers, one by one: bytes() and as() refuse, materialize()
  /// gathers and converts.
  [[nodiscard]] bool is_spelled() const noexcept { return (flags_ & spelled) != 0; }
  /// False for a meta tensor, which has a shape but no bytes.
  [[nodiscard]] bool has_data() const noexcept { return (flags_ & no_data) == 0; }
  /// Parts of a tensor that is stored in pieces; empty for all others.
  [[nodiscard]] std::span<const Piece> pieces() const& noexcept;
  [[nodiscard]] std::vector<Piece> pieces() const&&;

  /// Path of the file that contains the first byte; empty for memory.
  [[nodiscard]] std::string_view shard_path() const& noexcept;
  [[nodiscard]] std::string shard_path() const&& { return std::string(shard_path()); }
  /// Byte offset of element 0 from the start of that file. For a compressed record: from the start of the inflated
  /// record; for spelled numbers: among the packed elements of all lists of the file.
  [[nodiscard]] std::uint64_t offset() const noexcept;
  /// Bytes of the whole storage that this tensor views. PyTorch saves a slice of a tensor with the storage of all of
  /// it.
  [[nodiscard]] std::uint64_t storage_bytes() const noexcept { return size_; }
  /// True when both views read the same storage: tied weights, slices of one tensor.
  [[nodiscard]] bool shares_storage_with(const TensorView& other) const noexcept;

  /// Returns elements [start, end) along `dim`. Throws Error{out_of_range} unless 0 <= start <= end <= the dim; for
  /// block types on the innermost dim also Error{misaligned} unless both are multiples of the block.
  [[nodiscard]] TensorView slice(std::size_t dim, std::int64_t start, std::int64_t end) const;
  /// Returns the part of rank `tp_rank` of `tp_size` along `dim`. Throws as slice(), and Error{out_of_range} for a dim
  /// that does not divide by `tp_size`, unless `uneven` allows it.
  [[nodiscard]] TensorView shard(std::size_t dim, std::int64_t tp_rank, std::int64_t tp_size,
                                 Uneven uneven = Uneven::refuse) const;
  /// Returns the view with dims a and b exchanged. Throws Error{out_of_range} for a dim that the view lacks,
  /// Error{type_mismatch} when the innermost dim of a block type would move.
  [[nodiscard]] TensorView transpose(std::size_t a, std::size_t b) const;
  /// Returns the same elements in row-major order under another shape. Throws Error{out_of_range} when the counts
  /// differ, Error{type_mismatch} when no strides describe the result (of a transposed view, of pieces): materialize()
  /// first.
  [[nodiscard]] TensorView reshape(Shape shape) const;

  /// Returns the packed bytes as stored. For a mapped file: a range of the mapping, nothing is copied. Under
  /// Access::read, or for a compressed record: read or inflated by this call, into memory that the result owns. Throws
  /// Error{type_mismatch} unless contiguous, in one piece and stored as bytes (not spelled); under Access::read also
  /// Error{io, changed_on_disk, out_of_memory}.
  [[nodiscard]] Bytes bytes() const;
  /// Returns the elements as T, strictly: throws Error{type_mismatch} unless the dtype is T's own and the tensor is
  /// contiguous, stored as bytes in host byte order, in one piece and without lazy bits; Error{misaligned} when the
  /// bytes do not lie on alignof(T); and what bytes() throws.
  template <Element T>
  [[nodiscard]] Slice<T> as() const {
    Bytes run = typed_bytes(dtype_of<T>, alignof(T));
    return Slice<T>(
        {reinterpret_cast<const T*>(run.span().data()), static_cast<std::size_t>(run.size_bytes() / sizeof(T))},
        run.owner());
  }
  /// Returns one element, at any alignment and in either byte order: view.read<float>(2, 5) is row 2, column 5. Takes
  /// one index for each dim. Throws Error{type_mismatch} unless the dtype is T's own, Error{out_of_range} for a wrong
  /// number of indices or one outside its dim.
  template <Element T, std::integral... Index>
  [[nodiscard]] T read(Index... index) const {
    T value;
    const std::int64_t at[sizeof...(Index) + 1] = {static_cast<std::int64_t>(index)..., 0};
    read_element(dtype_of<T>, {at, sizeof...(Index)}, &value);
    return value;
  }

 private:
  friend struct ViewAccess;  // lib/record/view_access.hpp: rooms above record read source, range and flags through it
  enum Flag : std::uint8_t { swapped = 2, conjugated = 4, negated = 8, no_data = 16, spelled = 32 };

  [[nodiscard]] Bytes typed_bytes(DType wanted, std::size_t alignment) const;
  void read_element(DType wanted, std::span<const std::int64_t> index, void* into) const;

  std::shared_ptr<const record::Source> source_;      // the file, inflated record or memory that holds the storage
  std::shared_ptr<const std::vector<Piece>> pieces_;  // set for a tensor in parts; then source_ is null
  std::shared_ptr<const void> name_owner_;            // set when the name is not the source's own
  std::string_view name_;
  std::string_view type_name_;  // the file's word for DType::unknown
  std::uint64_t begin_ = 0;     // storage: byte offset in the source ...
  std::uint64_t size_ = 0;      // ... and bytes
  std::uint64_t first_ = 0;     // elements from the start of the storage to element 0
  Shape shape_;
  Strides strides_;
  DType dtype_ = DType::unknown;
  DType wanted_ = DType::unknown;  // unknown: dtype_
  std::uint8_t flags_ = 0;
};

/// A part of a tensor that is stored in several pieces. A value.
struct Piece {
  TensorView part;  ///< The elements, as a tensor.
  Dims at;          ///< Index of the part's element 0 in the whole tensor; one number for each dim.
};

/// Returns one tensor that consists of `views`, one after the other along `dim`: fused q/k/v, gate and up. A view of
/// pieces: no bytes move, and the views can be pieces, slices and transposes themselves. All other dims must be equal,
/// and so must dtypes, byte order and wanted_dtype(). Throws Error{out_of_range} for an empty list, a dim that the
/// views lack, shapes that do not fit; Error{type_mismatch} for dtypes that differ.
///
/// Example:
///   const heft::TensorView parts[] = {view.slice(0, 0, 64), view.slice(0, 128, 192)};
///   plan.add(heft::concat("fused", parts, 0), heft::DType::f32);
///   plan.add(heft::concat("mine", parts, 0).shard(0, 3, 8));
[[nodiscard]] HEFT_API TensorView concat(std::string name, std::span<const TensorView> views, std::size_t dim);
/// Returns one tensor that consists of `views`, all of one shape, side by side in a new dim at `dim`: experts. Throws
/// as concat(), and Error{out_of_range} for a new dim inside of blocks.
[[nodiscard]] HEFT_API TensorView stack(std::string name, std::span<const TensorView> views, std::size_t dim);

}  // namespace heft
