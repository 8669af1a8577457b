// format/catalog.hpp: the tensors, metadata and values that one file declares. A format makes it from the file's bytes
// without reading payload; the record room reads it.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "core/table.hpp"
#include "core/text.hpp"
#include "heft/bytes.hpp"
#include "heft/dtype.hpp"
#include "heft/shape.hpp"

namespace heft::format {

class InflatePoints;
class NumberBytes;
class NumberLists;

inline constexpr std::uint32_t none = 0xFFFFFFFF;  ///< "no index" in every table of a Catalog.

/// Properties of a tensor's bytes; combined in TensorEntry::flags.
enum TensorFlag : std::uint8_t {
  strided = 1,     ///< Catalog::dims has strides after the sizes; otherwise the tensor is packed row-major.
  swapped = 2,     ///< Big-endian payload: as<T>() refuses, materialize swaps.
  conjugated = 4,  ///< PyTorch's lazy conj bit: the value is the conjugate of the bytes.
  negated = 8,     ///< PyTorch's lazy neg bit: the value is the negative of the bytes.
  no_data = 16,    ///< A meta tensor: dtype and shape only.
  spelled = 32,    ///< Numbers encoded one by one in the file: as<T>() refuses, materialize gathers.
};

/// One tensor: a view of a storage, which is a byte range of the file or of an inflated member.
struct TensorEntry {
  std::string_view name = {};      ///< Flat, dotted name; points into the Catalog's arena or kept bytes.
  std::uint64_t begin = 0;         ///< Offset of the storage in the file, or in the inflated member if `member` is set.
  std::uint64_t size = 0;          ///< Bytes of the storage. Tensors with equal (member, begin, size) share it.
  std::uint64_t first = 0;         ///< Elements between the start of the storage and the tensor's element 0.
  std::uint32_t dims = 0;          ///< Index of the first dim in Catalog::dims.
  std::uint32_t member = none;     ///< Index in Catalog::members, for storages that must be inflated.
  std::uint32_t type_name = none;  ///< Index in Catalog::type_names, of a dtype that heft does not know.
  std::uint8_t rank = 0;
  DType dtype = DType::unknown;
  std::uint8_t flags = 0;
};

/// Bytes that are encoded in the file: compressed (a deflated record of a zip), spelled as text, or numbers that are
/// encoded one by one.
struct Member {
  std::uint64_t begin = 0;      ///< Offset of the compressed bytes in the file.
  std::uint64_t size = 0;       ///< Compressed bytes.
  std::uint64_t full_size = 0;  ///< Exact number of inflated bytes.
  std::uint32_t crc32 = 0;      ///< Of the inflated bytes; 0: not recorded.
  std::string_view name = {};
  bool proven = false;                         ///< Size and checksum were compared when the catalog was made.
  std::shared_ptr<InflatePoints> points = {};  ///< Places where inflating can resume; null: only the start.
  /// Set for numbers to be gathered; begin and size are then 0, and the lists' offsets are relative to the file, or to
  /// the member `inside`.
  std::shared_ptr<const NumberLists> lists = {};
  /// Member that holds the lists or the text (with its own offset and size); `none`: the file.
  std::uint32_t inside = none;
  bool is_latin1 = false;  ///< Text in UTF-8: `full_size` characters below 256, each of which stands for a byte.
  Bytes made = {};         ///< The bytes themselves, if the format has decoded them; begin and size are then 0.
};

/// Bytes of the file with a declared checksum: a stored record of a zip.
struct Checksum {
  std::uint64_t begin = 0;
  std::uint64_t size = 0;
  std::uint32_t crc32 = 0;
};

// clang-format off: one line.
enum class NodeKind : std::uint8_t { null, boolean, integer, unsigned_integer, real, text, bytes, list, map, tensor, opaque };
// clang-format on

/// A value other than a top-level tensor: metadata, scalars and containers of pickles. 16 bytes; text and bytes point
/// into kept memory.
struct Node {
  NodeKind kind = NodeKind::null;
  std::uint8_t word = 0;         ///< The finer kind, an index in Catalog::words; 0: none.
  DType dtype = DType::unknown;  ///< Of a number in a file that declares it; a reader of a list needs it.
  /// text, bytes: bytes. list: elements. map: pairs. opaque: children. integer: 0, or bytes of a big one.
  std::uint32_t count = 0;
  union {
    std::int64_t integer = 0;        ///< integer
    std::uint64_t unsigned_integer;  ///< unsigned_integer (values over INT64_MAX only)
    double real;                     ///< real
    const char* text;                ///< text, bytes; integer with count > 0: little-endian two's complement
    /// list, map, opaque: index of the first child in Catalog::children (map: key, value, key, value, ...)
    std::uint64_t first;
    std::uint64_t tensor;  ///< tensor: index in Catalog::tensors
  };
};
static_assert(sizeof(Node) == 16);
// The children of an opaque node are [name (text "module.name"), arguments, state]; absent ones are null nodes.

/// The scalars of a list in their encoded form, in kept memory or in the file. Nodes are made on demand, because a
/// tokenizer has half a million elements. Immutable.
class PackedElements {
 public:
  virtual ~PackedElements() = default;
  /// Throws only if the elements lie in the file: what reading it throws, and Error{changed_on_disk}.
  [[nodiscard]] virtual Node element(std::uint32_t index) const = 0;
  /// Returns the bytes of its own tables, kept memory not included.
  [[nodiscard]] virtual std::uint64_t table_bytes() const noexcept = 0;
};

/// A list whose elements are PackedElements. They have the node numbers [first, first + count), which start at
/// first_packed, and are not in Catalog::children. Node::first of such a list is packed_list | first.
struct PackedList {
  std::uint32_t first = 0;
  std::uint32_t count = 0;
  std::shared_ptr<const PackedElements> elements;
};
inline constexpr std::uint32_t first_packed = std::uint32_t{1} << 31;
inline constexpr std::uint64_t packed_list = std::uint64_t{1} << 63;
inline constexpr std::uint32_t order_of_value = std::uint32_t{1} << 31;

/// A tensor whose elements lie in several byte ranges. Its parts have rank 1 and follow each other in row-major order.
struct Joined {
  TensorEntry whole;             ///< Name, dims and dtype; its range is empty.
  std::uint32_t first_part = 0;  ///< Index in Catalog::parts.
  std::uint32_t part_count = 0;
};

/// A box of a tensor that an index declares in pieces. Its elements lie in another file as a separate pickled tensor.
struct Tile {
  std::uint32_t shard = none;  ///< Index in Catalog::shards.
  std::uint32_t dims = 0;      ///< Index in Catalog::dims: its offsets in the whole tensor, then its sizes.
  std::uint64_t begin = 0;     ///< Offset of its bytes in that file, not yet checked.
  std::uint64_t size = 0;
};

/// A tensor of an index. Its tiles must cover it; no tile is empty.
struct Tiled {
  TensorEntry whole;             ///< Name, dims and dtype; its range is empty.
  std::uint32_t first_tile = 0;  ///< Index in Catalog::tiles.
  std::uint32_t tile_count = 0;
};

/// A value of an index that is pickled in another file.
struct Embedded {
  std::string_view name;
  std::uint32_t shard = none;  ///< Index in Catalog::shards.
  std::uint64_t begin = 0;     ///< Offset of its bytes in that file, not yet checked.
  std::uint64_t size = 0;
};

/// A leaf of the record tree that is not a tensor: its name and its node, which can be a whole container.
struct Value {
  std::string_view name;  ///< Flat name, dotted, like a tensor's.
  std::uint32_t node = none;
};

/// A tensor of another file that an index declares.
struct Located {
  std::string_view name;
  std::uint32_t shard = none;  ///< Index in Catalog::shards.
};

/// The tensors, metadata and values that one file declares. Its tables charge their memory to the metadata budget of
/// the Input.
struct Catalog {
  /// Charges the tables to `of_input`; null: memory is not counted.
  explicit Catalog(std::shared_ptr<core::MetadataBudget> of_input) noexcept : budget(std::move(of_input)) {}

  std::shared_ptr<core::MetadataBudget> budget;
  std::string_view format;                   ///< The descriptor's name: "safetensors".
  std::string detail;                        ///< Description for users: "GGUF v3, big-endian"; can be empty.
  core::Table<TensorEntry> tensors{budget};  ///< In the order of sort_by_place().
  core::Table<Joined> joined{budget};        ///< Listed after `tensors`.
  core::Table<TensorEntry> parts{budget};    ///< Of joined tensors; not listed as tensors.
  core::Table<std::int64_t> dims{budget};    ///< Sizes, then strides where flagged, of all tensors.
  core::Table<std::string_view> type_names{budget};
  core::Table<Member> members{budget};
  /// Compared on request only; members are checked when they are inflated.
  core::Table<Checksum> checksums{budget};

  /// The format's words for the finer kinds of its nodes: "tuple", "OrderedDict". The first is empty.
  std::span<const std::string_view> words;
  core::Table<Node> nodes{budget};
  core::Table<std::uint32_t> children{budget};  ///< Node numbers.
  core::Table<PackedList> packed{budget};       ///< Sorted by their first node.
  /// The bytes of packed lists that lie in the file; null if there are none. The file is set when it is opened.
  std::shared_ptr<NumberBytes> file_numbers;
  core::Table<Value> values{budget};  ///< Leaves other than tensors, in file order.
  std::uint32_t metadata = none;      ///< A map node: safetensors' __metadata__, GGUF's key-value pairs.

  /// File names that this file contains (indexes, GGUF splits); not yet checked to be plain names in the same folder.
  core::Table<std::string_view> shards{budget};
  /// An index's weight_map. Empty for a split, whose shards list their own tensors.
  core::Table<Located> located{budget};
  core::Table<Tiled> tiled{budget};  ///< Tensors of the index of a distributed checkpoint, in its order.
  core::Table<Tile> tiles{budget};
  core::Table<Embedded> embedded{budget};
  std::uint32_t split_index = none;  ///< Position of this file among `shards`, for a part of a split.
  std::uint64_t split_tensors = 0;   ///< Declared number of tensors in all parts of a split; 0: not declared.

  /// The leaves in document order: an index in `tensors`, or order_of_value | an index in `values`. Empty if the format
  /// has no such order: tensors then come first. Empty also for formats that fill `joined`.
  core::Table<std::uint32_t> order{budget};

  /// Legal oddities, which `heft verify` prints: "12 bytes after the last tensor".
  std::vector<std::string> notes;

  core::Arena arena{budget};  ///< Strings that readers make.
  std::vector<Bytes> kept;    ///< Memory that names and nodes point into.

  /// Appends sizes (and strides) to `dims` and sets the entry's dims, rank and `strided` flag.
  void set_dims(TensorEntry& entry, std::span<const std::int64_t> sizes, std::span<const std::int64_t> strides = {});
  /// Sets the entry's dtype to unknown, with the file's name of it, which must live as long as the Catalog.
  void set_unknown_dtype(TensorEntry& entry, std::string_view type_name);
  [[nodiscard]] std::span<const std::int64_t> sizes(const TensorEntry& entry) const noexcept;
  [[nodiscard]] std::span<const std::int64_t> strides(const TensorEntry& entry) const noexcept;  ///< Empty when packed.

  /// Returns a node by its number, which is an index in `nodes` or a number of a packed list. Throws what
  /// PackedElements::element() throws.
  [[nodiscard]] Node node(std::uint32_t number) const;
  /// Returns the finer kind of a node, as Record::detail() shows it: its word, or the dtype of a number; can be empty.
  [[nodiscard]] std::string_view detail_of(const Node& node) const noexcept;
  /// Returns the number of item `position` of a list, map or opaque node (of a map: key, value, key, value, ...).
  [[nodiscard]] std::uint32_t child(const Node& container, std::uint64_t position) const noexcept;
  /// Returns the value of the first pair of map node `map` whose key is the text `key`; null if there is none, or if
  /// `map` is `none` or not a map. Takes linear time.
  [[nodiscard]] const Node* find_key(std::uint32_t map, std::string_view key) const noexcept;
  [[nodiscard]] bool is_packed(std::uint32_t number) const noexcept {
    return !packed.empty() && number >= first_packed;
  }

  /// Adds a deflated member, whose memory of the name must live as long as the Catalog, and returns its index. Throws
  /// Error{corrupt} with `at` if the declared size is over the maximum ratio of deflate.
  std::uint32_t add_deflated(Member member, std::uint64_t at);
  std::uint32_t add_node(Node node);
  /// Registers `elements` as packed and returns a list node over them. The node itself is not added to `nodes`.
  [[nodiscard]] Node add_packed(std::shared_ptr<const PackedElements> elements, std::uint64_t count);
  std::uint32_t add_text(std::string_view text);  ///< Requires that `text` points into `arena` or `kept`.
  std::uint32_t add_integer(std::int64_t value);
  /// Adds a list, map (pairs flattened) or opaque node over `items`, with an index in `words`.
  std::uint32_t add_container(NodeKind kind, std::span<const std::uint32_t> items, std::uint8_t word = 0);
};

}  // namespace heft::format
