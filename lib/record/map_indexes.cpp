#include "record/map_indexes.hpp"

#include <algorithm>
#include <mutex>
#include <new>
#include <utility>

#include "heft/error.hpp"
#include "record/node_children.hpp"
#include "record/state.hpp"

namespace heft::record {
namespace {

// For so few pairs, a table would take more time and memory than it saves.
constexpr std::size_t pairs_worth_a_table = 16;

// Returns the position of the first pair with that key. Takes no memory.
std::optional<std::size_t> compare_all(const format::Catalog& catalog, const format::Node& map,
                                       std::string_view key) noexcept {
  Digits digits;
  for (std::size_t position = 0; position < map.count; ++position)
    if (pair_key(catalog, map, position, digits) == key) return position;
  return {};
}

}  // namespace

std::optional<std::size_t> MapIndexes::find(const format::Catalog& catalog, std::uint32_t number,
                                            std::string_view key) const noexcept {
  const format::Node& map = catalog.nodes[number];
  if (map.count <= pairs_worth_a_table) return compare_all(catalog, map, key);
  try {
    const Table& table = table_of(catalog, number);
    // Tree::find() tries each prefix of a dotted path as a key; the sizes exclude most of them without a hash.
    if (key.size() >= table.sizes.size() || !table.sizes[key.size()]) return {};
    Digits digits;
    const std::uint32_t position = table.positions.find(
        state_.hash(key), [&](std::uint32_t held) { return pair_key(catalog, map, held, digits) == key; });
    return position == core::NameIndex::none ? std::nullopt : std::optional<std::size_t>(position);
  } catch (const std::bad_alloc&) {
    // A lookup cannot fail: without memory, or budget, for the table it takes longer.
    return compare_all(catalog, map, key);
  } catch (const Error&) {
    return compare_all(catalog, map, key);
  }
}

const MapIndexes::Table& MapIndexes::table_of(const format::Catalog& catalog, std::uint32_t number) const {
  const format::Node* const map = &catalog.nodes[number];
  {
    // A table that is found stays valid without the lock: tables are never removed, and unique_ptr keeps their address.
    const std::shared_lock lock(mutex_);
    if (const auto found = tables_.find(map); found != tables_.end()) return *found->second;
  }
  // Made without the lock, so that lookups in other maps go on. Two threads can make the same table; the later one is
  // dropped.
  auto made = std::make_unique<const Table>(make_table(catalog, *map));
  const std::uint64_t size = made->positions.size_bytes() + made->sizes.size() / 8;
  const std::scoped_lock lock(mutex_);
  const auto [at, is_new] = tables_.try_emplace(map, std::move(made));
  if (is_new) state_.account(size);
  return *at->second;
}

MapIndexes::Table MapIndexes::make_table(const format::Catalog& catalog, const format::Node& map) const {
  core::MetadataCharge charge(state_.budget);
  charge.add(core::NameIndex::size_for(map.count));
  Table table{core::NameIndex(map.count), {}, std::move(charge)};
  Digits digits;
  // A buffer of its own, because `key` can point into `digits`.
  Digits of_held;
  for (std::uint32_t position = 0; position < map.count; ++position) {
    // Keys that are lists, reals and so on cannot be looked up.
    const auto key = pair_key(catalog, map, position, digits);
    if (!key) continue;
    // The first pair of a key stays, as compare_all() would find it.
    table.positions.insert(state_.hash(*key), position,
                           [&](std::uint32_t held) { return pair_key(catalog, map, held, of_held) == key; });
    if (key->size() >= table.sizes.size()) table.sizes.resize(std::max(key->size() + 1, 2 * table.sizes.size()));
    table.sizes[key->size()] = true;
  }
  return table;
}

}  // namespace heft::record
