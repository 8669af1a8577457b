// format/torch/nodes.hpp: values of a PyTorch pickle that hold no tensors, as nodes of a Catalog.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "format/catalog.hpp"
#include "format/pickle/opcodes.hpp"

namespace heft::format {

/// Makes nodes, each value once: what the pickle shares stays shared. An object that contains itself ends in a null
/// node.
class TorchNodes {
 public:
  TorchNodes(Catalog& catalog, Pickle& pickle, const Limits& limits)
      : catalog_(catalog), pickle_(pickle), limits_(limits) {}

  /// The node of `value`, with all that it holds. Does not call itself. Throws Error{ambiguous} for a dict with a key
  /// twice.
  std::uint32_t node_of(std::uint32_t value);

  /// A text node of what a call calls: "module.name".
  std::uint32_t class_name(std::uint32_t call);

 private:
  struct Frame {
    std::uint32_t value;
    std::uint32_t next;
  };

  std::uint32_t make(std::uint32_t value);
  std::uint32_t make_leaf(const PickleValue& value);
  std::uint32_t make_container(const PickleValue& value);
  std::uint32_t make_opaque(std::uint32_t value);
  std::uint32_t made(std::uint32_t value);
  std::uint32_t add_text(std::string_view text, NodeVariant variant);
  void require_unique_keys(const PickleValue& dict) const;

  Catalog& catalog_;
  Pickle& pickle_;  // bytes that were left in the file are fetched
  const Limits& limits_;
  core::Table<std::uint32_t> nodes_{catalog_.budget};  // of each value; `none` until made
  std::vector<std::uint32_t> scratch_;
  std::uint32_t null_ = none;
};

}  // namespace heft::format
