// format/torch/distributed_index.cpp: reader of the index of a distributed checkpoint, FOLDER/.metadata, which
// torch.distributed.checkpoint writes (for FSDP, Megatron-Core, Lightning and others). It is a pickle of one object:
//
//   Metadata
//     state_dict_metadata   {name: TensorStorageMetadata or BytesStorageMetadata}
//     storage_data          {MetadataIndex(fqn, offset, index): _StorageInfo(relative_path, offset, length)}
//
//   TensorStorageMetadata   properties (a dtype first), size, chunks: [ChunkStorageMetadata(offsets, sizes)]
//   BytesStorageMetadata    no attributes: any object, pickled
//
// A chunk is a box of its tensor. The bytes at (relative_path, offset, length) are a file of torch.save that holds the
// chunk as a tensor, or the object; or the whole of relative_path is a safetensors file. Objects are recognized by
// their attributes, not by their classes, because subclasses of Metadata exist.
#include <fmt/format.h>

#include <algorithm>
#include <optional>
#include <string>
#include <tuple>
#include <vector>

#include "core/checked.hpp"
#include "core/cursor.hpp"
#include "core/text.hpp"
#include "format/formats.hpp"
#include "format/name_table.hpp"
#include "format/torch/globals.hpp"
#include "format/torch/objects.hpp"
#include "format/view_checks.hpp"
#include "heft/error.hpp"

namespace heft::format {
namespace {

constexpr std::string_view first_key = "state_dict_metadata";
constexpr std::size_t key_reach = 512;  // PROTO, FRAME and the class precede it

bool matches(std::span<const std::byte> head, std::uint64_t) noexcept {
  // PROTO and a protocol from 2 to 5, then an attribute's name within the first objects.
  if (head.size() < 2 || head[0] != std::byte{0x80} || head[1] < std::byte{2} || head[1] > std::byte{5}) return false;
  const std::string_view text(reinterpret_cast<const char*>(head.data()), std::min(head.size(), key_reach));
  return text.find(first_key) != text.npos;
}

/// The entry of storage_data for one chunk or object.
struct Stored {
  std::uint32_t owner = none;    // number of its name
  std::vector<std::int64_t> at;  // offsets of a chunk
  std::uint32_t shard = none;
  std::uint64_t begin = 0;
  std::uint64_t size = 0;

  bool operator<(const Stored& other) const { return std::tie(owner, at) < std::tie(other.owner, other.at); }
};

class DcpIndex {
 public:
  DcpIndex(const core::Input& input, const ReadOptions& options) : input_(input), options_(options) {}

  Catalog read();

 private:
  [[noreturn]] void fail(ErrorCode code, std::string message) const;
  std::uint32_t attribute(std::uint32_t object, std::string_view name) const;
  std::uint32_t require_attribute(std::uint32_t object, std::string_view name) const;
  std::vector<std::int64_t> dims(std::uint32_t value, std::string_view what) const;
  std::uint64_t unsigned_integer(std::uint32_t value, std::string_view what) const;
  std::string_view text(std::uint32_t value, std::string_view what) const;
  void read_storage(std::uint32_t dict);
  Stored read_stored(std::uint32_t key, std::uint32_t value);
  void read_entries(std::uint32_t dict);
  void read_tensor(std::uint32_t owner, std::uint32_t object, std::uint32_t chunks);
  void set_dtype(TensorEntry& whole, std::uint32_t properties);
  void add_tile(const Tiled& tiled, std::uint32_t owner, std::uint32_t chunk);
  void add_embedded(std::uint32_t owner);
  const Stored* take(std::uint32_t owner, const std::vector<std::int64_t>& at);

  const core::Input& input_;
  const ReadOptions& options_;
  std::optional<TorchObjects> objects_;
  const Pickle* pickle_ = nullptr;
  NameTable names_;
  NameTable files_;
  std::vector<Stored> stored_;  // sorted
  std::vector<bool> is_used_;   // of each of them
  std::string_view current_;    // the current name, for errors
  Catalog catalog_{input_.budget()};
};

void DcpIndex::fail(ErrorCode code, std::string message) const {
  throw Error(code, std::move(message), {.tensor = std::string(current_), .offset = pickle_->begin});
}

/// Returns the value of an object's attribute, or Pickle::absent.
std::uint32_t DcpIndex::attribute(std::uint32_t object, std::string_view name) const {
  const PickleValue& value = (*pickle_)[object];
  if (value.kind != PickleKind::call) return Pickle::absent;
  const std::uint32_t state = pickle_->part(value, call_state);
  // Dataclasses are pickled with their attributes as a dict.
  if (state == Pickle::absent || pickle_->kind(state) != PickleKind::dict) return Pickle::absent;
  const auto pairs = pickle_->children(state);
  for (std::size_t i = 0; i + 1 < pairs.size(); i += 2)
    if (pickle_->text(pairs[i]) == name) return pairs[i + 1];
  return Pickle::absent;
}

std::uint32_t DcpIndex::require_attribute(std::uint32_t object, std::string_view name) const {
  const std::uint32_t value = attribute(object, name);
  if (value == Pickle::absent)
    fail(ErrorCode::corrupt, fmt::format("expected an object with the attribute '{}'", name));
  return value;
}

std::vector<std::int64_t> DcpIndex::dims(std::uint32_t value, std::string_view what) const {
  const PickleKind kind = pickle_->kind(value);
  if (kind != PickleKind::tuple && kind != PickleKind::list)
    fail(ErrorCode::corrupt, fmt::format("expected {} as a tuple, found a value of kind {}", what, name(kind)));
  std::vector<std::int64_t> numbers;
  for (const std::uint32_t item : pickle_->children(value))
    // The value fits: PickleKind::integer is within 64 bits with a sign.
    numbers.push_back(static_cast<std::int64_t>(unsigned_integer(item, what)));
  core::require_limit(numbers.size(), options_.limits.rank, what, "rank");
  return numbers;
}

std::uint64_t DcpIndex::unsigned_integer(std::uint32_t value, std::string_view what) const {
  const PickleValue& number = (*pickle_)[value];
  if (number.kind != PickleKind::integer || number.integer < 0)
    fail(ErrorCode::corrupt,
         fmt::format("expected {} as an integer of 0 or more, found a value of kind {}", what, name(number.kind)));
  return number.unsigned_integer;
}

std::string_view DcpIndex::text(std::uint32_t value, std::string_view what) const {
  if (pickle_->kind(value) != PickleKind::text)
    fail(ErrorCode::corrupt,
         fmt::format("expected {} as a text, found a value of kind {}", what, name(pickle_->kind(value))));
  return pickle_->text(value);
}

// ---- storage_data ----

Stored DcpIndex::read_stored(std::uint32_t key, std::uint32_t value) {
  Stored stored;
  // Names are numbered, so that chunks are compared by a number and their place.
  stored.owner = names_.add(text(require_attribute(key, "fqn"), "the name of a chunk")).index;
  current_ = names_.names()[stored.owner];
  const std::uint32_t at = attribute(key, "offset");
  // Objects have no offsets; their place is an empty list.
  if (at != Pickle::absent && pickle_->kind(at) != PickleKind::null) stored.at = dims(at, "the place of a chunk");
  // Each file once, in the order of its first mention: its number is the shard's.
  const NameTable::Place file = files_.add(text(require_attribute(value, "relative_path"), "the file of a chunk"));
  if (file.fresh) {
    core::require_limit(files_.names().size(), options_.limits.shards, "the number of files", "shards");
    catalog_.shards.push_back(files_.names().back());
  }
  stored.shard = file.index;
  stored.begin = unsigned_integer(require_attribute(value, "offset"), "the offset of a chunk");
  stored.size = unsigned_integer(require_attribute(value, "length"), "the length of a chunk");
  // Extensions compress or encrypt the bytes of a chunk; the list names each that was applied.
  const std::uint32_t transforms = attribute(value, "transform_descriptors");
  if (transforms != Pickle::absent && !pickle_->children(transforms).empty())
    fail(ErrorCode::unsupported,
         fmt::format("its bytes are transformed ('{}'), which heft does not undo: save without extensions",
                     core::escaped(key_text(*pickle_, pickle_->children(transforms)[0]))));
  return stored;
}

void DcpIndex::read_storage(std::uint32_t dict) {
  if (pickle_->kind(dict) != PickleKind::dict) fail(ErrorCode::corrupt, "expected storage_data as a dict");
  const auto pairs = pickle_->children(dict);
  stored_.reserve(pairs.size() / 2);
  for (std::size_t i = 0; i < pairs.size(); i += 2) stored_.push_back(read_stored(pairs[i], pairs[i + 1]));
  // Sorted for take(), which looks up each chunk by its name and offsets.
  std::sort(stored_.begin(), stored_.end());
  is_used_.resize(stored_.size());
  for (std::size_t i = 1; i < stored_.size(); ++i) {
    // Sorted, so two neighbours that are not in strict order are equal.
    if (stored_[i - 1] < stored_[i]) continue;
    current_ = names_.names()[stored_[i].owner];
    fail(ErrorCode::ambiguous, "two places are declared for one chunk");
  }
  current_ = {};
}

/// Returns the entry of a chunk, or null.
const Stored* DcpIndex::take(std::uint32_t owner, const std::vector<std::int64_t>& at) {
  const auto found = std::lower_bound(stored_.begin(), stored_.end(), Stored{.owner = owner, .at = at});
  if (found == stored_.end() || found->owner != owner || found->at != at) return nullptr;
  // Entries that nothing takes are counted in a note.
  is_used_[static_cast<std::size_t>(found - stored_.begin())] = true;
  return &*found;
}

// ---- tensors and objects ----

void DcpIndex::read_entries(std::uint32_t dict) {
  if (pickle_->kind(dict) != PickleKind::dict) fail(ErrorCode::corrupt, "expected state_dict_metadata as a dict");
  const auto pairs = pickle_->children(dict);
  core::require_limit(pairs.size() / 2, options_.limits.tensors, "the number of tensors and values", "tensors");
  std::vector<bool> seen;
  for (std::size_t i = 0; i < pairs.size(); i += 2) {
    const std::uint32_t owner = names_.add(text(pairs[i], "a name")).index;
    current_ = names_.names()[owner];
    core::require_limit(current_.size(), options_.limits.name_bytes, "bytes of a name", "name_bytes");
    // Numbers come from storage_data and from here, so they are not those of this loop.
    seen.resize(std::max<std::size_t>(seen.size(), owner + std::size_t{1}));
    if (seen[owner]) fail(ErrorCode::ambiguous, "the name is declared twice");
    seen[owner] = true;
    // Only tensors have chunks; BytesStorageMetadata has no attributes.
    const std::uint32_t chunks = attribute(pairs[i + 1], "chunks");
    if (chunks == Pickle::absent)
      add_embedded(owner);
    else
      read_tensor(owner, pairs[i + 1], chunks);
  }
  current_ = {};
}

void DcpIndex::add_embedded(std::uint32_t owner) {
  // An object has no offsets: its key has an empty place.
  const Stored* stored = take(owner, {});
  if (stored == nullptr) fail(ErrorCode::corrupt, "the value is declared, and no place for its bytes");
  catalog_.embedded.push_back({current_, stored->shard, stored->begin, stored->size});
}

/// Sets the dtype from TensorProperties, which is pickled as a tuple with the dtype first.
void DcpIndex::set_dtype(TensorEntry& whole, std::uint32_t properties) {
  std::uint32_t value = attribute(properties, "dtype");
  // TensorProperties defines __getstate__, which returns a tuple with the dtype first; older versions pickle a dict.
  if (const PickleValue& object = (*pickle_)[properties]; value == Pickle::absent && object.kind == PickleKind::call) {
    const std::uint32_t state = pickle_->part(object, call_state);
    const std::uint32_t parts = state == Pickle::absent ? pickle_->part(object, call_arguments) : state;
    if (const auto items = pickle_->children(parts); !items.empty()) value = items[0];
  }
  if (value == Pickle::absent || pickle_->kind(value) != PickleKind::global)
    fail(ErrorCode::corrupt, "expected the properties of a tensor with its dtype");
  const KnownGlobal known = known_global(pickle_->global((*pickle_)[value]));
  if (known.kind != GlobalKind::dtype) fail(ErrorCode::corrupt, "expected a dtype of PyTorch");
  whole.dtype = known.dtype;
  if (known.dtype == DType::unknown) catalog_.set_unknown_dtype(whole, known.dtype_name);
}

void DcpIndex::read_tensor(std::uint32_t owner, std::uint32_t object, std::uint32_t chunks) {
  Tiled tiled;
  tiled.whole.name = current_;
  const std::vector<std::int64_t> sizes = dims(require_attribute(object, "size"), "the size of a tensor");
  try {
    require_shape(sizes, options_.limits);
  } catch (const Error& error) {
    fail(error.code(), error.message());
  }
  catalog_.set_dims(tiled.whole, sizes);
  set_dtype(tiled.whole, require_attribute(object, "properties"));
  tiled.first_tile = static_cast<std::uint32_t>(catalog_.tiles.size());
  if (pickle_->kind(chunks) != PickleKind::list && pickle_->kind(chunks) != PickleKind::tuple)
    fail(ErrorCode::corrupt, "expected the chunks of a tensor as a list");
  // The record room checks that the boxes cover the tensor, for all kinds of tiles alike.
  for (const std::uint32_t chunk : pickle_->children(chunks)) add_tile(tiled, owner, chunk);
  tiled.tile_count = static_cast<std::uint32_t>(catalog_.tiles.size()) - tiled.first_tile;
  catalog_.tiled.push_back(tiled);
}

void DcpIndex::add_tile(const Tiled& tiled, std::uint32_t owner, std::uint32_t chunk) {
  const std::vector<std::int64_t> at = dims(require_attribute(chunk, "offsets"), "the offsets of a chunk");
  const std::vector<std::int64_t> sizes = dims(require_attribute(chunk, "sizes"), "the sizes of a chunk");
  if (at.size() != tiled.whole.rank || sizes.size() != tiled.whole.rank)
    fail(ErrorCode::corrupt,
         fmt::format("expected chunks of {} dims, found one of {} at {}", tiled.whole.rank, sizes.size(), at.size()));
  const Stored* stored = take(owner, at);
  // An empty chunk and its neighbour can have the same offsets, and so the same key of storage_data.
  if (std::find(sizes.begin(), sizes.end(), 0) != sizes.end()) return;
  if (stored == nullptr)
    fail(ErrorCode::corrupt, fmt::format("no place is declared for the bytes of the chunk at {}", to_string(Dims(at))));
  const Tile tile{.shard = stored->shard,
                  .dims = static_cast<std::uint32_t>(catalog_.dims.size()),
                  .begin = stored->begin,
                  .size = stored->size};
  catalog_.dims.insert(catalog_.dims.end(), at.begin(), at.end());
  catalog_.dims.insert(catalog_.dims.end(), sizes.begin(), sizes.end());
  core::require_format_bound(catalog_.dims.size(), none - 1, "the number of dims of all chunks");
  catalog_.tiles.push_back(tile);
}

Catalog DcpIndex::read() {
  if (!options_.torch.top_level_key.empty())
    throw Error(ErrorCode::type_mismatch,
                "top_level_key: the names of a distributed checkpoint are flat, there is no key to choose");
  core::Cursor cursor(input_);
  objects_ =
      interpret(read_pickle(cursor, options_.limits, "the checkpoint's index"), options_, "the checkpoint's index");
  pickle_ = &objects_->pickle;
  if (cursor.remaining() != 0)
    throw Error(ErrorCode::corrupt, fmt::format("{} bytes after the index's STOP", cursor.remaining()),
                {.offset = cursor.offset()});
  catalog_.format = torch_dcp_format.name;
  // Only for the description; versions before it was introduced have none.
  const std::uint32_t version = attribute(pickle_->root, "version");
  catalog_.detail = version != Pickle::absent && pickle_->kind(version) == PickleKind::text
                        ? fmt::format("distributed checkpoint, version {}", core::escaped(pickle_->text(version), 40))
                        : std::string("distributed checkpoint");
  const std::uint32_t storage = require_attribute(pickle_->root, "storage_data");
  if (pickle_->kind(storage) == PickleKind::null)
    fail(ErrorCode::corrupt, "expected storage_data, found None: the save did not finish");
  // Places first: the entries look up theirs.
  read_storage(storage);
  read_entries(require_attribute(pickle_->root, first_key));
  if (const auto unused = std::count(is_used_.begin(), is_used_.end(), false); unused > 0)
    catalog_.notes.push_back(fmt::format("{} stored chunks belong to nothing that the index declares", unused));
  for (Bytes& bytes : objects_->pickle.kept) catalog_.kept.push_back(std::move(bytes));
  catalog_.kept.emplace_back(std::span<const std::byte>(),
                             std::make_shared<core::Arena>(std::move(objects_->pickle.arena)));
  return std::move(catalog_);
}

Catalog read(const core::Input& input, const ReadOptions& options) { return DcpIndex(input, options).read(); }

}  // namespace

constinit const Format torch_dcp_format{
    .name = "torch-dcp",
    .suffixes = ".metadata",
    .family = Family::torch,
    .may_lack_byte_order = true,
    .reads = "torch.distributed.checkpoint folders: tensors in pieces, pickled values as records; nothing is executed",
    .matches = matches,
    .read = read,
};

}  // namespace heft::format
