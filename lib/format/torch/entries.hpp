// format/torch/entries.hpp: PyTorch's tensors as entries of a Catalog.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "format/catalog.hpp"
#include "format/torch/objects.hpp"

namespace heft::format {

struct TorchPlace;

/// Adds entries; check_tensors() has been passed, so that arithmetic on their numbers cannot overflow.
class TorchEntries {
 public:
  TorchEntries(Catalog& catalog, TorchObjects& objects, const TorchPlace& place)
      : catalog_(catalog), objects_(objects), place_(place) {}

  /// An entry for objects.tensors[tensor] under `name`, which must outlive the Catalog.
  void add(std::string_view name, std::uint64_t tensor);

  /// A storage that is no tensor's but stands in the tree by itself becomes a tensor of one dim, u8 when it is untyped.
  void adopt_storage(std::uint32_t value);

  /// Last step: the Catalog gets the bytes of arrays that the pickle spells in another way.
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
