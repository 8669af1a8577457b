// format/numpy/header.hpp: the head of a .npy array, alone or as a member of a .npz.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "core/cursor.hpp"
#include "format/catalog.hpp"
#include "heft/dtype.hpp"
#include "heft/limits.hpp"
#include "heft/shape.hpp"

namespace heft::format::npy {

/// The type of an element, from `descr`.
struct ItemType {
  DType dtype = DType::unknown;
  bool big_endian = false;
  bool is_raw =
      false;  ///< 'V', or a name of ml_dtypes: bytes whose type the caller can set (NumpyReadOptions::raw_items).
  bool native = false;  ///< '=': the byte order of the writing machine, which is unknown; read as little-endian.
  std::uint64_t size_bytes = 0;
  std::string_view text;  ///< The text in the file; points into the cursor's chunks.
};

struct Header {
  ItemType type;
  std::vector<std::int64_t> shape;
  bool fortran_order = false;
  std::uint64_t data = 0;  ///< Offset of the first item in the cursor's Input.
};

/// NumpyReadOptions::raw_items for one file: the dtypes of raw elements, and which of them were used.
class RawItems {
 public:
  /// Throws Error{out_of_range} for a dtype whose elements are not whole bytes, and for two dtypes of one size.
  explicit RawItems(std::span<const DType> dtypes);
  /// Sets the dtype of raw elements to the one of their size, if there is one.
  void apply(ItemType& type);
  /// Throws Error{type_mismatch} if one of the dtypes was used for no array.
  void require_all_used() const;

 private:
  struct Choice {
    DType dtype;
    bool is_used = false;
  };
  std::vector<Choice> choices_;
};

/// Reads magic, version and header at the cursor. Throws Error{corrupt, unsupported, limit_exceeded, ambiguous}, and
/// Error{refused} for arrays of Python objects, which are pickles.
Header read_header(core::Cursor& cursor, const Limits& limits);

/// Returns magic, version 1.0 and header of a packed array, as NumPy writes them, padded so that the elements start at
/// a multiple of 64. Requires a shape of at most 64 dims. Throws Error{unsupported} for a dtype that NumPy lacks.
std::string head_of(DType dtype, const Shape& shape);
/// Returns true if NumPy has elements of that dtype.
bool has(DType dtype) noexcept;

/// Returns the tensor that a header describes. Its bytes are among the `available` bytes from offset `begin` of the
/// file or member. Adds a note if bytes follow the array. Throws Error{corrupt} if there are too few.
TensorEntry describe(Catalog& catalog, const Header& header, std::uint64_t begin, std::uint64_t available,
                     std::string_view name);

}  // namespace heft::format::npy
