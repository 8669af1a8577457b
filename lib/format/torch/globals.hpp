// format/torch/globals.hpp: the names in PyTorch's pickles that heft knows, and the kind of each. Names are compared,
// never looked up.
#pragma once

#include <cstdint>
#include <string_view>

#include "format/catalog.hpp"
#include "format/pickle/pickle.hpp"
#include "heft/dtype.hpp"

namespace heft::format {

/// The kind of a global. An `unknown` one becomes an opaque record, or is refused under strict_globals.
enum class GlobalKind : std::uint8_t {
  unknown,
  inert,  ///< A class or function that only names a type of data: builtins.int as a default factory.
  // Containers and scalars of Python.
  dict,
  ordered_dict,
  default_dict,
  counter,
  list,
  tuple,
  set,
  frozen_set,
  bytes,
  byte_array,
  complex,
  encode,
  name_space,
  path,
  reconstructor,  ///< copyreg._reconstructor(class, base, state): makes objects in protocols 0 and 1.
  // Values of PyTorch.
  size,
  dtype,
  device,
  layout,
  get_layout,
  qscheme,
  storage,       ///< A storage class of `dtype`; unknown for UntypedStorage.
  tensor_class,  ///< torch.FloatTensor: pickled directly before 0.4.
  parameter,     ///< torch.nn.parameter.Parameter, also pickled directly.
  // Functions that rebuild tensors.
  rebuild_tensor,
  rebuild_tensor_v2,
  rebuild_tensor_v3,
  rebuild_parameter,
  rebuild_from_type,
  rebuild_quantized,
  rebuild_sparse,
  rebuild_sparse_csr,
  rebuild_nested,
  rebuild_meta,
  rebuild_from_cpu,
  rebuild_from_numpy,
  rebuild_wrapper,  ///< A subclass that wraps other tensors in its state: torchao's, DTensor.
  // Placement of a DTensor on its devices.
  device_mesh,
  placement,  ///< Shard, Replicate, Partial.
  // NumPy.
  numpy_dtype,
  numpy_scalar,
  numpy_reconstruct,
  numpy_from_buffer,
  // TorchScript.
  script_list,   ///< torch.jit._pickle.build_intlist and its like: a list in a call.
  script_tag,    ///< torch.jit._pickle.restore_type_tag(value, type).
  script_class,  ///< __torch__.*: an object whose attributes are data.
};

struct KnownGlobal {
  GlobalKind kind = GlobalKind::unknown;
  DType dtype = DType::unknown;      ///< dtype, storage, tensor_class.
  std::string_view dtype_name = {};  ///< The file's name of a dtype that heft does not know: "uint3".
};

/// Returns the kind of `global`.
KnownGlobal known_global(const PickleGlobal& global) noexcept;

/// Returns the dtype of torch.<name>, with dtype_name set for dtypes that heft does not know; GlobalKind::unknown if
/// torch has no such dtype.
KnownGlobal torch_dtype(std::string_view name) noexcept;

}  // namespace heft::format
