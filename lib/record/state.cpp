#include "record/state.hpp"

#include <algorithm>
#include <unordered_map>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "core/checked.hpp"
#include "format/archive/inflate_stream.hpp"
#include "format/format.hpp"
#include "format/msgpack/number_lists.hpp"
#include "heft/error.hpp"
#include "record/part_count.hpp"
#include "record/view_access.hpp"

namespace heft::record {
namespace {

constexpr std::size_t max_opaque_listed = 3;

// Return the memory of a table, with its unused capacity.
template <class T>
std::uint64_t capacity_bytes(const std::vector<T>& table) noexcept {
  return table.capacity() * sizeof(T);
}

template <class T>
std::uint64_t capacity_bytes(const core::Table<T>& table) noexcept {
  return table.capacity() * sizeof(T);
}

// Returns the memory that a catalog's tables take, with unused capacity.
std::uint64_t catalog_bytes(const format::Catalog& catalog) noexcept {
  std::uint64_t bytes =
      capacity_bytes(catalog.tensors) + capacity_bytes(catalog.dims) + capacity_bytes(catalog.type_names) +
      capacity_bytes(catalog.members) + capacity_bytes(catalog.checksums) + capacity_bytes(catalog.nodes) +
      capacity_bytes(catalog.children) + capacity_bytes(catalog.values) + capacity_bytes(catalog.order) +
      capacity_bytes(catalog.shards) + capacity_bytes(catalog.located) + capacity_bytes(catalog.tiled) +
      capacity_bytes(catalog.tiles) + capacity_bytes(catalog.embedded) + catalog.arena.size_bytes();
  for (const format::PackedList& list : catalog.packed) bytes += list.elements->table_bytes();
  // Chunks of the header in which names lie.
  for (const Bytes& kept : catalog.kept) bytes += kept.size_bytes();
  for (const format::Member& member : catalog.members) {
    bytes += member.made.size_bytes();
    if (member.lists) bytes += member.lists->table_bytes();
    if (member.points) bytes += member.points->table_bytes();
  }
  return bytes;
}

}  // namespace

std::string_view State::name(std::uint32_t position) const noexcept { return names[position]; }

TensorView State::view(std::uint32_t position) const {
  const EntryRef at = entries[position];
  TensorView view =
      at.shard == EntryRef::made ? made[at.entry] : shards[at.shard]->view(catalog(at.shard).tensors[at.entry]);
  // A derived name is not in the file, so the view keeps the arena that has it, instead of the catalog.
  if (name_arena) ViewAccess::set_name(view, names[position], name_arena);
  return view;
}

std::uint32_t State::find(std::string_view name) const noexcept {
  return index.find(hash(name), [&](std::uint32_t position) {
    // The first comparison is nearly always the right one.
    prefetch_entry(position);
    return names[position] == name;
  });
}

// Prefetches the entry while the names are compared, because a lookup is followed by making a view.
void State::prefetch_entry(std::uint32_t position) const noexcept {
  const EntryRef at = entries[position];
  if (at.shard == EntryRef::made) return;
  const format::TensorEntry* const entry = catalog(at.shard).tensors.data() + at.entry;
  __builtin_prefetch(entry);
  // An entry can lie in two cache lines.
  __builtin_prefetch(reinterpret_cast<const std::byte*>(entry + 1) - 1);
}

bool State::is_pytorch() const noexcept {
  return !shards.empty() && std::ranges::all_of(shards, [](const auto& shard) {
    const format::Format* format = format::find_format(shard->catalog->format);
    return format != nullptr && format->family == format::Family::torch;
  });
}

void State::list_names() {
  // Derivation has set the names already.
  if (name_arena) return;
  names.clear();
  names.reserve(entries.size());
  for (const EntryRef at : entries)
    names.push_back(at.shard == EntryRef::made ? made[at.entry].name() : catalog(at.shard).tensors[at.entry].name);
}

void State::index_names() {
  core::require_limit(entries.size(), limits.tensors, "the number of tensors", "tensors");
  list_names();
  core::MetadataCharge charge(budget);
  // Charged before the allocation. The old charge is released when the new one replaces it.
  charge.add(entries.size() * (sizeof(EntryRef) + sizeof(std::string_view)) + made.size() * sizeof(TensorView));
  charge.add(core::NameIndex::size_for(entries.size()));
  index = core::NameIndex(entries.size());
  tables_bytes_ = std::move(charge);
  for (std::uint32_t position = 0; position < entries.size(); ++position) {
    const std::string_view name = this->name(position);
    const std::uint32_t other =
        index.insert(hash(name), position, [&](std::uint32_t held) { return this->name(held) == name; });
    if (other == core::NameIndex::none) continue;
    // Views are made for the paths of their files.
    const TensorView first = view(other);
    const TensorView second = view(position);
    throw Error(ErrorCode::ambiguous,
                fmt::format("the name occurs twice: in {} and in {}", core::escaped(first.shard_path(), 1000),
                            core::escaped(second.shard_path(), 1000)),
                {.path = path, .tensor = std::string(name)});
  }
}

void State::describe_shards() {
  infos.clear();
  std::unordered_map<std::string_view, std::uint32_t> by_path;
  for (std::uint32_t shard = 0; shard < shards.size(); ++shard) {
    const Source& file = *shards[shard]->file;
    infos.push_back(
        {std::string(file.path()), std::string(catalog(shard).format), catalog(shard).detail, file.size_bytes(), 0});
    // The first shard of a path counts, should one file be opened twice.
    by_path.emplace(file.path(), shard);
  }
  for (const EntryRef at : entries) {
    // A view of pieces counts for the file of its first piece.
    if (at.shard != EntryRef::made)
      ++infos[at.shard].tensor_count;
    else if (const auto shard = by_path.find(made[at.entry].shard_path()); shard != by_path.end())
      ++infos[shard->second].tensor_count;
  }
  // Every part of a Meta folder has a piece of each tensor.
  for (std::uint32_t shard = 0; params && shard < shards.size(); ++shard)
    infos[shard].tensor_count = catalog(shard).tensors.size();
}

void State::collect_notes() {
  for (const auto& shard : shards)
    for (const std::string& note : shard->catalog->notes)
      // With one file, the path of the checkpoint is the file's.
      notes.push_back(shards.size() == 1 ? note
                                         : fmt::format("{}: {}", core::escaped(shard->file->path(), 1000), note));
  note_long_paths();
  if (entries.empty() && !values.empty()) notes.push_back(note_of_no_tensors());
  // Notes quote names from files and go to terminals and logs.
  for (std::string& note : notes) note = core::printable(std::move(note));
}

// Adds a note with the first name that the tree does not split.
void State::note_long_paths() {
  std::uint64_t count = 0;
  std::string_view first;
  const auto look_at = [&](std::string_view name) {
    if (has_too_many_parts(name, limits.record_depth) && count++ == 0) first = name;
  };
  for (const std::string_view name : names) look_at(name);
  for (const LeafValue& value : values) look_at(value.name);
  if (count == 0) return;
  notes.push_back(fmt::format(
      "'{}'{} has {} parts, more than Limits::record_depth = {}: the tree shows it as one leaf under its whole name",
      core::escaped(first), count > 1 ? fmt::format(" (and {} more)", count - 1) : "",
      std::ranges::count(first, '.') + 1, limits.record_depth));
}

// Returns a note for a module whose weights are all in objects of unknown classes.
std::string State::note_of_no_tensors() const {
  std::vector<std::string> objects;
  std::size_t opaque = 0;
  for (const LeafValue& value : values) {
    const format::Catalog& catalog = this->catalog(value.shard);
    const format::Node node = catalog.node(value.node);
    if (node.kind != format::NodeKind::opaque || ++opaque > max_opaque_listed) continue;
    // The first child of an opaque node is the name of its class.
    const format::Node word = catalog.node(catalog.child(node, 0));
    objects.push_back(
        fmt::format("'{}' ({})", core::escaped(value.name, 80),
                    word.kind == format::NodeKind::text ? core::escaped({word.text, word.count}, 80) : "?"));
  }
  std::string note = fmt::format("no tensors, but {} other {}", values.size(), values.size() == 1 ? "value" : "values");
  if (opaque > 0)
    note += fmt::format(", {} of them objects of classes that heft does not read: {}{}", opaque,
                        fmt::join(objects, ", "), opaque > objects.size() ? ", ..." : "");
  return note;
}

std::uint64_t State::table_bytes() const noexcept {
  std::uint64_t bytes = capacity_bytes(entries) + capacity_bytes(values) + capacity_bytes(made) +
                        capacity_bytes(names) + index.size_bytes();
  if (name_arena) bytes += name_arena->size_bytes();
  for (const auto& shard : shards) bytes += sizeof(Shard) + catalog_bytes(*shard->catalog);
  if (params) bytes += sizeof(Shard) + catalog_bytes(*params->catalog);
  return bytes + tree_bytes_;
}

}  // namespace heft::record
