// heft/record.hpp: a node of the lazy tree that a checkpoint is shown as.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "heft/bytes.hpp"
#include "heft/tensor_view.hpp"

namespace heft {

namespace record {
class Tree;
struct RecordAccess;
}

enum class RecordKind : std::uint8_t { null, boolean, integer, real, text, bytes, list, map, tensor, opaque };

/// The kind's name: "null", "boolean", ...
HEFT_API std::string_view name(RecordKind kind) noexcept;

/// A node of the tree: a container, a tensor, or a scalar of a pickle or of metadata. It holds the tree it belongs to.
///
/// The tree is made of flat names split at dots: "layers.0.weight" is reached as root["layers"][0]["weight"]. A
/// container is a list when all its keys are the numbers 0..n-1 and it is not the root, else a map; keys keep the order
/// of the file. A name that is both a leaf and a prefix ("a" and "a.b") makes a map whose own leaf stays reachable by
/// its flat name in the Checkpoint, and as child "" of the map. Lookups with keys that hold dots work too, as the flat
/// name relative to this node.
///
/// A value; two words. Const members may be called from several threads.
class HEFT_API Record {
 public:
  /// A null record that belongs to no checkpoint.
  Record() noexcept;

  [[nodiscard]] RecordKind kind() const noexcept;
  /// Flat name of this node from the root: "model.layers.0". Empty for the root.
  [[nodiscard]] std::string path() const;
  /// Finer word of the format for it, for people: "tuple", "OrderedDict", "torch.Size"; empty where there is none.
  [[nodiscard]] std::string_view detail() const noexcept;

  /// Number of children of a list, map or opaque; 0 for the rest.
  [[nodiscard]] std::size_t count() const noexcept;
  /// Child of a map by key, of a list by its number as text. Throws Error{not_found} naming the full path of the
  /// missing key and the nearest keys; Error{type_mismatch} when this is no container.
  [[nodiscard]] Record operator[](std::string_view key) const;
  /// Child of a list (or of a map with that number as a key). Throws as above.
  [[nodiscard]] Record operator[](std::size_t index) const;
  [[nodiscard]] Record operator[](int index) const;
  /// As operator[], but nothing when it is not there or this is no container. Where a name is both a leaf and a prefix
  /// ("a" and "a.b"), find("a") is the map that holds "b", and find("") of that map the leaf; a list with a key that is
  /// no number is a map, its keys as they are spelled. Every tensor is also found by its flat name from the root,
  /// whatever the tree looks like.
  [[nodiscard]] std::optional<Record> find(std::string_view key) const noexcept;
  /// Child `position` < count() in order, and its key (a number as text, for lists). Throws Error{out_of_range}.
  [[nodiscard]] Record child(std::size_t position) const;
  [[nodiscard]] std::string key(std::size_t position) const;

  /// The values. Each throws Error{type_mismatch} saying the path and what it is instead.
  [[nodiscard]] TensorView tensor() const;
  [[nodiscard]] bool boolean() const;
  /// Also Error{out_of_range} for an integer that does not fit; natural() also for a negative one.
  [[nodiscard]] std::int64_t integer() const;
  [[nodiscard]] std::uint64_t natural() const;
  /// A real; integers convert when exact.
  [[nodiscard]] double real() const;
  /// Borrowed: valid while a Record of this tree lives.
  [[nodiscard]] std::string_view text() const;
  /// Bytes; also, little-endian in two's complement, an integer that neither integer() nor natural() can hold.
  [[nodiscard]] Bytes bytes() const;
  /// The elements of a list of numbers, as a view of shape [count()] whose dtype is the list's: that which the format
  /// gives its numbers, else boolean, i64 (u64 where one needs it) or f64. The view is spelled (TensorView::is_spelled()):
  /// materialize() gathers and converts, bytes() and as() refuse. Throws Error{type_mismatch} when this is no list, when
  /// an item is no number or of another kind than the first, and for numbers of JSON, which have no type;
  /// Error{out_of_range} for integers that fit no type of 64 bits.
  [[nodiscard]] TensorView numbers() const;
  /// For an opaque record: "module.name" of what it would have been; its children are "arguments" and "state".
  [[nodiscard]] std::string_view class_name() const;

  /// Tensors in this subtree, and the sum of their size_bytes(). Each tensor counts once for each path; saturates. The first call adds up the whole tree.
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
