// format/catalog.hpp: what one file declares. Made by a format from bytes, read by the record room. No payload is read for it.
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
class NumberLists;

inline constexpr std::uint32_t none = 0xFFFFFFFF;  ///< "no index" in every table of a Catalog.

/// Properties of a tensor's bytes; combined in TensorEntry::flags.
enum TensorFlag : std::uint8_t {
  strided = 1,     ///< Catalog::dims holds strides after the sizes; without it the tensor is packed row-major.
  swapped = 2,     ///< Big-endian payload: as<T>() refuses, materialize swaps.
  conjugated = 4,  ///< PyTorch's lazy conj bit: the value is the conjugate of the bytes.
  negated = 8,     ///< PyTorch's lazy neg bit: the value is the negative of the bytes.
  no_data = 16,    ///< A meta tensor: dtype and shape only.
  spelled = 32,    ///< Numbers that the file spells one by one: as<T>() refuses, materialize gathers.
};

/// One tensor: a view of a storage, which is a byte range of the file or of an inflated member. 56 bytes.
struct TensorEntry {
  std::string_view name = {};     ///< Flat name, dotted; points into the Catalog's arena or kept bytes.
  std::uint64_t begin = 0;        ///< Byte offset of the storage in the file (in the inflated member, if `member` is set).
  std::uint64_t size = 0;         ///< Bytes of the storage. Tensors with equal (member, begin, size) share it.
  std::uint64_t first = 0;        ///< Elements from the storage's begin to the tensor's element 0.
  std::uint32_t dims = 0;         ///< Index of the first dim in Catalog::dims.
  std::uint32_t member = none;    ///< Index in Catalog::members, for storages that must be inflated.
  std::uint32_t type_name = none; ///< Index in Catalog::type_names: the file's own word for a dtype heft has no row for.
  std::uint8_t rank = 0;
  DType dtype = DType::unknown;
  std::uint8_t flags = 0;
};

/// Bytes that do not lie in the file as they are used: to be inflated (a deflated record of a zip), or gathered from
/// numbers that the file spells one by one.
struct Member {
  std::uint64_t begin = 0;       ///< Offset of the compressed bytes in the file.
  std::uint64_t size = 0;        ///< Compressed bytes.
  std::uint64_t full_size = 0;   ///< Inflated bytes, exactly.
  std::uint32_t crc32 = 0;       ///< Of the inflated bytes; 0: not recorded.
  std::string_view name = {};
  bool proven = false;           ///< Size and checksum were compared when the file was read.
  std::shared_ptr<InflatePoints> points = {};  ///< Where inflating can go on; null: at the start alone.
  std::shared_ptr<const NumberLists> lists = {};  ///< Set for numbers to be gathered; then begin and size are 0 ...
  std::uint32_t inside =
      none;  ///< ... and their offsets count in the file, or in this other member; so do begin and size of text.
  bool is_latin1 = false;  ///< Text, in UTF-8: `full_size` characters below 256, each of which is a byte.
  Bytes made = {};         ///< The bytes themselves, where the format has decoded them; then begin and size are 0.
};

/// Bytes of the file whose checksum the file declares: a stored record of a zip.
struct Checksum {
  std::uint64_t begin = 0;
  std::uint64_t size = 0;
  std::uint32_t crc32 = 0;
};

enum class NodeKind : std::uint8_t { null, boolean, integer, unsigned_integer, real, text, bytes, list, map, tensor, opaque };

/// The finer kind of a Node; Record::detail() shows its name.
enum class NodeVariant : std::uint8_t {
  plain,
  tuple, set, frozen_set, size, complex,                           // lists
  ordered_dict, default_dict, counter, name_space, quantized, sparse, nested,  // maps
  dtype, device, layout, qscheme, path,                            // texts
  byte_array,                                                      // bytes
  u8, i8, u16, i16, u32, i32, u64, i64, f32, f64,                  // numbers of GGUF
};

/// The variant's name as its format spells it: "tuple", "OrderedDict", "torch.Size"; empty for `plain`.
std::string_view name(NodeVariant variant) noexcept;

/// A value that is not only a tensor: metadata, scalars and containers of pickles. 16 bytes; text and bytes point into kept memory.
struct Node {
  NodeKind kind = NodeKind::null;
  NodeVariant variant = NodeVariant::plain;
  std::uint32_t count = 0;       ///< text, bytes: bytes. list: elements. map: pairs. opaque: children. integer: 0, or bytes of a big one.
  union {
    std::int64_t integer = 0;    ///< integer
    std::uint64_t unsigned_integer;  ///< unsigned_integer (values over INT64_MAX only)
    double real;                 ///< real
    const char* text;            ///< text, bytes; integer with count > 0: little-endian two's complement
    std::uint64_t first;         ///< list, map, opaque: index of the first child in Catalog::children (map: key, value, key, value, ...)
    std::uint64_t tensor;        ///< tensor: index in Catalog::tensors
  };
};
// opaque: children are [name (text "module.name"), arguments, state]; absent ones are null nodes.

/// The scalars of a list, as they lie in kept memory: made into nodes when they are asked for, since a tokenizer has half
/// a million. Immutable.
class PackedElements {
 public:
  virtual ~PackedElements() = default;
  [[nodiscard]] virtual Node element(std::uint32_t index) const noexcept = 0;
  /// What it holds beside the kept memory.
  [[nodiscard]] virtual std::uint64_t table_bytes() const noexcept = 0;
};

/// Its elements are the nodes [first, first + count), numbered from first_packed on. Node::first of such a list is
/// packed_list | first, and none of them is in Catalog::children.
struct PackedList {
  std::uint32_t first = 0;
  std::uint32_t count = 0;
  std::shared_ptr<const PackedElements> elements;
};
inline constexpr std::uint32_t first_packed = std::uint32_t{1} << 31;
inline constexpr std::uint64_t packed_list = std::uint64_t{1} << 63;
inline constexpr std::uint32_t order_of_value = std::uint32_t{1} << 31;

/// A tensor whose elements lie in several runs of bytes: the parts are one after the other in row-major order, each of rank 1.
struct Joined {
  TensorEntry whole;             ///< Name, dims and dtype; its range is empty.
  std::uint32_t first_part = 0;  ///< Index in Catalog::parts.
  std::uint32_t part_count = 0;
};

/// A box of a tensor that an index declares in pieces: its elements lie in another file, as a pickled tensor of their
/// own.
struct Tile {
  std::uint32_t shard = none;  ///< Index in Catalog::shards.
  std::uint32_t dims = 0;      ///< Index in Catalog::dims: where it lies in the whole, then its sizes.
  std::uint64_t begin = 0;     ///< Its bytes in that file, not yet checked.
  std::uint64_t size = 0;
};

/// A tensor of an index, which its tiles must fill; none of them is empty.
struct Tiled {
  TensorEntry whole;             ///< Name, dims and dtype; its range is empty.
  std::uint32_t first_tile = 0;  ///< Index in Catalog::tiles.
  std::uint32_t tile_count = 0;
};

/// A value of an index that lies in another file, pickled.
struct Embedded {
  std::string_view name;
  std::uint32_t shard = none;  ///< Index in Catalog::shards.
  std::uint64_t begin = 0;     ///< Its bytes in that file, not yet checked.
  std::uint64_t size = 0;
};

/// A leaf of the record tree that is no tensor: a path and the node that hangs there (which may be a whole container).
struct Value {
  std::string_view name;  ///< Flat name, dotted, like a tensor's.
  std::uint32_t node = none;
};

/// A tensor of another file, as an index declares it.
struct Located {
  std::string_view name;
  std::uint32_t shard = none;  ///< Index in Catalog::shards.
};

/// What one file declares. Its tables count what they take in the budget of the Input that they are made from.
struct Catalog {
  /// `of_input` may be null: then nothing is counted.
  explicit Catalog(std::shared_ptr<core::MetadataBudget> of_input) noexcept : budget(std::move(of_input)) {}

  std::shared_ptr<core::MetadataBudget> budget;
  std::string_view format;               ///< The descriptor's name: "safetensors".
  std::string detail;                    ///< For people: "GGUF v3, big-endian"; may be empty.
  core::Table<TensorEntry> tensors{budget};      ///< In file order: by (member, begin); of those that begin together, the empty ones first, or by name.
  core::Table<Joined> joined{budget};            ///< Listed after `tensors`.
  core::Table<TensorEntry> parts{budget};        ///< Of joined tensors; not tensors of their own.
  core::Table<std::int64_t> dims{budget};        ///< Sizes, then strides where flagged, of all tensors.
  core::Table<std::string_view> type_names{budget};
  core::Table<Member> members{budget};
  core::Table<Checksum> checksums{budget};       ///< Compared only when asked; members check themselves when they are inflated.

  core::Table<Node> nodes{budget};
  core::Table<std::uint32_t> children{budget};   ///< Node numbers.
  core::Table<PackedList> packed{budget};        ///< By their first node.
  core::Table<Value> values{budget};             ///< Leaves that are no tensors, in the file's order.
  std::uint32_t metadata = none;         ///< A map node: safetensors' __metadata__, GGUF's key-value pairs.

  core::Table<std::string_view> shards{budget};  ///< File names in the same folder that this file names (indexes, GGUF splits). Data, not yet checked as paths.
  core::Table<Located> located{budget};          ///< An index's weight_map. Empty for a split, whose shards list their own tensors.
  core::Table<Tiled> tiled{budget};              ///< What the index of a distributed checkpoint declares, in its order.
  core::Table<Tile> tiles{budget};
  core::Table<Embedded> embedded{budget};
  std::uint32_t split_index = none;      ///< This file's place among `shards`, for a part of a split.
  std::uint64_t split_tensors = 0;       ///< Tensors that all parts of a split declare together; 0: not declared.

  /// The leaves in the order of the document: an index in `tensors`, or order_of_value | an index in `values`. Empty
  /// where the format's document has none: tensors come first then. Formats whose tensors are also joined have none.
  core::Table<std::uint32_t> order{budget};

  std::vector<std::string> notes;        ///< Legal but odd; `heft verify` says them: "12 bytes after the last tensor".

  core::Arena arena{budget};                     ///< Strings made while reading.
  std::vector<Bytes> kept;               ///< Private copies that names and nodes point into.

  /// Appends sizes (and strides) to `dims` and fills the entry's dims, rank and flag.
  void set_dims(TensorEntry& entry, std::span<const std::int64_t> sizes, std::span<const std::int64_t> strides = {});
  [[nodiscard]] std::span<const std::int64_t> sizes(const TensorEntry& entry) const noexcept;
  [[nodiscard]] std::span<const std::int64_t> strides(const TensorEntry& entry) const noexcept;  ///< Empty when packed.

  /// A node by its number, be it of `nodes` or of a packed list.
  [[nodiscard]] Node node(std::uint32_t number) const noexcept;
  /// The number of item `position` of a list, map or opaque node (of a map: key, value, key, value, ...).
  [[nodiscard]] std::uint32_t child(const Node& container, std::uint64_t position) const noexcept;
  [[nodiscard]] bool is_packed(std::uint32_t number) const noexcept {
    return !packed.empty() && number >= first_packed;
  }

  std::uint32_t add_node(Node node);
  /// A list node over `count` elements, which is in no table yet.
  [[nodiscard]] Node add_packed(std::shared_ptr<const PackedElements> elements, std::uint64_t count);
  std::uint32_t add_text(std::string_view text);  ///< `text` must already live in `arena` or `kept`.
  std::uint32_t add_integer(std::int64_t value);
  /// A list, map (pairs flattened) or opaque node over `items`.
  std::uint32_t add_container(NodeKind kind, std::span<const std::uint32_t> items, NodeVariant variant = NodeVariant::plain);
};

}  // namespace heft::format
