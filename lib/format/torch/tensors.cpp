#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <limits>
#include <utility>

#include "core/checked.hpp"
#include "core/text.hpp"
#include "format/name_table.hpp"
#include "format/stored_numbers.hpp"
#include "format/torch/objects.hpp"
#include "format/torch/resolver.hpp"
#include "format/view_checks.hpp"
#include "heft/error.hpp"
#include "heft/shape.hpp"

namespace heft::format {
namespace {

// Returns true for the characters of PyTorch's storage keys: numbers, and names in files of other programs.
bool is_key_character(char c) noexcept {
  return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_' || c == '.' || c == '-';
}

/// Returns the number in `key`, decimal without leading zeros as PyTorch writes it, if it is below `bound`.
std::optional<std::size_t> key_number(std::string_view key, std::size_t bound) noexcept {
  std::size_t number = 0;
  const auto [end, error] = std::from_chars(key.data(), key.data() + key.size(), number);
  if (error != std::errc() || end != key.data() + key.size() || number >= bound) return std::nullopt;
  // "07" and "7" are different records of the zip, so they must not become one number.
  if (key.front() == '0' && key.size() > 1) return std::nullopt;
  return number;
}

/// Bound of nested _rebuild_from_type_v2 calls. No writer nests deeper; such calls stay opaque.
constexpr int max_wrapped = 8;

}  // namespace

// ---- storages

StorageUse TorchResolver::read_storage_id(Arguments id) const {
  // ('storage', class, key, location, elements), in older formats with a view as the sixth part. The location is a
  // device of the machine that saved, which does not matter here.
  if (id.size() < 5) corrupt(fmt::format("expected a storage id of 5 or 6 parts, found {}", id.size()));
  const PickleValue& type = pickle_[id[1]];
  if (type.kind != PickleKind::global || known_[type.count].kind != GlobalKind::storage)
    corrupt("expected a storage class in a storage id");
  const KnownGlobal& known = known_[type.count];
  if (pickle_.kind(id[2]) != PickleKind::text)
    corrupt(fmt::format("expected a storage key as a text, found a value of kind {}", name(pickle_.kind(id[2]))));
  StorageUse use;
  use.dtype = known.dtype;
  use.dtype_name = known.dtype_name;
  use.key = pickle_.text(id[2]);
  // The key becomes a part of a record's name in the zip, so it must not be a path.
  if (use.key.empty() || !std::all_of(use.key.begin(), use.key.end(), is_key_character) ||
      use.key.find("..") != use.key.npos)
    corrupt(fmt::format("'{}' is not a plain storage key", core::escaped(use.key)));
  use.count = unsigned_integer(id[4], "the number of elements of a storage");
  // None as the sixth part: the whole storage.
  if (id.size() < 6 || pickle_.kind(id[5]) == PickleKind::null) return use;
  const Arguments view = pickle_.children(id[5]);
  if (pickle_.kind(id[5]) != PickleKind::tuple || view.size() != 3)
    corrupt("expected a view of a storage as (key, offset, count)");
  use.is_view = true;
  use.view_first = unsigned_integer(view[1], "the offset of a view of a storage");
  use.view_count = unsigned_integer(view[2], "the number of elements of a view of a storage");
  // Both are elements of the storage's class.
  if (!core::inside(use.view_first, use.view_count, use.count))
    corrupt(fmt::format("a view of {} elements at {} in a storage of {}", use.view_count, use.view_first, use.count));
  return use;
}

/// Sets the storage of every use: one for each key. PyTorch numbers the keys of a zip, so most are found without
/// hashing.
void TorchResolver::group_storages() {
  core::Table<TorchStorage>& storages = objects_.storages;
  storages.reserve(objects_.uses.size());
  // There are at most as many storages as uses, so PyTorch's numbers are below their count; a larger one goes to the
  // table of names.
  std::vector<std::uint32_t> numbered(objects_.uses.size(), none);
  NameTable named;
  std::vector<std::uint32_t> by_name;  // storages of the keys in `named`
  for (std::uint32_t i = 0; i < objects_.uses.size(); ++i) {
    StorageUse& use = objects_.uses[i];
    const std::optional<std::size_t> number = key_number(use.key, numbered.size());
    std::uint32_t* place = number ? &numbered[*number] : nullptr;
    if (place == nullptr) {
      const NameTable::Place named_place = named.add(use.key);
      if (named_place.fresh) by_name.push_back(none);
      place = &by_name[named_place.index];
    }
    // The first mention defines the storage. check_tensors() requires that the others declare the same size.
    if (*place == none) {
      *place = static_cast<std::uint32_t>(storages.size());
      storages.push_back({.key = use.key, .use = i});
    }
    use.storage = *place;
  }
}

std::uint32_t TorchResolver::use_of(std::uint32_t value) {
  // Tars of newer programs have the id itself, not a persistent reference to it.
  const Arguments id = pickle_.children(value);
  if (table_ != nullptr && pickle_.kind(value) == PickleKind::tuple && !id.empty() &&
      pickle_.text(id[0]) == "storage") {
    StorageUse use = read_storage_id(id);
    use.value = current_;
    objects_.uses.push_back(use);
    return static_cast<std::uint32_t>(objects_.uses.size() - 1);
  }
  // Arguments come before their call, so a persistent value has been rewritten already; variant 1 is the mark of a
  // storage.
  if (pickle_.kind(value) != PickleKind::persistent || pickle_[value].variant == 0)
    corrupt(fmt::format("expected a storage, found a value of kind {}", name(pickle_.kind(value))));
  return static_cast<std::uint32_t>(pickle_[value].first);
}

// ---- numbers

std::uint64_t TorchResolver::unsigned_integer(std::uint32_t value, std::string_view what) const {
  const PickleValue& number = pickle_[value];
  if (number.kind != PickleKind::integer)
    corrupt(fmt::format("expected {} as an integer, found a value of kind {}", what, name(number.kind)));
  if (number.integer < 0) corrupt(fmt::format("expected {} of 0 or more, found {}", what, number.integer));
  return number.unsigned_integer;
}

/// The same for numbers that were stepped over. They are not unpacked: callers hold spans of Pickle::items.
std::size_t TorchResolver::read_dims(const SegmentedNumbers& numbers, std::string_view what) {
  core::require_limit(numbers.size(), options_.limits.rank, "rank of a tensor", "rank");
  if (numbers.dtype().find() != DType::i64) corrupt(fmt::format("expected {} as integers of 64 bits", what));
  for (std::size_t i = 0; i < numbers.segments().size(); ++i) {
    const NumberSegment& segment = numbers.segments()[i];
    const Bytes bytes = pickle_.input->read(segment.begin, segment.size);
    for (const Node& node : nodes_of(numbers.spelling(), bytes.span(), segment.begin, numbers.count_of(i)))
      objects_.dims.push_back(node.integer);
  }
  return static_cast<std::size_t>(numbers.size());
}

/// Appends the integers of a tuple to dims and returns their number.
std::size_t TorchResolver::read_dims(std::uint32_t value, std::string_view what) {
  const PickleKind kind = pickle_.container(value);
  if (kind != PickleKind::tuple && kind != PickleKind::list)
    corrupt(fmt::format("expected {} as a tuple, found a value of kind {}", what, name(kind)));
  if (pickle_.kind(value) == PickleKind::numbers) return read_dims(*pickle_.numbers(pickle_[value]), what);
  const Arguments numbers = pickle_.children(value);
  if (numbers.size() > options_.limits.rank)
    core::require_limit(numbers.size(), options_.limits.rank, "rank of a tensor", "rank");
  for (const std::uint32_t number : numbers) {
    if (pickle_.kind(number) != PickleKind::integer)
      corrupt(fmt::format("expected {} as integers, found a value of kind {}", what, name(pickle_.kind(number))));
    objects_.dims.push_back(pickle_[number].integer);
  }
  return numbers.size();
}

void TorchResolver::read_layout(TorchTensor& tensor, std::uint32_t sizes, std::uint32_t strides) {
  tensor.dims = static_cast<std::uint32_t>(objects_.dims.size());
  const std::size_t rank = read_dims(sizes, "sizes");
  // Sizes and strides lie side by side in `dims`, so one index finds both.
  const std::size_t stride_count = read_dims(strides, "strides");
  if (rank != stride_count) corrupt(fmt::format("a tensor of {} sizes and {} strides", rank, stride_count));
  tensor.rank = static_cast<std::uint8_t>(rank);
}

KnownGlobal TorchResolver::dtype_value(std::uint32_t value) const {
  const PickleValue& type = pickle_[value];
  if (type.kind == PickleKind::global && known_[type.count].kind == GlobalKind::dtype) return known_[type.count];
  corrupt(fmt::format("expected a dtype, found a value of kind {}", name(type.kind)));
}

void TorchResolver::require_arguments(const TorchCall& call, std::size_t count) const {
  if (call.arguments.size() < count)
    corrupt(fmt::format("expected {} or more arguments that rebuild a tensor, found {}", count, call.arguments.size()));
}

// ---- tensors

void TorchResolver::make_tensor(std::uint32_t value, TorchTensor tensor) {
  tensor.value = value;
  PickleValue made;
  made.kind = PickleKind::tensor;
  // Keeps the offset of the call's opcode, for errors about the tensor.
  made.count = pickle_[value].count;
  made.first = objects_.tensors.size();
  objects_.tensors.push_back(tensor);
  pickle_.values[value] = made;
}

/// Replaces a bare key, in a tar, by the tensor of the table beside the pickle.
void TorchResolver::make_tabled_tensor(std::uint32_t value, std::uint32_t key) {
  if (table_ == nullptr)
    corrupt(
        fmt::format("expected a persistent id of ('storage', ...), found a value of kind {}", name(pickle_.kind(key))));
  // Keys are integers in the pickle and in the table; both are compared as text.
  const auto found = table_->find(key_text(pickle_, key));
  if (found == table_->end())
    corrupt(fmt::format("no tensor '{}' in the table of tensors", core::escaped(key_text(pickle_, key))));
  const TabledTensor& tabled = found->second;
  TorchTensor tensor;
  tensor.use = static_cast<std::uint32_t>(objects_.uses.size());
  // A use for each mention: its `value` names the tensor in errors about the storage.
  objects_.uses.push_back(tabled.use);
  objects_.uses.back().value = value;
  tensor.dtype = tabled.dtype;
  tensor.first = tabled.first;
  tensor.dims = static_cast<std::uint32_t>(objects_.dims.size());
  tensor.rank = static_cast<std::uint8_t>(tabled.sizes.size());
  objects_.dims.insert(objects_.dims.end(), tabled.sizes.begin(), tabled.sizes.end());
  objects_.dims.insert(objects_.dims.end(), tabled.strides.begin(), tabled.strides.end());
  make_tensor(value, tensor);
}

/// Reads {'conj': True, 'neg': True}: the value is the conjugate or the negative of the bytes.
void TorchResolver::read_lazy_bits(TorchTensor& tensor, std::uint32_t metadata) const {
  if (pickle_.kind(metadata) == PickleKind::null) return;
  if (pickle_.kind(metadata) != PickleKind::dict) corrupt("expected a tensor's metadata as a dict");
  // True is one of the constants of every pickle, so comparing indices suffices.
  const auto set = [&](std::string_view key) { return entry(metadata, key) == Pickle::yes; };
  if (set("conj")) tensor.flags |= conjugated;
  if (set("neg")) tensor.flags |= negated;
}

/// Makes a tensor from the arguments of _rebuild_tensor (storage, offset, size, stride), _v2 (+ requires_grad, hooks,
/// metadata) or _v3 (a dtype before the metadata).
void TorchResolver::rebuild(const TorchCall& call, std::uint32_t metadata_at, std::optional<KnownGlobal> dtype) {
  const Arguments arguments = call.arguments;
  TorchTensor tensor;
  tensor.use = use_of(arguments[0]);
  const StorageUse& use = objects_.uses[tensor.use];
  // Only _v3 has a dtype of its own, for types without a storage class; its storage is then untyped.
  tensor.dtype = dtype ? dtype->dtype : use.dtype;
  tensor.dtype_name = dtype ? dtype->dtype_name : use.dtype_name;
  if (tensor.dtype == DType::unknown && tensor.dtype_name.empty())
    corrupt("a tensor of an untyped storage without a dtype");
  tensor.first = unsigned_integer(arguments[1], "the offset of a tensor");
  read_layout(tensor, arguments[2], arguments[3]);
  // Older versions of PyTorch wrote no metadata.
  if (metadata_at != 0 && arguments.size() > metadata_at) read_lazy_bits(tensor, arguments[metadata_at]);
  make_tensor(call.value, tensor);
}

/// Makes a tensor as before 0.4: an object of class torch.FloatTensor with the state (storage, offset, sizes, strides).
void TorchResolver::rebuild_from_state(std::uint32_t value, const KnownGlobal& known, Arguments state) {
  if (state.size() < 4) corrupt("expected a tensor's state as (storage, offset, sizes, strides)");
  TorchTensor tensor;
  tensor.use = use_of(state[0]);
  tensor.dtype = known.dtype;
  tensor.first = unsigned_integer(state[1], "the offset of a tensor");
  read_layout(tensor, state[2], state[3]);
  make_tensor(value, tensor);
}

void TorchResolver::rebuild_meta(const TorchCall& call) {
  TorchTensor tensor;
  const KnownGlobal dtype = dtype_value(call.arguments[0]);
  tensor.dtype = dtype.dtype;
  tensor.dtype_name = dtype.dtype_name;
  // A meta tensor has sizes and a dtype and no storage at all.
  tensor.flags = no_data;
  read_layout(tensor, call.arguments[1], call.arguments[2]);
  make_tensor(call.value, tensor);
}

/// Checks scales, zero points and axis: requires one scale and zero point for every index along the axis.
void TorchResolver::require_channels(std::uint32_t integers, std::span<const std::uint32_t, 3> quantizer) const {
  const TorchTensor& tensor = objects_.tensors[static_cast<std::size_t>(pickle_[integers].first)];
  const std::uint64_t axis = unsigned_integer(quantizer[2], "the axis of a quantizer");
  if (axis >= tensor.rank) corrupt(fmt::format("a quantizer along axis {} of a tensor of {} sizes", axis, tensor.rank));
  const std::int64_t channels = objects_.dims[tensor.dims + static_cast<std::size_t>(axis)];
  for (const std::uint32_t part : quantizer.first<2>()) {
    if (pickle_.kind(part) != PickleKind::tensor)
      corrupt("expected the scales and zero points of a quantizer as tensors");
    const TorchTensor& numbers = objects_.tensors[static_cast<std::size_t>(pickle_[part].first)];
    if (numbers.rank != 1 || objects_.dims[numbers.dims] != channels)
      corrupt(fmt::format("expected scales and zero points for {} channels, found other sizes", channels));
  }
}

/// Makes a map of the integers, as a tensor, and the parameters from (storage, offset, size, stride, (qscheme, scale,
/// zero point) or (qscheme, scales, zero points, axis), ...). Nothing is dequantized here.
void TorchResolver::rebuild_quantized(const TorchCall& call) {
  const std::uint32_t quantizer = call.arguments[4];
  if (pickle_.kind(quantizer) != PickleKind::tuple) corrupt("expected a quantizer as a tuple");
  // Copied: adding values and items below can move the tables that spans point into.
  const std::vector<std::uint32_t> parts(pickle_.children(quantizer).begin(), pickle_.children(quantizer).end());
  if (parts.size() < 3 || parts.size() > 4)
    corrupt(fmt::format("expected a quantizer of 3 or 4 parts, found {}", parts.size()));
  const auto integers = static_cast<std::uint32_t>(pickle_.values.size());
  // The integers need a value of their own, because the call becomes the record that contains them. The copy is
  // rewritten as a tensor.
  pickle_.values.push_back(pickle_[call.value]);
  TorchCall payload = call;
  payload.value = integers;
  rebuild(payload, 0, std::nullopt);
  // The number of parts distinguishes the two kinds of quantizer, as in PyTorch.
  const bool by_channel = parts.size() == 4;
  if (by_channel) require_channels(integers, std::span(parts).subspan<1, 3>());
  std::vector<std::pair<std::string_view, std::uint32_t>> entries{
      {"int_repr", integers},
      {"qscheme", parts[0]},
      {by_channel ? "scales" : "scale", parts[1]},
      {by_channel ? "zero_points" : "zero_point", parts[2]}};
  if (by_channel) entries.emplace_back("axis", parts[3]);
  make_record(call.value, TorchWord::quantized, entries);
}

/// Makes a map from (layout, (indices, values, size, ...)) or (layout, (compressed, plain, values, size)).
bool TorchResolver::rebuild_sparse(const TorchCall& call) {
  if (call.arguments.size() != 2 || pickle_.kind(call.arguments[1]) != PickleKind::tuple)
    corrupt("expected a sparse tensor as (layout, (parts...))");
  const std::uint32_t layout = call.arguments[0];
  const std::string_view word = pickle_.text(layout);
  const std::vector<std::uint32_t> parts(pickle_.children(call.arguments[1]).begin(),
                                         pickle_.children(call.arguments[1]).end());
  const bool by_rows = word == "torch.sparse_csr" || word == "torch.sparse_bsr";
  const bool by_columns = word == "torch.sparse_csc" || word == "torch.sparse_bsc";
  if (word == "torch.sparse_coo") {
    if (parts.size() < 3) corrupt("expected a sparse tensor of indices, values and size");
    std::vector<std::pair<std::string_view, std::uint32_t>> entries{
        {"layout", layout}, {"size", parts[2]}, {"indices", parts[0]}, {"values", parts[1]}};
    if (parts.size() > 3) entries.emplace_back("is_coalesced", parts[3]);
    make_record(call.value, TorchWord::sparse, entries);
    return true;
  }
  // A layout of a later PyTorch: the call stays opaque, its tensors stay reachable.
  if (!by_rows && !by_columns) return false;
  if (parts.size() != 4) corrupt(fmt::format("expected a compressed sparse tensor of 4 parts, found {}", parts.size()));
  const std::array<std::pair<std::string_view, std::uint32_t>, 5> entries{
      {{"layout", layout},
       {"size", parts[3]},
       {by_rows ? "crow_indices" : "ccol_indices", parts[0]},
       {by_rows ? "col_indices" : "row_indices", parts[1]},
       {"values", parts[2]}}};
  make_record(call.value, TorchWord::sparse, entries);
  return true;
}

bool TorchResolver::holds_entries(std::uint32_t state) const {
  if (state == Pickle::absent) return false;
  // PyTorch writes an empty dict for a tensor without attributes, which loses nothing.
  if (is_dict(state)) return pickle_[state].count != 0;
  const Arguments parts = pickle_.kind(state) == PickleKind::tuple ? pickle_.children(state) : Arguments();
  return std::any_of(parts.begin(), parts.end(),
                     [&](std::uint32_t part) { return is_dict(part) && pickle_[part].count != 0; });
}

/// Replaces a call with (function, type, arguments, state) by the one that makes the tensor, function(*arguments),
/// without type and state, which are the Python class and its attributes. Returns false if the function is not a name.
bool TorchResolver::unwrap(TorchCall& call, bool& has_attributes) const {
  for (int wrapped = 0; call.known.kind == GlobalKind::rebuild_from_type; ++wrapped) {
    require_arguments(call, 3);
    // (function, type, arguments, state)
    const PickleValue& function = pickle_[call.arguments[0]];
    if (wrapped == max_wrapped || function.kind != PickleKind::global ||
        pickle_.kind(call.arguments[2]) != PickleKind::tuple)
      return false;
    const std::uint32_t state = call.arguments.size() > 3 ? call.arguments[3] : Pickle::absent;
    call.known = known_[function.count];
    // The state of a wrapper contains its tensors.
    if (call.known.kind == GlobalKind::rebuild_wrapper)
      call.state = state;
    else
      has_attributes |= holds_entries(state);
    call.arguments = pickle_.children(call.arguments[2]);
  }
  // (tensor, requires_grad, hooks, state)
  has_attributes |=
      call.known.kind == GlobalKind::rebuild_parameter && call.arguments.size() > 3 && holds_entries(call.arguments[3]);
  return true;
}

/// Replaces a call that rebuilds a tensor. Returns false if it stays opaque.
bool TorchResolver::rewrite_tensor(TorchCall call) {
  bool has_attributes = false;
  // Noted after success only: an opaque call keeps its attributes.
  if (!unwrap(call, has_attributes) || !rewrite_plain_tensor(call)) return false;
  if (has_attributes) objects_.with_attributes.push_back(call.value);
  return true;
}

bool TorchResolver::rewrite_plain_tensor(const TorchCall& call) {
  const Arguments arguments = call.arguments;
  switch (call.known.kind) {
    // The number is the position of the metadata in the arguments; 0 stands for none.
    case GlobalKind::rebuild_tensor: require_arguments(call, 4), rebuild(call, 0, std::nullopt); return true;
    case GlobalKind::rebuild_tensor_v2: require_arguments(call, 4), rebuild(call, 6, std::nullopt); return true;
    case GlobalKind::rebuild_tensor_v3:
      require_arguments(call, 7), rebuild(call, 7, dtype_value(arguments[6]));
      return true;
    case GlobalKind::rebuild_meta: require_arguments(call, 3), rebuild_meta(call); return true;
    case GlobalKind::rebuild_quantized: require_arguments(call, 5), rebuild_quantized(call); return true;
    case GlobalKind::rebuild_sparse:
    case GlobalKind::rebuild_sparse_csr: return rebuild_sparse(call);
    case GlobalKind::rebuild_wrapper: return rebuild_wrapper(call);
    case GlobalKind::rebuild_nested: {
      require_arguments(call, 4);
      const std::array<std::pair<std::string_view, std::uint32_t>, 4> entries{
          {{"buffer", arguments[0]}, {"sizes", arguments[1]}, {"strides", arguments[2]}, {"offsets", arguments[3]}}};
      make_record(call.value, TorchWord::nested, entries);
      return true;
    }
    case GlobalKind::rebuild_parameter:
    case GlobalKind::rebuild_from_cpu:
    case GlobalKind::rebuild_from_numpy: require_arguments(call, 1), alias(call.value, arguments[0]); return true;
    case GlobalKind::tensor_class:
      if (call.state == Pickle::absent) return false;
      rebuild_from_state(call.value, call.known, pickle_.children(call.state));
      return true;
    case GlobalKind::parameter: {
      // Parameter(tensor, ...) in protocol 2, Parameter with the state (tensor, ...) before.
      const Arguments source = !arguments.empty()             ? arguments
                               : call.state != Pickle::absent ? pickle_.children(call.state)
                                                              : Arguments();
      if (source.empty() || pickle_.kind(source[0]) != PickleKind::tensor) return false;
      alias(call.value, source[0]);
      return true;
    }
    default: return false;
  }
}

// ---- checks

std::uint64_t storage_bytes(const StorageUse& use, std::uint64_t count) {
  // PyTorch counts elements of under a byte in bytes.
  return core::mul_or_throw(count, info(use.dtype).block_bytes, "the size of a storage");
}

namespace {

/// Returns true if `size` is the size for a count of elements of under a byte, as other programs write it.
bool counts_elements(const StorageUse& use, std::uint64_t size) {
  const DTypeInfo& row = info(use.dtype);
  // Rounded up without adding first, because the count can be close to 2^64.
  const std::uint64_t blocks = use.count / row.block_elements + (use.count % row.block_elements != 0);
  return row.block_elements > 1 && core::checked_mul(blocks, row.block_bytes) == size;
}

// Requires a place for the storage, with the size that this mention declares.
void check_storage(const TorchObjects& objects, const StorageUse& use) {
  const TorchStorage& storage = objects.storages[use.storage];
  // The container found no record, or no entry of the stream, for this key.
  if (!storage.placed)
    throw Error(ErrorCode::corrupt, fmt::format("{}: no bytes for storage '{}'", objects.what, core::escaped(use.key)));
  // Each mention is checked: two classes of different width can share a storage if the bytes agree.
  const std::uint64_t expected = storage_bytes(use, use.count);
  if (expected != storage.size && !counts_elements(use, storage.size))
    throw Error(ErrorCode::corrupt,
                fmt::format("{}: storage '{}': expected {} elements of {} in {} bytes, found {} bytes", objects.what,
                            core::escaped(use.key), use.count, info(use.dtype).name, expected, storage.size),
                {.offset = storage.begin});
}

/// Requires that the bytes are exactly those of the array. Text has one or two for each byte, and is not read here.
void check_array(const TorchTensor& tensor, std::span<const std::int64_t> sizes, std::span<const std::int64_t> strides,
                 const PickleBlob& blob) {
  if (blob.place != PickleBlob::Place::latin1)
    return require_view(tensor.dtype, sizes, strides, tensor.first, blob.size);
  const std::uint64_t expected = bytes_for(tensor.dtype, Shape(sizes));
  // A byte below 128 takes one byte of UTF-8, any other two. The exact number is known when the text is decoded.
  if (expected <= blob.size && blob.size <= core::mul_or_throw(expected, 2, "bytes of text")) return;
  throw Error(ErrorCode::corrupt,
              fmt::format("expected an array of {} bytes, spelled as text in that many or twice as many, found {}",
                          expected, blob.size),
              {.offset = blob.offset});
}

// Requires that the tensor lies inside its storage or its array.
void check_tensor(const TorchObjects& objects, const TorchTensor& tensor, const Limits& limits) {
  const auto dims = std::span(objects.dims).subspan(tensor.dims, std::size_t{tensor.rank} * 2);
  const auto sizes = dims.first(tensor.rank);
  const auto strides = dims.last(tensor.rank);
  require_shape(sizes, limits);
  // Large enough for every view and small enough that its elements can be counted in 64 bits.
  constexpr std::uint64_t anything = std::numeric_limits<std::int64_t>::max() / 256;
  if (tensor.flags & no_data) return require_view(tensor.dtype, sizes, strides, 0, anything);
  // PyTorch counts elements of float4_e2m1fn_x2 in bytes.
  const DType unit = tensor.dtype == DType::f4_e2m1 ? DType::u8 : tensor.dtype;
  if (tensor.use == none) return check_array(tensor, sizes, strides, objects.pickle.blobs[tensor.blob]);
  const StorageUse& use = objects.uses[tensor.use];
  // A view of a storage is itself the bound: its tensors must not reach past it into the rest of the storage.
  const std::uint64_t size = use.is_view ? storage_bytes(use, use.view_count) : objects.storages[use.storage].size;
  require_view(unit, sizes, strides, tensor.first, size);
}

}  // namespace

void check_tensors(const TorchObjects& objects, const Limits& limits) {
  // The value that is being checked. Its path is computed only for an error, because that takes linear time.
  std::uint32_t at = none;
  try {
    for (const StorageUse& use : objects.uses) {
      at = use.value;
      check_storage(objects, use);
    }
    for (const TorchTensor& tensor : objects.tensors) {
      at = tensor.value;
      check_tensor(objects, tensor, limits);
    }
  } catch (const Error& error) {
    throw error.with_tensor(path_to(objects.pickle, at));
  }
}

}  // namespace heft::format
