// format/torch/entries.hpp: conversion of PyTorch's tensors to entries of a Catalog.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "format/catalog.hpp"
#include "format/torch/objects.hpp"

namespace heft::format {

/// The place of the pickle, of whose bytes NumPy arrays are views, and how to list its tensors.
struct TorchPlace {
  std::uint64_t pickle_begin = 0;      ///< Added to offsets in the pickle's Input.
  std::uint32_t pickle_member = none;  ///< The pickle is deflated: index in Catalog::members.
  bool big_endian = false;             ///< Storages hold big-endian numbers.
  std::string_view prefix = {};        ///< Added before every name, with a dot: "constants".
  bool is_named = false;               ///< `prefix` is the name of the object itself.
};

/// Adds entries. Requires objects that have passed check_tensors(), so that the arithmetic cannot overflow.
class TorchEntries {
 public:
  TorchEntries(Catalog& catalog, TorchObjects& objects, const TorchPlace& place)
      : catalog_(catalog), objects_(objects), place_(place) {}

  /// Adds an entry for objects.tensors[tensor] named `name`, which must outlive the Catalog.
  void add(std::string_view name, std::uint64_t tensor);

  /// Makes a storage that is a value of the tree itself a tensor of one dim, u8 if it is untyped.
  void adopt_storage(std::uint32_t value);

  /// Last step: adds the bytes of decoded arrays to the Catalog.
  void finish();

 private:
  void set_place(TensorEntry& entry, TorchTensor& tensor);
  void set_array(TensorEntry& entry, TorchTensor& tensor);
  void add_spelled(std::string_view name, TorchTensor& tensor, const PickleBlob& blob);
  void add_decoded(TorchTensor& tensor, const PickleBlob& blob);
  void set_layout(TensorEntry& entry, const TorchTensor& tensor);
  void set_raw(TensorEntry& entry, std::string_view dtype_name);
  std::uint32_t type_name(std::string_view word);

  Catalog& catalog_;
  TorchObjects& objects_;
  const TorchPlace& place_;
  std::uint32_t decoded_member_ = none;
  std::string decoded_;
};

}  // namespace heft::format
