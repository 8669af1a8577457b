// heft/tensor_view.hpp: a tensor that is still where it was stored: dtype, shape and strides over bytes that nobody has copied.
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

/// What shard() does when a dim does not divide by the number of ranks.
enum class Uneven : std::uint8_t {
  refuse,      ///< Error{out_of_range}: what tensor parallelism expects.
  last_short,  ///< Blocks of ceil(dim / tp_size); the last ranks get fewer elements, or none.
};

/// A view of a tensor: any dtype, any layout. It holds what it views, so the Checkpoint it came from may die first.
///
/// slice, shard, transpose and reshape make other views by arithmetic on strides alone: no bytes move, nothing is allocated (up to rank 6).
/// A view may consist of pieces (a tensor stored in parts, in several files): everything works on it but bytes() and as(), which need one
/// run of memory; materialize() gathers.
///
/// A value. Const members may be called from several threads.
class HEFT_API TensorView {
 public:
  /// An empty view: no name, DType::unknown, rank 0, no data.
  TensorView() noexcept;
  /// A packed row-major view of the caller's memory; the view shares its owner. Throws Error{out_of_range} unless bytes.size_bytes() is
  /// bytes_for(dtype, shape).
  static TensorView over(std::string name, DType dtype, Shape shape, Bytes bytes);
  /// A tensor made of parts that together tile `shape`; each Piece says where its part's element 0 lies. All parts have one dtype.
  /// Throws Error{out_of_range} when they overlap, leave a hole or do not fit; Error{type_mismatch} when dtypes differ.
  static TensorView over_pieces(std::string name, Shape shape, std::vector<Piece> pieces);

  /// Flat name in the checkpoint. Borrowed: valid while this view (or a copy) lives.
  [[nodiscard]] std::string_view name() const& noexcept { return name_; }
  std::string_view name() const&& = delete;
  /// The same view under another name.
  [[nodiscard]] TensorView renamed(std::string name) const;

  [[nodiscard]] DType dtype() const noexcept { return dtype_; }
  /// The dtype's name; for DType::unknown the file's own word for it.
  [[nodiscard]] std::string_view dtype_name() const& noexcept;
  std::string_view dtype_name() const&& = delete;
  /// The dtype that loads and saves give the tensor when they are not told otherwise: dtype(), unless cast_on_load() said another. bytes(), as()
  /// and read() know nothing of it.
  [[nodiscard]] DType wanted_dtype() const noexcept { return wanted_ == DType::unknown ? dtype_ : wanted_; }
  /// The same view, to be converted to `dtype` when it is loaded; nothing is converted now. DType::unknown takes the wish back.
  [[nodiscard]] TensorView cast_on_load(DType dtype) const;
  /// Dims, outermost first, in elements. Rank 0 is a scalar.
  [[nodiscard]] const Shape& shape() const& noexcept { return shape_; }
  const Shape& shape() const&& = delete;
  /// Steps in elements; meaningless for views of pieces.
  [[nodiscard]] const Strides& strides() const& noexcept { return strides_; }
  const Strides& strides() const&& = delete;
  [[nodiscard]] std::size_t rank() const noexcept { return shape_.rank(); }
  /// Product of the dims.
  [[nodiscard]] std::uint64_t element_count() const;
  /// Bytes of the tensor packed row-major in its own dtype; not the bytes of the storage it views. For DType::unknown: the bytes stored.
  [[nodiscard]] std::uint64_t size_bytes() const;

  /// True when elements lie packed in row-major order (dims of size 1 do not matter).
  [[nodiscard]] bool is_contiguous() const noexcept;
  /// True when the payload is in the other byte order than the host's: as() refuses, materialize() swaps.
  [[nodiscard]] bool is_swapped() const noexcept { return (flags_ & swapped) != 0; }
  /// PyTorch's lazy bits: the value is the conjugate / the negative of the bytes. as() refuses, materialize() applies.
  [[nodiscard]] bool is_conjugated() const noexcept { return (flags_ & conjugated) != 0; }
  [[nodiscard]] bool is_negated() const noexcept { return (flags_ & negated) != 0; }
  /// True when the file spells the elements as numbers, one by one (value lists): bytes() and as() refuse, materialize()
  /// gathers and converts.
  [[nodiscard]] bool is_spelled() const noexcept { return (flags_ & spelled) != 0; }
  /// False for a meta tensor, which has a shape but no bytes.
  [[nodiscard]] bool has_data() const noexcept { return (flags_ & no_data) == 0; }
  /// Parts of a tensor that is stored in pieces; empty for all others.
  [[nodiscard]] std::span<const Piece> pieces() const& noexcept;
  std::span<const Piece> pieces() const&& = delete;

  /// Path of the file that holds the first byte (empty for memory). Borrowed: valid while this view lives.
  [[nodiscard]] std::string_view shard_path() const& noexcept;
  std::string_view shard_path() const&& = delete;
  /// Absolute byte offset of element 0 in that file (in the inflated record, for a compressed one; among the packed elements of all lists of
  /// the file, for spelled numbers).
  [[nodiscard]] std::uint64_t offset() const noexcept;
  /// Bytes of the whole storage that this tensor views (a saved slice of a larger tensor keeps all of it).
  [[nodiscard]] std::uint64_t storage_bytes() const noexcept { return size_; }
  /// True when both views read the same storage: tied weights, slices of one tensor.
  [[nodiscard]] bool shares_storage_with(const TensorView& other) const noexcept;

  /// Elements [begin, end) along `dim`. Throws Error{out_of_range}; for block types on the innermost dim also Error{misaligned} unless both
  /// are multiples of the block.
  [[nodiscard]] TensorView slice(std::size_t dim, std::int64_t begin, std::int64_t end) const;
  /// The part of rank `tp_rank` of `tp_size` along `dim`. Throws as slice(), and Error{out_of_range} when uneven, unless asked otherwise.
  [[nodiscard]] TensorView shard(std::size_t dim, std::int64_t tp_rank, std::int64_t tp_size, Uneven uneven = Uneven::refuse) const;
  /// Dims a and b exchanged. Throws Error{out_of_range}; Error{type_mismatch} when a block type's innermost dim would move.
  [[nodiscard]] TensorView transpose(std::size_t a, std::size_t b) const;
  /// The same elements in row-major order under another shape. Throws Error{out_of_range} when the counts differ, Error{type_mismatch} when
  /// strides cannot say it (transposed, pieces): materialize() first.
  [[nodiscard]] TensorView reshape(Shape shape) const;

  /// The packed bytes as stored. For a mapped file: a range of the mapping, nothing is copied. Under Access::read, or for a compressed
  /// record: read or inflated now, into memory that the result owns. Throws Error{type_mismatch} unless contiguous, in one piece and stored
  /// as bytes (not spelled).
  [[nodiscard]] Bytes bytes() const;
  /// Strict typed view. Throws Error{type_mismatch} unless the dtype is T's own, contiguous, stored as bytes in host byte order, in one piece
  /// and without lazy bits; Error{misaligned} when the bytes do not lie on alignof(T).
  template <Element T>
  [[nodiscard]] Slice<T> as() const {
    Bytes run = typed_bytes(dtype_of<T>, alignof(T));
    return Slice<T>({reinterpret_cast<const T*>(run.span().data()), static_cast<std::size_t>(run.size_bytes() / sizeof(T))}, run.owner());
  }
  /// One element, whatever the alignment and byte order; one index for each dim. Throws Error{type_mismatch} unless the dtype is T's own,
  /// Error{out_of_range} for a wrong number of indices or one past its dim.
  template <Element T, std::integral... Index>
  [[nodiscard]] T read(Index... index) const {
    T value;
    const std::int64_t at[sizeof...(Index) + 1] = {static_cast<std::int64_t>(index)..., 0};
    read_element(dtype_of<T>, {at, sizeof...(Index)}, &value);
    return value;
  }

 private:
  friend struct ViewAccess;  // lib/record/view_access.hpp: the rooms above read source, range and flags through it
  enum Flag : std::uint8_t { swapped = 2, conjugated = 4, negated = 8, no_data = 16, spelled = 32 };

  [[nodiscard]] Bytes typed_bytes(DType wanted, std::size_t alignment) const;
  void read_element(DType wanted, std::span<const std::int64_t> index, void* into) const;

  std::shared_ptr<const record::Source> source_;          // the file, inflated record or memory that holds the storage
  std::shared_ptr<const std::vector<Piece>> pieces_;      // set for a tensor in parts; then source_ is null
  std::shared_ptr<const void> name_owner_;                // set when the name is not the source's own
  std::string_view name_;
  std::string_view type_name_;                            // the file's word for DType::unknown
  std::uint64_t begin_ = 0;                               // storage: byte offset in the source ...
  std::uint64_t size_ = 0;                                // ... and bytes
  std::uint64_t first_ = 0;                               // elements from the storage's begin to element 0
  Shape shape_;
  Strides strides_;
  DType dtype_ = DType::unknown;
  DType wanted_ = DType::unknown;                         // unknown: no wish
  std::uint8_t flags_ = 0;
};

/// A part of a tensor that is stored in several.
struct Piece {
  TensorView part;
  Dims at;  ///< Where the part's element 0 lies in the whole; one index for each dim.
};

}  // namespace heft
