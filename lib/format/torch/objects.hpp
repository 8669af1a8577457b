// format/torch/objects.hpp: what the calls in a PyTorch pickle stand for: dicts, sizes, dtypes, storages, tensors.
// Nothing is called.
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
#include "format/pickle/opcodes.hpp"
#include "heft/dtype.hpp"

namespace heft::format {

/// One mention of a storage: the persistent id ('storage', class, key, location, count[, view]).
struct StorageUse {
  std::string_view key;
  DType dtype = DType::unknown;  ///< The class's; unknown for an UntypedStorage.
  std::string_view dtype_name;   ///< See KnownGlobal.
  std::uint64_t count = 0;       ///< Elements of the class; bytes for an UntypedStorage.
  std::uint32_t value = none;    ///< The persistent value in the pickle.
  std::uint32_t storage = none;  ///< Index in TorchObjects::storages.
  bool is_view = false;          ///< Files of 0.x: elements [view_first, view_first + view_count) of the storage.
  std::uint64_t view_first = 0;
  std::uint64_t view_count = 0;
};

/// One storage: a key that the pickle mentions. The container (zip, legacy stream, tar) fills in where its bytes lie.
struct TorchStorage {
  std::string_view key;
  std::uint32_t use = none;  ///< The first mention.
  std::uint64_t begin = 0;   ///< As in TensorEntry.
  std::uint64_t size = 0;    ///< Bytes.
  std::uint32_t member = none;
  bool placed = false;
};

/// One tensor: a view of a storage, or of bytes in the pickle itself (NumPy arrays), or of nothing (meta tensors).
struct TorchTensor {
  std::uint32_t value = none;  ///< The value in the pickle that first was this tensor.
  std::uint32_t use = none;    ///< Index in TorchObjects::uses; none for the other two.
  std::uint32_t blob = none;   ///< Index in Pickle::blobs.
  std::uint32_t member =
      none;  ///< Index in Catalog::members, once the blob's bytes have become one, and where in it they begin.
  std::uint64_t member_begin = 0;
  DType dtype = DType::unknown;
  std::string_view dtype_name;
  std::uint64_t first = 0;  ///< Elements.
  std::uint32_t dims = 0;   ///< Index in TorchObjects::dims: sizes, then strides.
  std::uint8_t rank = 0;
  std::uint8_t flags = 0;  ///< TensorFlag: conjugated, negated, no_data, swapped.
};

/// A DTensor whose local tensor is a part of it.
struct TorchShard {
  std::uint32_t value = none;  ///< The value in the pickle that it was.
  std::string what;            ///< "Shard(0), Replicate() of [8, 4]".
};

/// An array of NumPy whose items are no numbers, so that it stays an opaque value.
struct TorchArray {
  std::uint32_t value = none;   ///< The call.
  std::string_view items = {};  ///< "<U5", "|O"; empty for a structured dtype.
};

/// A pickle whose known calls have become plain values: dict, list, text, and PickleKind::tensor with an index in
/// `tensors`.
struct TorchObjects {
  explicit TorchObjects(Pickle from) noexcept : pickle(std::move(from)) {}

  Pickle pickle;
  std::string_view what;  ///< Names the pickle in sentences.
  core::Table<StorageUse> uses{pickle.budget};
  core::Table<TorchStorage> storages{pickle.budget};  ///< One for each key.
  core::Table<TorchTensor> tensors{pickle.budget};
  core::Table<std::int64_t> dims{pickle.budget};
  core::Table<TorchShard> shards{pickle.budget};  ///< Tensors of which the file holds a part only.
  core::Table<TorchArray> arrays{pickle.budget};  ///< Those that are no tensors.
  core::Table<std::uint32_t> with_attributes{pickle.budget};  ///< Values that are tensors and carried attributes, which are left out.
};

/// A tensor of a tar's table: its persistent id is a bare key, and what it is stands outside the pickle.
struct TabledTensor {
  StorageUse use;
  DType dtype = DType::unknown;
  std::uint64_t first = 0;
  std::vector<std::int64_t> sizes;
  std::vector<std::int64_t> strides;
};
using TensorTable = std::map<std::string, TabledTensor, std::less<>>;

/// Interprets the pickle. Errors carry the offset of the opcode in the pickle's Input and, where it has one, the
/// tensor's name.
///
/// Throws Error{corrupt} for tensors and storages that break a rule, Error{refused} under strict_globals with a list of
/// all unknown globals.
TorchObjects interpret(Pickle pickle, const ReadOptions& options, std::string_view what,
                       const TensorTable* table = nullptr);

/// Demands of every storage that it has been placed and is as long as each of its mentions says, and of every tensor
/// that it lies inside its storage. Throws Error{corrupt}.
void check_tensors(const TorchObjects& objects, const Limits& limits);

/// Bytes of a storage of that class which PyTorch says has `count` elements; elements of under a byte it counts in
/// bytes. Throws Error{corrupt} when that does not fit.
std::uint64_t storage_bytes(const StorageUse& use, std::uint64_t count);

/// The dotted path from the root to `value`, for sentences; empty when there is none or it is the root.
std::string path_to(const Pickle& pickle, std::uint32_t value);

/// A key as a part of a path: text as it is, 3 as "3", None as "None", (1, 2) as "(1, 2)".
std::string key_text(const Pickle& pickle, std::uint32_t key);

}  // namespace heft::format
