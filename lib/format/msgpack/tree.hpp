// format/msgpack/tree.hpp: from a MessagePack document to the Catalog: maps and lists become dotted names, what holds no
// tensor becomes values.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "core/table.hpp"
#include "format/catalog.hpp"
#include "format/msgpack/tokenizer.hpp"
#include "heft/limits.hpp"

namespace heft::format {

/// A walk over one item and all inside it, once, in the file's order. A format derives from it to say which items are
/// tensors.
///
/// No function calls itself: the way down is a vector, as deep as Limits::metadata_depth allows. A map or list in which
/// there is no tensor is one value, a container of nodes; of one that holds tensors, each item beside them is a value
/// under its own name. Two equal keys of a map are Error{ambiguous}; keys are texts, or integers, which are spelled
/// out.
class PackTree {
 public:
  virtual ~PackTree() = default;
  PackTree(const PackTree&) = delete;
  PackTree& operator=(const PackTree&) = delete;

  /// Reads the next item of the reader. One that is no map and no list goes by the name "tensor" or "value".
  void read();

 protected:
  struct Child {
    std::string_view key;
    std::uint32_t node = none;  ///< none: a tensor, or a container that holds one.
  };

  PackTree(Catalog& catalog, PackReader& reader, const Limits& limits) noexcept
      : catalog_(catalog), reader_(reader), limits_(limits) {}

  /// Called with the head of every value. A format that knows it as a tensor reads all of it, adds it under path() and
  /// returns true; otherwise it leaves the reader where it found it, after the head.
  virtual bool take_tensor(const PackItem& head) = 0;
  /// The node of an extension that is no tensor, whose payload is to be read.
  virtual std::uint32_t make_extension(const PackItem& head);
  /// Called when all items of a map that holds tensors have been read, path() being the map's. Returns true when the
  /// tensors that were added since `first_tensor` are parts of one, which the format has put in their place.
  virtual bool join_tensors(std::span<const Child> children, std::size_t first_tensor);

  /// The dotted name of the item that is being read; kept in the Catalog's arena by keep().
  [[nodiscard]] std::string_view path() const noexcept { return path_; }
  std::string_view keep(std::string_view text);
  /// Adds a tensor under path(). Checks name_bytes, tensors, that a tensor of a known dtype has the bytes of its shape.
  void add_tensor(TensorEntry entry, std::uint64_t at);
  /// Marks what is added under path() as one of Catalog::joined.
  void add_joined(TensorEntry whole, std::size_t first_tensor);
  /// A list of dims. Throws Error{corrupt, limit_exceeded}.
  std::vector<std::int64_t> read_dims();
  /// The dims in `list`, whose head was read last.
  std::vector<std::int64_t> read_dims(const PackItem& list);

  Catalog& catalog_;
  PackReader& reader_;
  const Limits& limits_;

 private:
  struct Frame {
    PackItem head;
    std::uint64_t done = 0;       // items, or pairs
    std::string_view key = {};    // of the container in its parent
    std::size_t path_bytes = 0;   // of the container's own path
    std::size_t first_child = 0;  // in children_
    std::size_t first_tensor = 0;
    bool holds_tensor = false;
  };

  void open(const PackItem& head, std::string_view key);
  void step();
  bool take_numbers(const PackItem& list, std::string_view key);
  void close();
  void require_distinct_keys(const Frame& frame) const;
  void emit_values(const Frame& frame);
  std::uint32_t make_container(const Frame& frame);
  std::string_view read_key(const Frame& frame);
  std::uint32_t make_leaf(const PackItem& head);
  void set_path(std::size_t bytes, std::string_view part);

  std::string path_;
  std::vector<Frame> frames_;
  core::Table<Child> children_{catalog_.budget};
  std::uint64_t items_ = 0;
};

}  // namespace heft::format
