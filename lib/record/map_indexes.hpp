// record/map_indexes.hpp: lookup of keys in the maps of catalogs.
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

/// Finds keys of maps. The first lookup in a map of more than a few pairs makes a hash table for it, so that looking up
/// all keys takes linear time. Thread-safe.
class MapIndexes {
 public:
  /// Tables are charged to `state`, whose hash they use.
  explicit MapIndexes(const State& state) noexcept : state_(state) {}

  /// Returns the position of the first pair with that key in the map that is node `number` of `catalog`. Out of memory
  /// for a table, or of the budget of the metadata, all pairs are compared.
  [[nodiscard]] std::optional<std::size_t> find(const format::Catalog& catalog, std::uint32_t number,
                                                std::string_view key) const noexcept;

 private:
  struct Table {
    core::NameIndex positions;
    // [n]: some key has n bytes. Most prefixes of a path that are tried as keys have another size, and are not hashed.
    std::vector<bool> sizes;
    core::MetadataCharge bytes;
  };
  const Table& table_of(const format::Catalog& catalog, std::uint32_t number) const;
  [[nodiscard]] Table make_table(const format::Catalog& catalog, const format::Node& map) const;

  const State& state_;
  mutable std::shared_mutex mutex_;
  mutable std::unordered_map<const format::Node*, std::unique_ptr<const Table>> tables_;
};

}  // namespace heft::record
