#include "format/torch/entries.hpp"

#include <algorithm>
#include <array>
#include <memory>
#include <span>
#include <utility>

#include "format/view_checks.hpp"

namespace heft::format {
namespace {

constexpr std::size_t array_alignment = 64;

}  // namespace

void TorchEntries::add(std::string_view name, std::uint64_t tensor) {
  TorchTensor& source = objects_.tensors[static_cast<std::size_t>(tensor)];
  TensorEntry entry;
  entry.name = name;
  entry.dtype = source.dtype;
  entry.flags = source.flags;
  set_place(entry, source);
  set_layout(entry, source);
  catalog_.tensors.push_back(entry);
}

void TorchEntries::adopt_storage(std::uint32_t value) {
  PickleValue& pickled = objects_.pickle.values[value];
  if (pickled.variant == 0) return;  // not a storage
  TorchTensor tensor;
  tensor.value = value;
  tensor.use = static_cast<std::uint32_t>(pickled.first);
  const StorageUse& use = objects_.uses[tensor.use];
  // An untyped storage counts bytes, so it is a tensor of u8.
  const bool untyped = use.dtype == DType::unknown && use.dtype_name.empty();
  tensor.dtype = untyped ? DType::u8 : use.dtype;
  tensor.dtype_name = use.dtype_name;
  tensor.dims = static_cast<std::uint32_t>(objects_.dims.size());
  tensor.rank = 1;
  const DTypeInfo& row = info(tensor.dtype);
  // The size of the record, which check_tensors() has compared with the count.
  const std::uint64_t size = objects_.storages[use.storage].size;
  const std::uint64_t count = use.is_view ? use.view_count : size / row.block_bytes * row.block_elements;
  objects_.dims.insert(objects_.dims.end(), {static_cast<std::int64_t>(count), 1});
  // The value is rewritten in place, so that each path to it lists the same tensor.
  pickled.kind = PickleKind::tensor;
  pickled.first = objects_.tensors.size();
  objects_.tensors.push_back(tensor);
}

/// Sets the place of a NumPy array, whose bytes lie in the pickle or are decoded from it.
void TorchEntries::set_array(TensorEntry& entry, TorchTensor& tensor) {
  const PickleBlob& blob = objects_.pickle.blobs[tensor.blob];
  entry.size = blob.size;
  // The bytes lie in the file, or in the inflated pickle, as they are: the array is a view of them.
  if (blob.place != PickleBlob::Place::latin1 && blob.offset != PickleBlob::decoded) {
    entry.begin = place_.pickle_begin + blob.offset;
    entry.member = place_.pickle_member;
    return;
  }
  // An array that has several names becomes one member.
  if (tensor.member == none) {
    if (blob.place == PickleBlob::Place::latin1)
      add_spelled(entry.name, tensor, blob);
    else
      add_decoded(tensor, blob);
  }
  if (blob.place == PickleBlob::Place::latin1) entry.size = catalog_.members[tensor.member].full_size;
  entry.member = tensor.member;
  entry.begin = tensor.member_begin;
}

void TorchEntries::add_spelled(std::string_view name, TorchTensor& tensor, const PickleBlob& blob) {
  Member member{
      .begin = blob.offset, .size = blob.size, .name = name, .inside = place_.pickle_member, .is_latin1 = true};
  // In a deflated pickle offsets are those of the inflated bytes, else those of the file.
  if (place_.pickle_member == none) member.begin += place_.pickle_begin;
  // The decoded size follows from the shape; check_tensors() has checked it, so the product does not overflow.
  member.full_size = info(tensor.dtype).block_bytes;
  for (const std::int64_t size : std::span(objects_.dims).subspan(tensor.dims, tensor.rank))
    member.full_size *= static_cast<std::uint64_t>(size);
  tensor.member = static_cast<std::uint32_t>(catalog_.members.size());
  catalog_.members.push_back(member);
}

/// Adds a short array, which was decoded when the pickle was read, to the one member of all decoded arrays.
void TorchEntries::add_decoded(TorchTensor& tensor, const PickleBlob& blob) {
  if (decoded_member_ == none) {
    decoded_member_ = static_cast<std::uint32_t>(catalog_.members.size());
    catalog_.members.push_back({.name = "arrays of the pickle"});
  }
  // Each array starts at an aligned address, as long as the member's memory does.
  decoded_.resize((decoded_.size() + array_alignment - 1) / array_alignment * array_alignment);
  tensor.member = decoded_member_;
  tensor.member_begin = decoded_.size();
  decoded_ += blob.bytes;
}

void TorchEntries::finish() {
  if (decoded_member_ == none) return;
  // Only now: the text moves in memory while it grows, and views need its final place.
  const auto owner = std::make_shared<const std::string>(std::move(decoded_));
  Member& member = catalog_.members[decoded_member_];
  member.full_size = owner->size();
  member.made = Bytes(std::as_bytes(std::span(*owner)), owner);
}

void TorchEntries::set_place(TensorEntry& entry, TorchTensor& tensor) {
  entry.first = tensor.first;
  if (tensor.flags & no_data) return;
  if (tensor.use == none) return set_array(entry, tensor);
  const StorageUse& use = objects_.uses[tensor.use];
  const TorchStorage& storage = objects_.storages[use.storage];
  entry.begin = storage.begin;
  entry.size = storage.size;
  entry.member = storage.member;
  // Both are elements of the storage: the view's start in it, and the tensor's in the view.
  if (use.is_view) entry.first += use.view_first;
  if (place_.big_endian && info(tensor.dtype).swap_bytes > 1) entry.flags |= swapped;
}

void TorchEntries::set_layout(TensorEntry& entry, const TorchTensor& tensor) {
  const auto dims = std::span(objects_.dims).subspan(tensor.dims, std::size_t{tensor.rank} * 2);
  const auto sizes = dims.first(tensor.rank);
  const auto strides = dims.last(tensor.rank);
  const bool packed = is_row_major(sizes, strides);
  const std::uint32_t block = info(tensor.dtype).block_elements;
  if (tensor.dtype == DType::unknown) {
    // PyTorch stores such elements in a byte each. Raw bytes must be contiguous.
    if (!packed) return set_raw(entry, tensor.dtype_name);
    entry.type_name = type_name(tensor.dtype_name);
    entry.begin += entry.first;
    entry.first = 0;
    entry.size = 1;
    for (const std::int64_t size : sizes) entry.size *= static_cast<std::uint64_t>(size);
  } else if (tensor.dtype == DType::f4_e2m1) {
    // PyTorch's shape counts bytes of two elements each; heft's counts elements, as that of safetensors.
    if (!packed || sizes.empty()) return set_raw(entry, "float4_e2m1fn_x2");
    std::vector<std::int64_t> doubled(sizes.begin(), sizes.end());
    doubled.back() *= 2;
    entry.first *= 2;
    return catalog_.set_dims(entry, doubled);
  } else if (block > 1) {
    std::uint64_t count = 1;
    for (const std::int64_t size : sizes) count *= static_cast<std::uint64_t>(size);
    // A block is the smallest unit that a view can address: the tensor must start and end with whole ones.
    if (!packed || count % block != 0 || entry.first % block != 0)
      return set_raw(entry, tensor.dtype == DType::qu4x2 ? "quint4x2" : "quint2x4");
  }
  catalog_.set_dims(entry, sizes, packed ? std::span<const std::int64_t>() : strides);
}

/// Makes the entry raw bytes of its storage, with the type's name: for elements of under a byte that no view can
/// address.
void TorchEntries::set_raw(TensorEntry& entry, std::string_view dtype_name) {
  entry.dtype = DType::unknown;
  entry.type_name = type_name(dtype_name);
  entry.first = 0;
  const std::array<std::int64_t, 1> bytes{static_cast<std::int64_t>(entry.size)};
  catalog_.set_dims(entry, bytes);
}

std::uint32_t TorchEntries::type_name(std::string_view word) {
  core::Table<std::string_view>& names = catalog_.type_names;
  // A handful of names at most, so the search is linear.
  const auto known = std::find(names.begin(), names.end(), word);
  if (known != names.end()) return static_cast<std::uint32_t>(known - names.begin());
  names.push_back(catalog_.arena.store(word));
  return static_cast<std::uint32_t>(names.size() - 1);
}

}  // namespace heft::format
