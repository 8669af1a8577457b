// format/torch/objects.hpp: interpretation of the calls in a PyTorch pickle as dicts, sizes, dtypes, storages and
// tensors. Nothing is called.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "format/catalog.hpp"
#include "format/format.hpp"
#include "format/pickle/pickle.hpp"
#include "heft/dtype.hpp"

namespace heft::format {

/// One mention of a storage: the persistent id ('storage', class, key, location, count[, view]).
struct StorageUse {
  std::string_view key;
  DType dtype = DType::unknown;  ///< Dtype of the class; unknown for an UntypedStorage.
  std::string_view dtype_name;   ///< See KnownGlobal.
  std::uint64_t count = 0;       ///< Elements of the class; bytes for an UntypedStorage.
  std::uint32_t value = none;    ///< The persistent value in the pickle.
  std::uint32_t storage = none;  ///< Index in TorchObjects::storages.
  bool is_view = false;          ///< Files of 0.x: elements [view_first, view_first + view_count) of the storage.
  std::uint64_t view_first = 0;
  std::uint64_t view_count = 0;
};

/// One storage: a key that the pickle mentions. The container (zip, legacy stream, tar) sets the place of its bytes.
struct TorchStorage {
  std::string_view key;
  std::uint32_t use = none;  ///< The first mention.
  std::uint64_t begin = 0;   ///< As in TensorEntry.
  std::uint64_t size = 0;    ///< Bytes.
  std::uint32_t member = none;
  bool placed = false;
};

/// One tensor: a view of a storage or of bytes in the pickle itself (NumPy arrays), or without bytes (meta tensors).
struct TorchTensor {
  std::uint32_t value = none;      ///< The first value in the pickle for this tensor.
  std::uint32_t use = none;        ///< Index in TorchObjects::uses; none for the other two.
  std::uint32_t blob = none;       ///< Index in Pickle::blobs.
  std::uint32_t member = none;     ///< Index in Catalog::members, for a blob that became one.
  std::uint64_t member_begin = 0;  ///< Offset of the blob's bytes in the member.
  DType dtype = DType::unknown;
  std::string_view dtype_name;
  std::uint64_t first = 0;  ///< Elements.
  std::uint32_t dims = 0;   ///< Index in TorchObjects::dims: sizes, then strides.
  std::uint8_t rank = 0;
  std::uint8_t flags = 0;  ///< TensorFlag: conjugated, negated, no_data, swapped.
};

/// A DTensor of which the file has only the local part.
struct TorchShard {
  std::uint32_t value = none;  ///< Its value in the pickle.
  std::string what;            ///< "Shard(0), Replicate() of [8, 4]".
};

/// A NumPy array whose elements are not numbers. It stays an opaque value.
struct TorchArray {
  std::uint32_t value = none;   ///< The call.
  std::string_view items = {};  ///< "<U5", "|O"; empty for a structured dtype.
};

/// A pickle whose known calls are replaced by values: dict, list, text, and PickleKind::tensor with an index in
/// `tensors`.
struct TorchObjects {
  explicit TorchObjects(Pickle from) noexcept : pickle(std::move(from)) {}

  Pickle pickle;
  std::string_view what;  ///< Names the pickle in errors.
  core::Table<StorageUse> uses{pickle.budget};
  core::Table<TorchStorage> storages{pickle.budget};  ///< One for each key.
  core::Table<TorchTensor> tensors{pickle.budget};
  core::Table<std::int64_t> dims{pickle.budget};
  core::Table<TorchShard> shards{pickle.budget};              ///< Tensors of which the file has only a part.
  core::Table<TorchArray> arrays{pickle.budget};              ///< Arrays that stay opaque.
  core::Table<std::uint32_t> with_attributes{pickle.budget};  ///< Tensors that had attributes, which are left out.
};

/// A tensor of a tar's table: its persistent id is a bare key, and its description is outside the pickle.
struct TabledTensor {
  StorageUse use;
  DType dtype = DType::unknown;
  std::uint64_t first = 0;
  std::vector<std::int64_t> sizes;
  std::vector<std::int64_t> strides;
};
using TensorTable = std::map<std::string, TabledTensor, std::less<>>;

/// Interprets the pickle. Errors contain the offset of the opcode in the pickle's Input and the tensor's name if there
/// is one.
///
/// Throws Error{corrupt} for invalid tensors and storages, Error{refused} under strict_globals with a list of all
/// unknown globals.
TorchObjects interpret(Pickle pickle, const ReadOptions& options, std::string_view what,
                       const TensorTable* table = nullptr);

/// Requires that every storage has a place and the size that each of its mentions declares, and that every tensor lies
/// inside its storage. Throws Error{corrupt}.
void check_tensors(const TorchObjects& objects, const Limits& limits);

/// Returns the bytes of a storage of that class with `count` elements; PyTorch counts elements of under a byte in
/// bytes. Throws Error{corrupt} for an overflow.
std::uint64_t storage_bytes(const StorageUse& use, std::uint64_t count);

/// Returns the dotted path from the root to `value`, for errors; empty if there is none or it is the root.
std::string path_to(const Pickle& pickle, std::uint32_t value);

/// Returns a key as a part of a path: text unchanged, 3 as "3", None as "None", (1, 2) as "(1, 2)".
std::string key_text(const Pickle& pickle, std::uint32_t key);

}  // namespace heft::format
