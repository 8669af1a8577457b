// record/map_indexes.hpp: tables for finding keys in the maps that catalogs hold.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <shared_mutex>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "core/metadata_budget.hpp"
#include "core/name_index.hpp"
#include "format/catalog.hpp"

namespace heft::record {

struct State;

/// Finds keys of maps. A map of more than a few pairs gets a table when a key of it is looked up for the first time, so
/// that looking up all of its keys takes time in proportion to their number. May be used from several threads.
class MapIndexes {
 public:
  /// Tables are counted among those of `state`, whose hash they use.
  explicit MapIndexes(const State& state) noexcept : state_(state) {}

  /// Position of the first pair with that key in the map `catalog.node(map)`. Out of memory for a table, or of the
  /// budget of the metadata, all pairs are compared.
  [[nodiscard]] std::optional<std::size_t> find(const format::Catalog& catalog, std::uint32_t map,
                                                std::string_view key) const noexcept;

 private:
  struct Table {
    core::NameIndex positions;
    // [n]: some key has n bytes. Prefixes of a path are tried as keys: most are of no key's size, and are not hashed.
    std::vector<bool> sizes;
    core::MetadataCharge bytes;
  };
  const Table& table_of(const format::Catalog& catalog, std::uint32_t map) const;
  [[nodiscard]] Table make_table(const format::Catalog& catalog, const format::Node& map) const;

  const State& state_;
  mutable std::shared_mutex mutex_;
  mutable std::unordered_map<const format::Node*, std::unique_ptr<const Table>> tables_;
};

}  // namespace heft::record
