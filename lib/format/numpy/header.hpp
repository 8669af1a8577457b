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

/// What `descr` says of one item.
struct ItemType {
  DType dtype = DType::unknown;
  bool big_endian = false;
  bool is_raw = false;  ///< 'V', or a type of ml_dtypes by its name: bytes whose type NumpyOptions::raw_items can give.
  bool native = false;  ///< '=': in the order of the machine that wrote, which is not said; taken as little-endian.
  std::uint64_t size_bytes = 0;
  std::string_view text;  ///< As the file has it; points into the cursor's chunks.
};

struct Header {
  ItemType type;
  std::vector<std::int64_t> shape;
  bool fortran_order = false;
  std::uint64_t data = 0;  ///< Offset of the first item in the cursor's Input.
};

/// NumpyOptions::raw_items for one file: which dtype raw items get, and whether each was needed.
class RawItems {
 public:
  /// Throws Error{out_of_range} for dtypes that no raw items can be, and for two of one size.
  explicit RawItems(std::span<const DType> dtypes);
  /// Gives raw items the dtype of their size, if there is one.
  void apply(ItemType& type);
  /// Throws Error{type_mismatch} when one of the dtypes was given to no array.
  void require_all_used() const;

 private:
  struct Choice {
    DType dtype;
    bool is_used = false;
  };
  std::vector<Choice> choices_;
};

/// Reads magic, version and header from the cursor's place. Throws Error{corrupt, unsupported, limit_exceeded,
/// ambiguous}, and Error{refused} for arrays of Python objects, which are pickles.
Header read_header(core::Cursor& cursor, const Limits& limits);

/// Magic, version 1.0 and header of a packed array, as NumPy writes them: the items that follow begin at a multiple of
/// 64. The shape has at most 64 dims. Throws Error{unsupported} for a dtype that NumPy lacks.
std::string head_of(DType dtype, const Shape& shape);
/// True when NumPy has elements of that dtype.
bool has(DType dtype) noexcept;

/// The tensor that a header describes; its bytes are `available` bytes from `begin` on (in the file, or in `member`).
/// The entry's name is the caller's to set. Adds a note when bytes follow the array.
TensorEntry describe(Catalog& catalog, const Header& header, std::uint64_t begin, std::uint64_t available, std::string_view name);

}  // namespace heft::format::npy
