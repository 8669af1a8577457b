// format/msgpack/tree.hpp: conversion of a MessagePack document to a Catalog: maps and lists with tensors become dotted
// names, others become values.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "core/table.hpp"
#include "format/catalog.hpp"
#include "format/msgpack/tokenizer.hpp"
#include "heft/limits.hpp"

namespace heft::format {

/// Walks over one item and all items inside it, once, in file order. A format derives from it and recognizes tensors.
///
/// The walk does not recurse: its stack is a vector, bounded by Limits::metadata_depth. A map or list without tensors
/// is one value, a container of nodes. In one with tensors, each other item is a value with its own name. Throws
/// Error{ambiguous} for two equal keys of a map. Keys are texts, or integers, which become decimal text.
class PackTree {
 public:
  virtual ~PackTree() = default;
  PackTree(const PackTree&) = delete;
  PackTree& operator=(const PackTree&) = delete;

  /// Reads the next item of the reader. An item other than a map or list gets the name "tensor" or "value".
  void read();

 protected:
  struct Child {
    std::string_view key;
    std::uint32_t node = none;  ///< none: a tensor, or a container that holds one.
  };

  /// `is_inflated` tells that the document is not in the file as it is.
  PackTree(Catalog& catalog, PackReader& reader, const Limits& limits, bool is_inflated = false) noexcept
      : catalog_(catalog), reader_(reader), limits_(limits), is_inflated_(is_inflated) {}

  /// Called with the head of every value. A format that recognizes it as a tensor reads all of it, adds it under path()
  /// and returns true; otherwise it leaves the reader after the head and returns false.
  virtual bool take_tensor(const PackItem& head) = 0;
  /// Reads the payload of an extension that is not a tensor and returns its node.
  virtual std::uint32_t make_extension(const PackItem& head);
  /// Called after all items of a map with tensors; path() is the map's. Returns true if the tensors from `first_tensor`
  /// on are parts of one tensor, which the format has added in their place.
  virtual bool join_tensors(std::span<const Child> children, std::size_t first_tensor);

  /// Returns the dotted name of the current item; keep() copies it to the Catalog's arena.
  [[nodiscard]] std::string_view path() const noexcept { return path_; }
  std::string_view keep(std::string_view text);
  /// Adds a tensor under path(). Checks name_bytes, tensors, and the bytes of a tensor of a known dtype.
  void add_tensor(TensorEntry entry, std::uint64_t at);
  /// Adds a joined tensor under path(); its parts are the tensors from `first_tensor` on.
  void add_joined(TensorEntry whole, std::size_t first_tensor);
  /// Reads a list of dims. Throws Error{corrupt, limit_exceeded}.
  std::vector<std::int64_t> read_dims();
  /// Reads the dims in `list`, whose head was read last.
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
  std::shared_ptr<const NumberBytes> copied(const std::shared_ptr<SpelledNumbers>& copy);
  void close();
  void require_distinct_keys(const Frame& frame) const;
  void emit_values(const Frame& frame);
  std::uint32_t make_container(const Frame& frame);
  std::string_view read_key(const Frame& frame);
  std::uint32_t make_leaf(const PackItem& head);
  void set_path(std::size_t bytes, std::string_view part);

  bool is_inflated_;
  std::string path_;
  std::vector<Frame> frames_;
  core::Table<Child> children_{catalog_.budget};
  std::uint64_t items_ = 0;
};

}  // namespace heft::format
