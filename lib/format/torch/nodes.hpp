// format/torch/nodes.hpp: conversion of values of a PyTorch pickle that hold no tensors to nodes of a Catalog.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "format/catalog.hpp"
#include "format/pickle/pickle.hpp"
#include "format/torch/words.hpp"

namespace heft::format {

/// Makes one node for each value, so that shared values stay shared. A reference of an object to itself becomes a null
/// node.
class TorchNodes {
 public:
  /// `pickle_begin` is added to offsets in the pickle's Input.
  TorchNodes(Catalog& catalog, Pickle& pickle, const Limits& limits, std::uint64_t pickle_begin)
      : catalog_(catalog), pickle_(pickle), limits_(limits), pickle_begin_(pickle_begin) {
    catalog_.words = torch_words;
  }

  /// Returns the node of `value`, with all values inside it. Does not recurse. Throws Error{ambiguous} for a dict with
  /// a repeated key.
  std::uint32_t node_of(std::uint32_t value);

  /// Returns a text node with the name of the function of a call: "module.name".
  std::uint32_t class_name(std::uint32_t call);

 private:
  std::uint32_t make(std::uint32_t value);
  std::uint32_t make_leaf(const PickleValue& value);
  std::uint32_t make_numbers(const PickleValue& value);
  std::uint32_t make_container(const PickleValue& value);
  std::uint32_t make_opaque(std::uint32_t value);
  std::uint32_t made(std::uint32_t value);
  std::uint32_t add_text(std::string_view text, TorchWord word);
  void require_unique_keys(const PickleValue& dict) const;

  Catalog& catalog_;
  Pickle& pickle_;  // modified: bytes left in the file are read
  const Limits& limits_;
  std::uint64_t pickle_begin_;
  std::shared_ptr<const NumberBytes> number_bytes_;
  core::Table<std::uint32_t> nodes_{catalog_.budget};  // of each value; `none` until made
  std::vector<std::uint32_t> scratch_;
  std::uint32_t null_ = none;
};

}  // namespace heft::format
