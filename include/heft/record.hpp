// heft/record.hpp: a node of the record tree of a checkpoint.
//
// Checkpoint::root() is the tree of tensors and of the other values of a file, Checkpoint::metadata() the tree of its
// metadata. Both are built on first use: programs that look tensors up by flat names do not pay for them.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "heft/bytes.hpp"
#include "heft/index_iterator.hpp"
#include "heft/tensor_view.hpp"

namespace heft {

namespace record {
class Tree;
struct RecordAccess;
}  // namespace record

/// The kinds of a record: a null, the scalars of pickles and metadata, the containers, a tensor, or an object of a
/// class that heft has no reading of (opaque).
enum class RecordKind : std::uint8_t { null, boolean, integer, real, text, bytes, list, map, tensor, opaque };

/// Returns the kind's name as it is spelled in the source: "null", "boolean", ...
HEFT_API std::string_view name(RecordKind kind) noexcept;

/// A node of the tree: a container, a tensor, or a scalar of a pickle or of metadata. It holds the tree that it belongs
/// to, so that the Checkpoint may be destroyed first.
///
/// The tree is made of flat names split at dots: "layers.0.weight" is root["layers"][0]["weight"]. A container is a
/// list when its keys are exactly the numbers 0 to n-1 and it is not the root, else a map; keys keep the order of the
/// file. A name that is both a leaf and a prefix ("a" and "a.b") makes a map; the leaf stays reachable as child "" of
/// the map, and by its flat name in the Checkpoint. A key with dots is looked up as the flat name relative to this
/// node.
///
/// Lookups chain. The Error of a chain names the first key that is missing.
///
/// A value: a pointer and a number; a copy costs one reference count. Const members may be called from several threads.
///
/// Example:
///   const heft::Record layer = checkpoint.root()["model"]["layers"][0];
///   const heft::TensorView up = layer["mlp.up_proj.weight"].tensor();
///   if (const auto eps = layer.find("eps")) std::cout << eps->real() << '\n';
///   for (const heft::Record& child : layer) std::cout << child.path() << '\n';
class HEFT_API Record {
 public:
  /// A null record that belongs to no checkpoint.
  Record() noexcept;

  /// Selects which of the value getters below succeeds. Null for an element of a list that lies in the file (numbers())
  /// and cannot be read any more; the getters throw the reason.
  [[nodiscard]] RecordKind kind() const noexcept;
  /// Flat name of this node from the root: "model.layers.0". Empty for the root. A value that a file holds at several
  /// places (a shared object of a pickle, any of its integers 0 to 255) has the name of the first. The first call
  /// for a value that is not a tensor makes a table for all of them: Error{limit_exceeded} where
  /// Limits::metadata_memory_bytes does not have room for it.
  [[nodiscard]] std::string path() const;
  /// The format's more precise word for the kind, for people: "tuple", "OrderedDict", "torch.Size"; empty where there
  /// is none. Borrowed as text().
  [[nodiscard]] std::string_view detail() const& noexcept;
  [[nodiscard]] std::string detail() const&& { return std::string(detail()); }

  /// Number of children of a list, map or opaque record; 0 for all others.
  [[nodiscard]] std::size_t size() const noexcept;
  [[nodiscard]] bool empty() const noexcept { return size() == 0; }
  /// Returns the child of a map by key, of a list by its number as text. Throws Error{not_found}, which names the full
  /// path of the missing key and the nearest keys; Error{type_mismatch} when this record is not a container.
  [[nodiscard]] Record operator[](std::string_view key) const;
  /// Returns a child of a list, or of a map with that number as a key. Throws as above.
  [[nodiscard]] Record operator[](std::size_t index) const;
  [[nodiscard]] Record operator[](int index) const;
  /// As operator[], but returns nothing when the key is missing or this record is not a container. Where a name is both
  /// a leaf and a prefix ("a" and "a.b"), find("a") is the map that contains "b", and find("") of that map the leaf.
  /// Every tensor is also found by its flat name from the root, whatever the shape of the tree.
  [[nodiscard]] std::optional<Record> find(std::string_view key) const noexcept;
  /// Child number `position` in order, and its key (for lists, the number as text). Throw Error{out_of_range} unless
  /// position < size(). An element of a list of numbers that lies in the file is read by child() and operator[],
  /// together with its neighbours: they also throw Error{io, changed_on_disk}.
  [[nodiscard]] Record child(std::size_t position) const;
  [[nodiscard]] std::string key(std::size_t position) const;
  using iterator = IndexIterator<Record, Record, &Record::child>;
  /// The children in order. Iterators are valid while this Record lives and is not moved. Deleted for a temporary; a
  /// loop keeps one alive.
  [[nodiscard]] iterator begin() const& noexcept { return {*this, 0}; }
  [[nodiscard]] iterator end() const& noexcept { return {*this, size()}; }
  iterator begin() const&& = delete;
  iterator end() const&& = delete;

  /// The values. Each throws Error{type_mismatch}, which names the path and the kind found, for a record of another
  /// kind.
  [[nodiscard]] TensorView tensor() const;
  [[nodiscard]] bool boolean() const;
  /// Also Error{out_of_range} for an integer that does not fit the type; for unsigned_integer() a negative one too.
  [[nodiscard]] std::int64_t integer() const;
  [[nodiscard]] std::uint64_t unsigned_integer() const;
  /// A real, or an integer that is exact as a double; Error{out_of_range} for one that is not.
  [[nodiscard]] double real() const;
  /// A text, as the file spells it: escape it before it reaches a terminal. Borrowed: valid while a Record of this
  /// tree, or its Checkpoint, lives. On a temporary (`record["name"].text()`) a copy, because that Record can be the
  /// last.
  [[nodiscard]] std::string_view text() const&;
  [[nodiscard]] std::string text() const&& { return std::string(text()); }
  /// Bytes; also an integer that fits neither integer() nor unsigned_integer(), in little-endian two's complement.
  [[nodiscard]] Bytes bytes() const;
  /// Returns the elements of a list of numbers as a view of shape [size()]. Its dtype is the one that the format
  /// states for the numbers, else boolean, i64 (u64 where an item needs it) or f64. Integers and reals in one list are
  /// f64 if each integer is within 2^53, where f64 has all of them: an element always has the value of its item. The
  /// view is spelled (TensorView::is_spelled()): materialize() gathers and converts, bytes() and as() refuse. A list of
  /// 32 or more numbers of a pickle, of MessagePack or of CBOR metadata stays in the file when it is opened: only its
  /// places are kept, 24 bytes for a thousand numbers, and elements are read by materialize(), or as they are looked at.
  /// (Those of a MessagePack file in gzip are kept in memory, as the file spells them.) Throws Error{type_mismatch} when
  /// this is not a list, when an item is not a number, for booleans beside other numbers, for integers beyond 2^53
  /// beside reals, and for numbers of JSON, which have no type; Error{out_of_range} for integers that fit no type of 64
  /// bits.
  [[nodiscard]] TensorView numbers() const;
  /// For an opaque record: "module.name" of the class that the pickle names. heft does not construct it: its children
  /// are "arguments" and "state". Borrowed as text().
  [[nodiscard]] std::string_view class_name() const&;
  [[nodiscard]] std::string class_name() const&& { return std::string(class_name()); }

  /// Number of tensors in this subtree, and the sum of their size_bytes(). A tensor counts once for each path to it;
  /// sums saturate. The first call of the two walks the whole tree, later ones are constant time. Throws
  /// Error{limit_exceeded} where Limits::metadata_memory_bytes does not have room for the sums.
  [[nodiscard]] std::uint64_t tensor_count() const;
  [[nodiscard]] std::uint64_t tensor_bytes() const;

 private:
  friend class Checkpoint;
  friend class record::Tree;
  friend struct record::RecordAccess;
  Record(std::shared_ptr<const record::Tree> tree, std::uint64_t node) noexcept : tree_(std::move(tree)), node_(node) {}

  std::shared_ptr<const record::Tree> tree_;
  std::uint64_t node_ = 0;
};

}  // namespace heft
