#include "format/torch/globals.hpp"

#include <algorithm>
#include <array>

namespace heft::format {
namespace {

struct Row {
  std::string_view module;
  std::string_view name;
  GlobalKind kind;
};

using enum GlobalKind;

constexpr std::array rows{
    Row{"collections", "OrderedDict", ordered_dict},
    Row{"collections", "defaultdict", default_dict},
    Row{"collections", "Counter", counter},
    Row{"builtins", "dict", dict},
    Row{"builtins", "list", list},
    Row{"builtins", "tuple", tuple},
    Row{"builtins", "set", set},
    Row{"builtins", "frozenset", frozen_set},
    Row{"builtins", "bytes", bytes},
    Row{"builtins", "bytearray", byte_array},
    Row{"builtins", "complex", complex},
    Row{"builtins", "int", inert},
    Row{"builtins", "float", inert},
    Row{"builtins", "bool", inert},
    Row{"builtins", "str", inert},
    Row{"builtins", "object", inert},
    Row{"torch.distributed.checkpoint.metadata", "Metadata", inert},
    Row{"torch.distributed.checkpoint.metadata", "TensorStorageMetadata", inert},
    Row{"torch.distributed.checkpoint.metadata", "BytesStorageMetadata", inert},
    Row{"torch.distributed.checkpoint.metadata", "ChunkStorageMetadata", inert},
    Row{"torch.distributed.checkpoint.metadata", "TensorProperties", inert},
    Row{"torch.distributed.checkpoint.metadata", "_MEM_FORMAT_ENCODING", inert},
    Row{"torch.distributed.checkpoint.metadata", "MetadataIndex", inert},
    Row{"torch.distributed.checkpoint.metadata", "StorageMeta", inert},
    Row{"torch.distributed.checkpoint.filesystem", "_StorageInfo", inert},
    Row{"torch.distributed._shard.sharded_tensor.metadata", "TensorProperties", inert},
    Row{"torch.distributed._shard.sharded_tensor.metadata", "MEM_FORMAT_ENCODING", inert},
    Row{"torch.distributed.tensor", "DTensor", inert},
    Row{"torch.distributed._tensor.api", "DTensor", inert},
    Row{"torch.distributed.tensor._dtensor_spec", "DTensorSpec", inert},
    Row{"torch.distributed.tensor._dtensor_spec", "TensorMeta", inert},
    Row{"torch.distributed.tensor._dtensor_spec", "ShardOrderEntry", inert},
    Row{"torch.distributed._tensor.placement_types", "DTensorSpec", inert},
    Row{"torch.distributed._tensor.placement_types", "TensorMeta", inert},
    Row{"torch.distributed._tensor.placement_types", "Shard", placement},
    Row{"torch.distributed._tensor.placement_types", "Replicate", placement},
    Row{"torch.distributed._tensor.placement_types", "Partial", placement},
    Row{"torch.distributed._tensor.placement_types", "_Partial", placement},
    Row{"torch.distributed.tensor.placement_types", "Shard", placement},
    Row{"torch.distributed.tensor.placement_types", "_StridedShard", placement},
    Row{"torch.distributed.tensor.placement_types", "Replicate", placement},
    Row{"torch.distributed.tensor.placement_types", "Partial", placement},
    Row{"torch.distributed.device_mesh", "DeviceMesh", device_mesh},
    Row{"torch.distributed._tensor.device_mesh", "DeviceMesh", device_mesh},
    Row{"torch.distributed._mesh_layout", "_MeshLayout", inert},
    Row{"torch.distributed._mesh_layout", "_FlatLayout", inert},
    Row{"_codecs", "encode", encode},
    Row{"copyreg", "_reconstructor", reconstructor},
    Row{"argparse", "Namespace", name_space},
    Row{"types", "SimpleNamespace", name_space},
    Row{"pathlib", "Path", path},
    Row{"pathlib", "PosixPath", path},
    Row{"pathlib", "WindowsPath", path},
    Row{"pathlib", "PurePosixPath", path},
    Row{"pathlib", "PureWindowsPath", path},
    Row{"pathlib._local", "PosixPath", path},
    Row{"pathlib._local", "WindowsPath", path},
    Row{"torch", "Size", size},
    Row{"torch", "device", device},
    Row{"torch", "Tensor", inert},
    Row{"torch.serialization", "_get_layout", get_layout},
    Row{"torch", "per_tensor_affine", qscheme},
    Row{"torch", "per_tensor_symmetric", qscheme},
    Row{"torch", "per_channel_affine", qscheme},
    Row{"torch", "per_channel_symmetric", qscheme},
    Row{"torch", "per_channel_affine_float_qparams", qscheme},
    Row{"torch", "UntypedStorage", storage},
    Row{"torch.storage", "UntypedStorage", storage},
    Row{"torch.storage", "_UntypedStorage", storage},
    Row{"torch.storage", "TypedStorage", storage},
    Row{"torch.nn.parameter", "Parameter", parameter},
    Row{"torch.nn.parameter", "Buffer", parameter},
    Row{"torch._utils", "_rebuild_tensor", rebuild_tensor},
    Row{"torch._utils", "_rebuild_tensor_v2", rebuild_tensor_v2},
    Row{"torch._utils", "_rebuild_tensor_v3", rebuild_tensor_v3},
    Row{"torch._utils", "_rebuild_parameter", rebuild_parameter},
    Row{"torch._utils", "_rebuild_parameter_with_state", rebuild_parameter},
    Row{"torch._tensor", "_rebuild_from_type_v2", rebuild_from_type},
    Row{"torch.tensor", "_rebuild_from_type_v2", rebuild_from_type},
    Row{"torch._utils", "_rebuild_qtensor", rebuild_quantized},
    Row{"torch._utils", "_rebuild_sparse_tensor", rebuild_sparse},
    Row{"torch._utils", "_rebuild_sparse_csr_tensor", rebuild_sparse_csr},
    Row{"torch._utils", "_rebuild_nested_tensor", rebuild_nested},
    Row{"torch._utils", "_rebuild_meta_tensor_no_storage", rebuild_meta},
    Row{"torch._utils", "_rebuild_device_tensor_from_cpu_tensor", rebuild_from_cpu},
    Row{"torch._utils", "_rebuild_device_tensor_from_numpy", rebuild_from_numpy},
    Row{"torch._utils", "_rebuild_wrapper_subclass", rebuild_wrapper},
    Row{"numpy", "dtype", numpy_dtype},
    Row{"numpy", "ndarray", inert},
    Row{"numpy.core.numeric", "_frombuffer", numpy_from_buffer},
    Row{"numpy._core.numeric", "_frombuffer", numpy_from_buffer},
    Row{"numpy.core.multiarray", "scalar", numpy_scalar},
    Row{"numpy._core.multiarray", "scalar", numpy_scalar},
    Row{"numpy.core.multiarray", "_reconstruct", numpy_reconstruct},
    Row{"numpy._core.multiarray", "_reconstruct", numpy_reconstruct},
    Row{"torch.jit._pickle", "build_intlist", script_list},
    Row{"torch.jit._pickle", "build_tensorlist", script_list},
    Row{"torch.jit._pickle", "build_boollist", script_list},
    Row{"torch.jit._pickle", "build_doublelist", script_list},
    Row{"torch.jit._pickle", "restore_type_tag", script_tag},
};

struct DTypeWord {
  std::string_view torch;   // torch.float32
  std::string_view legacy;  // "Float" of torch.FloatStorage and torch.FloatTensor; can be empty
  DType dtype;
};

constexpr std::array dtype_words{
    DTypeWord{"float64", "Double", DType::f64},
    DTypeWord{"float32", "Float", DType::f32},
    DTypeWord{"float16", "Half", DType::f16},
    DTypeWord{"bfloat16", "BFloat16", DType::bf16},
    DTypeWord{"int64", "Long", DType::i64},
    DTypeWord{"int32", "Int", DType::i32},
    DTypeWord{"int16", "Short", DType::i16},
    DTypeWord{"int8", "Char", DType::i8},
    DTypeWord{"uint8", "Byte", DType::u8},
    DTypeWord{"bool", "Bool", DType::boolean},
    DTypeWord{"uint16", "", DType::u16},
    DTypeWord{"uint32", "", DType::u32},
    DTypeWord{"uint64", "", DType::u64},
    DTypeWord{"complex32", "ComplexHalf", DType::c32},
    DTypeWord{"complex64", "ComplexFloat", DType::c64},
    DTypeWord{"complex128", "ComplexDouble", DType::c128},
    DTypeWord{"float8_e4m3fn", "", DType::f8_e4m3},
    DTypeWord{"float8_e5m2", "", DType::f8_e5m2},
    DTypeWord{"float8_e4m3fnuz", "", DType::f8_e4m3fnuz},
    DTypeWord{"float8_e5m2fnuz", "", DType::f8_e5m2fnuz},
    DTypeWord{"float8_e8m0fnu", "", DType::f8_e8m0},
    DTypeWord{"float4_e2m1fn_x2", "", DType::f4_e2m1},
    DTypeWord{"qint8", "QInt8", DType::qi8},
    DTypeWord{"quint8", "QUInt8", DType::qu8},
    DTypeWord{"qint32", "QInt32", DType::qi32},
    DTypeWord{"quint4x2", "QUInt4x2", DType::qu4x2},
    DTypeWord{"quint2x4", "QUInt2x4", DType::qu2x4},
    DTypeWord{"bits8", "", DType::bits8},
    DTypeWord{"bits16", "", DType::bits16},
    DTypeWord{"bits1x8", "", DType::bits1x8},
    DTypeWord{"bits2x4", "", DType::bits2x4},
    DTypeWord{"bits4x2", "", DType::bits4x2},
};

// Types of under 8 bits, which PyTorch stores in a byte each.
constexpr std::array<std::string_view, 14> narrow_integers{"uint1", "uint2", "uint3", "uint4", "uint5",
                                                           "uint6", "uint7", "int1",  "int2",  "int3",
                                                           "int4",  "int5",  "int6",  "int7"};

constexpr std::array<std::string_view, 6> layouts{"strided",    "sparse_coo", "sparse_csr",
                                                  "sparse_csc", "sparse_bsr", "sparse_bsc"};

// Returns true if `wanted` is one of the words.
template <class Words>
bool holds(const Words& words, std::string_view wanted) noexcept {
  return std::find(words.begin(), words.end(), wanted) != words.end();
}

/// Returns the kind of torch.FloatStorage, torch.cuda.FloatTensor and similar classes.
KnownGlobal legacy_class(std::string_view name) noexcept {
  for (const auto& [suffix, kind] :
       {std::pair{std::string_view("Storage"), storage}, std::pair{std::string_view("Tensor"), tensor_class}}) {
    // The rest is the old name of the dtype: "Float", "Long".
    if (!name.ends_with(suffix)) continue;
    const std::string_view stem = name.substr(0, name.size() - suffix.size());
    for (const DTypeWord& word : dtype_words)
      if (!word.legacy.empty() && word.legacy == stem) return {kind, word.dtype};
  }
  return {};
}

}  // namespace

KnownGlobal torch_dtype(std::string_view name) noexcept {
  for (const DTypeWord& word : dtype_words)
    if (word.torch == name) return {GlobalKind::dtype, word.dtype};
  // Named, because heft has no dtype for them; their elements are listed as raw bytes.
  if (holds(narrow_integers, name)) return {GlobalKind::dtype, DType::unknown, name};
  return {};
}

KnownGlobal known_global(const PickleGlobal& global) noexcept {
  for (const Row& row : rows)
    // Names differ more often than modules. Each name of a pickle is looked up once, so a list suffices.
    if (row.name == global.name && row.module == global.module) return {row.kind};
  // Classes that TorchScript compiled: their code is in the archive and is not read.
  if (global.module == "__torch__" || global.module.starts_with("__torch__.")) return {script_class};
  if (global.module == "ml_dtypes") return {inert};  // an argument of numpy.dtype
  if (global.module == "torch" && holds(layouts, global.name)) return {layout};
  if (global.module == "torch") {
    if (const KnownGlobal found = torch_dtype(global.name); found.kind != unknown) return found;
  }
  // Classes for the GPU have the same dtypes: where the tensor was does not matter.
  if (global.module == "torch" || global.module == "torch.cuda") return legacy_class(global.name);
  // Classes of sparse tensors occur as arguments only; they are never called.
  if ((global.module == "torch.sparse" || global.module == "torch.cuda.sparse") &&
      legacy_class(global.name).kind == tensor_class)
    return {inert};
  return {};
}

}  // namespace heft::format
