#include "record/index.hpp"

#include <algorithm>
#include <array>
#include <charconv>
#include <optional>
#include <string>

#include <fmt/format.h>

#include "core/text.hpp"
#include "heft/error.hpp"
#include "record/view_access.hpp"

namespace heft::record {
namespace {

// Every tensor of every shard by name. A name may be in several shards: the index says which is meant.
class Candidates {
 public:
  explicit Candidates(State& state) : state_(state) {
    for (std::uint32_t shard = 0; shard < state_.shards.size(); ++shard) {
      const auto count = static_cast<std::uint32_t>(state_.catalog(shard).tensors.size());
      for (std::uint32_t entry = 0; entry < count; ++entry) refs_.push_back({shard, entry});
    }
    table_ = core::NameIndex(refs_.size());
    for (std::uint32_t position = 0; position < refs_.size(); ++position)
      table_.insert(state_.hash(name(position)), position, [](std::uint32_t) { return false; });
    meant_.resize(refs_.size());
    next_.resize(state_.shards.size(), {core::NameIndex::none, core::NameIndex::none, core::NameIndex::none, core::NameIndex::none});
  }

  void mark(std::string_view name, std::uint32_t shard, const Shard& index) {
    std::uint32_t position = guess(name, shard);
    if (position == core::NameIndex::none)
      position = table_.find(state_.hash(name), [&](std::uint32_t held) { return refs_[held].shard == shard && this->name(held) == name; });
    next_[shard].front() = position + 1;
    if (position != core::NameIndex::none && !meant_[position]) {
      meant_[position] = true;
      ++marked_;
      return;
    }
    if (position != core::NameIndex::none)
      throw Error(ErrorCode::ambiguous, "the index names it twice", {.path = index.file->path(), .tensor = std::string(name)});
    throw Error(ErrorCode::corrupt, fmt::format("the index says it is in {}, which does not have it", core::escaped(state_.shards[shard]->file->path(), 1000)),
                {.path = index.file->path(), .tensor = std::string(name)});
  }

  // Those marked, in file order, become the state's table; the rest a note for each shard.
  void keep_marked() {
    if (marked_ == refs_.size()) {
      state_.entries = std::move(refs_);
      state_.index = std::move(table_);
      state_.list_names();
      return;
    }
    state_.entries.reserve(marked_);
    std::vector<std::uint32_t> left_out(state_.shards.size());
    for (std::uint32_t position = 0; position < refs_.size(); ++position) {
      if (meant_[position]) state_.entries.push_back(refs_[position]);
      else ++left_out[refs_[position].shard];
    }
    for (std::uint32_t shard = 0; shard < left_out.size(); ++shard)
      if (left_out[shard] != 0)
        state_.notes.push_back(fmt::format("{}: {} tensors that the index does not name are left out", core::escaped(state_.shards[shard]->file->path(), 1000), left_out[shard]));
    state_.index_names();
  }

 private:
  // An index and its shards mostly list names in the same order, or in a few interleaved runs of it (one for each dtype, as writers lay them
  // out): then the tensor after one of those found last is the one, and no table is asked.
  [[nodiscard]] std::uint32_t guess(std::string_view name, std::uint32_t shard) noexcept {
    auto& recent = next_[shard];
    for (auto next = recent.begin(); next != recent.end(); ++next) {
      if (*next < refs_.size() && refs_[*next].shard == shard && this->name(*next) == name) {
        std::rotate(recent.begin(), next, next + 1);
        return recent.front();
      }
    }
    std::rotate(recent.begin(), recent.end() - 1, recent.end());
    return core::NameIndex::none;
  }

  [[nodiscard]] std::string_view name(std::uint32_t position) const noexcept {
    return state_.catalog(refs_[position].shard).tensors[refs_[position].entry].name;
  }

  State& state_;
  std::vector<EntryRef> refs_;
  core::NameIndex table_;
  std::vector<std::array<std::uint32_t, 4>> next_;  // for each shard, places after those found last
  std::vector<bool> meant_;
  std::size_t marked_ = 0;
};

std::optional<std::uint64_t> number_of(const format::Node& node) noexcept {
  using format::NodeKind;
  if (node.kind == NodeKind::integer && node.count == 0 && node.integer >= 0) return static_cast<std::uint64_t>(node.integer);
  if (node.kind == NodeKind::unsigned_integer) return node.natural;
  if (node.kind == NodeKind::real && node.real >= 0 && node.real < 0x1p63) return static_cast<std::uint64_t>(node.real);
  if (node.kind != NodeKind::text) return {};
  std::uint64_t number = 0;
  const auto [end, error] = std::from_chars(node.text, node.text + node.count, number);
  return error == std::errc() && end == node.text + node.count ? std::optional(number) : std::nullopt;
}

// metadata.total_size, which writers spell as an integer, a real or text.
std::optional<std::uint64_t> declared_size(const format::Catalog& catalog) noexcept {
  if (catalog.metadata == format::none) return {};
  const format::Node& map = catalog.nodes[catalog.metadata];
  for (std::uint32_t pair = 0; map.kind == format::NodeKind::map && pair < map.count; ++pair) {
    const format::Node& key = catalog.nodes[catalog.children[map.first + 2 * pair]];
    if (key.kind == format::NodeKind::text && std::string_view(key.text, key.count) == "total_size")
      return number_of(catalog.nodes[catalog.children[map.first + 2 * pair + 1]]);
  }
  return {};
}

// Bytes of all tensors; those that share a storage, neighbours in file order, count once.
std::uint64_t tensor_bytes(const State& state) noexcept {
  std::uint64_t sum = 0;
  const format::TensorEntry* before = nullptr;
  for (const EntryRef at : state.entries) {
    const format::Catalog& catalog = state.catalog(at.shard);
    const format::TensorEntry& entry = catalog.tensors[at.entry];
    const bool shared = before != nullptr && before->begin == entry.begin && before->size == entry.size && before->member == entry.member &&
                        at.entry != 0 && before == &catalog.tensors[at.entry - 1];
    before = &entry;
    if (shared) continue;
    std::uint64_t elements = 1;
    for (const std::int64_t size : catalog.sizes(entry)) elements *= static_cast<std::uint64_t>(size);
    sum += entry.dtype == DType::unknown ? entry.size : packed_bytes(entry.dtype, elements);
  }
  return sum;
}

}  // namespace

void merge_index(State& state, const Shard& index, const std::vector<std::uint32_t>& numbers) {
  Candidates candidates(state);
  for (const format::Located& located : index.catalog->located) candidates.mark(located.name, numbers[located.shard], index);
  candidates.keep_marked();
  if (const auto declared = declared_size(*index.catalog))
    if (const std::uint64_t found = tensor_bytes(state); found != *declared)
      state.notes.push_back(fmt::format("{}: total_size is {}, the tensors have {} bytes", core::escaped(index.file->path(), 1000), *declared, found));
}

}  // namespace heft::record
