// format/torch/tree.hpp: from the objects of a PyTorch pickle to names: every path to a tensor is an entry of the
// Catalog.
#pragma once

#include <cstdint>
#include <string_view>

#include "format/catalog.hpp"
#include "format/format.hpp"
#include "format/torch/objects.hpp"

namespace heft::format {

/// Where the pickle itself lies (arrays of NumPy are views of its bytes), and how its tensors are to be read.
struct TorchPlace {
  std::uint64_t pickle_begin = 0;      ///< Added to offsets in the pickle's Input.
  std::uint32_t pickle_member = none;  ///< The pickle is deflated: index in Catalog::members.
  bool big_endian = false;             ///< Storages hold big-endian numbers.
  std::string_view prefix = {};        ///< Goes before every name, with a dot: "constants".
  bool is_named = false;  ///< `prefix` is the name of the object itself, be it a tensor, a value or a container.
};

/// Adds the objects' tensors and other values to the Catalog, under dotted names; the Catalog keeps what these point
/// into.
///
/// A key is a part of a name as it is (3 is "3"), an index of a list is its number. Containers without any tensor are
/// one value each. A tensor that two paths lead to is listed under both; where an object contains itself, the walk does
/// not enter it a second time. A pickle that is a tensor and nothing else gives it the name "tensor"; another value
/// without a name is called "value". Of an object of unknown class that holds tensors, `class`, `arguments` and `state`
/// are the parts below it.
///
/// Throws Error{not_found} and Error{type_mismatch} for ReadOptions::top_level_key, Error{limit_exceeded} for tensors,
/// record_depth, record_visits and name_bytes, before anything of that size is allocated.
void add_objects(Catalog& catalog, TorchObjects&& objects, const ReadOptions& options, const TorchPlace& place);

/// Last step of every PyTorch format: the Catalog's order, and Error{ambiguous} when two entries have one name.
void finish(Catalog& catalog);

}  // namespace heft::format
