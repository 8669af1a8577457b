// record/node_paths.hpp: paths from a value of a catalog to the nodes under it.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <unordered_map>
#include <vector>

#include "core/once.hpp"
#include "core/table.hpp"
#include "format/catalog.hpp"

namespace heft::record {

struct State;
struct LeafValue;

/// Paths of nodes. The first call walks all values of the checkpoint once and records the container of every node, so
/// that later paths cost no more than their text. Thread-safe.
class NodePaths {
 public:
  /// `values` are those of a tree and must be complete before the first call of between().
  NodePaths(const State& state, const core::Table<LeafValue>& values) noexcept : state_(state), values_(values) {}

  /// Returns ".key.key" from the value to `node`: the first path in the order of a walk. Throws Error{limit_exceeded}
  /// when the budget of the metadata does not have the notes.
  [[nodiscard]] std::string between(const LeafValue& value, std::uint32_t node) const;

 private:
  struct Holder {
    std::uint32_t node = format::none;  // none: a value, or not reached
    std::uint32_t position = 0;         // of the child in `node`
  };
  struct Holders {
    std::vector<Holder> of_nodes;
    std::vector<std::uint32_t> of_packed;  // parallel to Catalog::packed
  };
  const Holders& holders_of(std::uint32_t shard) const;
  void walk(const format::Catalog& catalog, std::uint32_t from, Holders& into, std::vector<bool>& entered) const;
  [[nodiscard]] static Holder holder_of(const format::Catalog& catalog, const Holders& holders,
                                        std::uint32_t node) noexcept;

  const State& state_;
  const core::Table<LeafValue>& values_;
  mutable core::Once once_;
  mutable std::unordered_map<std::uint32_t, Holders> holders_;  // by shard
  mutable core::MetadataCharge holders_bytes_;
};

}  // namespace heft::record
