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

constexpr std::size_t pairs_worth_a_table = 16;

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
    if (key.size() >= table.sizes.size() || !table.sizes[key.size()]) return {};
    Digits digits;
    const std::uint32_t position = table.positions.find(
        state_.hash(key), [&](std::uint32_t held) { return pair_key(catalog, map, held, digits) == key; });
    return position == core::NameIndex::none ? std::nullopt : std::optional<std::size_t>(position);
  } catch (const std::bad_alloc&) {
    return compare_all(catalog, map, key);
  } catch (const Error&) {
    return compare_all(catalog, map, key);
  }
}

const MapIndexes::Table& MapIndexes::table_of(const format::Catalog& catalog, std::uint32_t number) const {
  const format::Node* const map = &catalog.nodes[number];
  {
    const std::shared_lock lock(mutex_);
    if (const auto found = tables_.find(map); found != tables_.end()) return *found->second;
  }
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
  Digits of_held;
  for (std::uint32_t position = 0; position < map.count; ++position) {
    const auto key = pair_key(catalog, map, position, digits);
    if (!key) continue;
    table.positions.insert(state_.hash(*key), position,
                           [&](std::uint32_t held) { return pair_key(catalog, map, held, of_held) == key; });
    if (key->size() >= table.sizes.size()) table.sizes.resize(std::max(key->size() + 1, 2 * table.sizes.size()));
    table.sizes[key->size()] = true;
  }
  return table;
}

}  // namespace heft::record
