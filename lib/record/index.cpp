#include "record/index.hpp"

#include <algorithm>
#include <array>
#include <charconv>
#include <optional>
#include <string>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "core/text.hpp"
#include "format/formats.hpp"
#include "heft/error.hpp"
#include "record/join.hpp"
#include "record/view_access.hpp"

namespace heft::record {
namespace {

// Returns the file's name without its folder.
std::string base_name(const Shard& shard) {
  const std::string path(shard.file->path());
  return path.substr(path.rfind('/') + 1);
}

// Entries of a note: the first few tensors, and the number of others.
class NoteList {
 public:
  void add(std::string words) {
    if (++count_ <= max_shown) shown_.push_back(std::move(words));
  }
  void add_name(std::string_view name) { add(fmt::format("'{}'", core::escaped(name))); }
  [[nodiscard]] std::size_t size() const noexcept { return count_; }
  [[nodiscard]] std::string text() const {
    return fmt::format("{}{}", fmt::join(shown_, ", "),
                       count_ > shown_.size() ? fmt::format(" and {} more", count_ - shown_.size()) : "");
  }

 private:
  static constexpr std::size_t max_shown = 5;
  std::vector<std::string> shown_;
  std::size_t count_ = 0;
};

// Every tensor of every shard by name. A name can be in several shards; the index determines which one is used.
class Candidates {
 public:
  Candidates(State& state, const Shard& index) : state_(state), index_(index) {
    list_tensors();
    table_ = core::NameIndex(refs_.size());
    for (std::uint32_t position = 0; position < refs_.size(); ++position) enter(position);
    meant_.resize(refs_.size());
    // `none` makes the first guess in each shard fail.
    next_.resize(state_.shards.size(),
                 {core::NameIndex::none, core::NameIndex::none, core::NameIndex::none, core::NameIndex::none});
  }

  void mark(std::string_view name, std::uint32_t shard) {
    // A right guess saves hashing the name and a probe of the table.
    std::uint32_t position = guess(name, shard);
    if (position == core::NameIndex::none) position = look_up(name, shard);
    if (position == core::NameIndex::none) {
      // No Error yet: indexes keep names of tied weights that were dropped from the shards. Asking for the tensor is
      // the Error.
      state_.absent.emplace_back(name);
      absent_.add_name(name);
      return;
    }
    // The next name of this shard is probably the next tensor in the file.
    next_[shards_[position]].front() = position + 1;
    if (meant_[position])
      throw Error(ErrorCode::ambiguous, "the index names it twice",
                  {.path = std::string(index_.file->path()), .tensor = std::string(name)});
    meant_[position] = true;
    ++marked_;
    if (shards_[position] != shard)
      moved_.add(fmt::format("'{}' in '{}'", core::escaped(name),
                             core::escaped(base_name(*state_.shards[shards_[position]]))));
  }

  // Makes the marked tensors, in file order, the state's table, and adds notes for differences from the index.
  void keep_marked() {
    if (marked_ == 0)
      throw Error(ErrorCode::corrupt,
                  fmt::format("none of the {} tensors that the index names is in its shards: {}", absent_.size(),
                              absent_.text()),
                  {.path = std::string(index_.file->path())});
    note_differences();
    std::ranges::sort(state_.absent);
    state_.absent_in = index_.file->path();
    // Nothing is left out: the table and its index become the state's, so that no name is hashed again.
    if (marked_ == refs_.size()) {
      state_.entries = std::move(refs_);
      state_.index = std::move(table_);
      state_.list_names();
      return;
    }
    drop_unmarked();
    state_.index_names();
  }

 private:
  void list_tensors() {
    for (std::uint32_t shard = 0; shard < state_.shards.size(); ++shard) {
      const format::Catalog& catalog = state_.catalog(shard);
      for (std::uint32_t entry = 0; entry < catalog.tensors.size(); ++entry) refs_.push_back({shard, entry});
      // Tensors in several byte ranges are views made here; names of the index refer to them as to others.
      for (const format::Joined& joined : catalog.joined) {
        refs_.push_back({EntryRef::made, static_cast<std::uint32_t>(state_.made.size())});
        state_.made.push_back(join_runs(*state_.shards[shard], joined));
      }
      // The entries added for this shard get its number.
      shards_.resize(refs_.size(), shard);
    }
  }

  void enter(std::uint32_t position) {
    // Tensors of one name form a list that starts at the first one, which alone is in table_. Most checkpoints have
    // none, so twins_ is empty until needed.
    const std::uint32_t twin = table_.insert(state_.hash(name(position)), position,
                                             [&](std::uint32_t held) { return name(held) == name(position); });
    if (twin == core::NameIndex::none) return;
    if (twins_.empty()) twins_.resize(refs_.size(), core::NameIndex::none);
    twins_[position] = twins_[twin];
    twins_[twin] = position;
    if (twins_[position] == core::NameIndex::none) twinned_.push_back(twin);
  }

  // Returns the tensor of that name in that shard, else in the only shard that has it.
  [[nodiscard]] std::uint32_t look_up(std::string_view name, std::uint32_t shard) const {
    std::uint32_t first = find(name);
    if (first == core::NameIndex::none && name.find('/') != name.npos &&
        state_.catalog(shard).format == format::flax_format.name) {
      // Flax's indexes separate path parts by slashes.
      std::string dotted(name);
      std::ranges::replace(dotted, '/', '.');
      first = find(dotted);
    }
    // Without twins the tensor is in one shard, which is used even if the index declares another one.
    if (first == core::NameIndex::none || twins_.empty()) return first;
    for (std::uint32_t twin = first; twin != core::NameIndex::none; twin = twins_[twin])
      if (shards_[twin] == shard) return twin;
    // The declared shard lacks it, and one other has it.
    if (twins_[first] == core::NameIndex::none) return first;
    throw Error(ErrorCode::ambiguous,
                fmt::format("the index declares it in {}, which does not have it, and {} and {} do",
                            core::escaped(base_name(*state_.shards[shard])),
                            core::escaped(base_name(*state_.shards[shards_[first]])),
                            core::escaped(base_name(*state_.shards[shards_[twins_[first]]]))),
                {.path = std::string(index_.file->path()), .tensor = std::string(name)});
  }

  [[nodiscard]] std::uint32_t find(std::string_view wanted) const noexcept {
    return table_.find(state_.hash(wanted), [&](std::uint32_t held) { return name(held) == wanted; });
  }

  void drop_unmarked() {
    state_.entries.reserve(marked_);
    for (std::uint32_t position = 0; position < refs_.size(); ++position)
      if (meant_[position]) state_.entries.push_back(refs_[position]);
  }

  void note(std::string message) {
    state_.notes.push_back(fmt::format("{}: {}", core::escaped(index_.file->path(), 1000), message));
  }

  void note_differences() {
    if (moved_.size() != 0)
      note(fmt::format("{} found in another shard than in the index, and read from there: {}",
                       core::counted(moved_.size(), "tensor"), moved_.text()));
    if (absent_.size() != 0)
      note(fmt::format("{} that the index names, found in no shard: {}", core::counted(absent_.size(), "tensor"),
                       absent_.text()));
    if (marked_ == refs_.size()) return;
    // A tensor that is used from another shard is a copy, not left out.
    const std::vector<bool> copies = find_copies();
    std::vector<std::uint32_t> left_out(state_.shards.size());
    for (std::uint32_t position = 0; position < refs_.size(); ++position)
      if (!meant_[position] && !copies[position]) ++left_out[shards_[position]];
    for (std::uint32_t shard = 0; shard < left_out.size(); ++shard)
      if (left_out[shard] != 0)
        state_.notes.push_back(fmt::format(
            "{}: {} that the index does not name {} left out", core::escaped(state_.shards[shard]->file->path(), 1000),
            core::counted(left_out[shard], "tensor"), left_out[shard] == 1 ? "is" : "are"));
  }

  // Returns the tensors whose name is used from another shard, and adds a note.
  std::vector<bool> find_copies() {
    std::vector<bool> copies(refs_.size());
    NoteList names;
    for (const std::uint32_t first : twinned_) {
      bool is_taken = false;
      for (std::uint32_t twin = first; twin != core::NameIndex::none; twin = twins_[twin])
        is_taken = is_taken || meant_[twin];
      // All are marked as copies, also the one in use: callers test meant_ first.
      for (std::uint32_t twin = first; is_taken && twin != core::NameIndex::none; twin = twins_[twin])
        copies[twin] = true;
      if (is_taken) names.add_name(name(first));
    }
    if (names.size() != 0)
      note(fmt::format("{} found in several shards, and read from the one in the index: {}",
                       core::counted(names.size(), "tensor"), names.text()));
    return copies;
  }

  // Returns a candidate without a hash lookup: the tensor after one of the last found. An index and its shards mostly
  // list names in the same order, or in a few interleaved runs of it (one for each dtype).
  [[nodiscard]] std::uint32_t guess(std::string_view name, std::uint32_t shard) noexcept {
    auto& recent = next_[shard];
    for (auto next = recent.begin(); next != recent.end(); ++next) {
      if (*next < refs_.size() && shards_[*next] == shard && this->name(*next) == name) {
        std::rotate(recent.begin(), next, next + 1);
        return recent.front();
      }
    }
    // The oldest place moves to the front, where mark() stores the place of the tensor it finds.
    std::rotate(recent.begin(), recent.end() - 1, recent.end());
    return core::NameIndex::none;
  }

  [[nodiscard]] std::string_view name(std::uint32_t position) const noexcept {
    const EntryRef at = refs_[position];
    return at.shard == EntryRef::made ? state_.made[at.entry].name() : state_.catalog(at.shard).tensors[at.entry].name;
  }

  State& state_;
  const Shard& index_;
  std::vector<EntryRef> refs_;
  std::vector<std::uint32_t> shards_;               // of each of refs_
  core::NameIndex table_;                           // the first of each name
  std::vector<std::uint32_t> twins_;                // the next of the same name; empty if all names are unique
  std::vector<std::uint32_t> twinned_;              // first of each repeated name
  std::vector<std::array<std::uint32_t, 4>> next_;  // for each shard, places after the last found ones
  std::vector<bool> meant_;
  std::size_t marked_ = 0;
  NoteList moved_;
  NoteList absent_;
};

// Returns a non-negative number in any form that writers of indexes use; nothing for other nodes.
std::optional<std::uint64_t> number_of(const format::Node& node) noexcept {
  using format::NodeKind;
  if (node.kind == NodeKind::integer && node.count == 0 && node.integer >= 0)
    return static_cast<std::uint64_t>(node.integer);
  if (node.kind == NodeKind::unsigned_integer) return node.unsigned_integer;
  if (node.kind == NodeKind::real && node.real >= 0 && node.real < 0x1p63) return static_cast<std::uint64_t>(node.real);
  if (node.kind != NodeKind::text) return {};
  std::uint64_t number = 0;
  const auto [end, error] = std::from_chars(node.text, node.text + node.count, number);
  return error == std::errc() && end == node.text + node.count ? std::optional(number) : std::nullopt;
}

// Returns metadata.total_size, which can be an integer, a real or text.
std::optional<std::uint64_t> declared_size(const format::Catalog& catalog) noexcept {
  const format::Node* const value = catalog.find_key(catalog.metadata, "total_size");
  return value == nullptr ? std::nullopt : number_of(*value);
}

// Returns the bytes of all tensors. Tensors that share a storage are neighbours in file order and count once.
std::uint64_t tensor_bytes(const State& state) noexcept {
  std::uint64_t sum = 0;
  const format::TensorEntry* before = nullptr;
  for (const EntryRef at : state.entries) {
    if (at.shard == EntryRef::made) {
      sum += state.made[at.entry].size_bytes();
      continue;
    }
    const format::Catalog& catalog = state.catalog(at.shard);
    const format::TensorEntry& entry = catalog.tensors[at.entry];
    // Formats list the entries of one storage next to each other, with the same byte range.
    const bool shared = before != nullptr && before->begin == entry.begin && before->size == entry.size &&
                        before->member == entry.member && at.entry != 0 && before == &catalog.tensors[at.entry - 1];
    before = &entry;
    if (shared) continue;
    std::uint64_t elements = 1;
    // Does not overflow: formats have checked the product at open.
    for (const std::int64_t size : catalog.sizes(entry)) elements *= static_cast<std::uint64_t>(size);
    sum += entry.dtype == DType::unknown ? entry.size : packed_bytes(entry.dtype, elements);
  }
  return sum;
}

}  // namespace

void merge_index(State& state, const Shard& index, const std::vector<std::uint32_t>& numbers) {
  Candidates candidates(state, index);
  for (const format::Located& located : index.catalog->located) candidates.mark(located.name, numbers[located.shard]);
  candidates.keep_marked();
  // A wrong total_size changes no tensor, so it is a note, not an Error.
  if (const auto declared = declared_size(*index.catalog))
    if (const std::uint64_t found = tensor_bytes(state); found != *declared)
      state.notes.push_back(fmt::format("{}: total_size is {}, the tensors have {} bytes",
                                        core::escaped(index.file->path(), 1000), *declared, found));
}

}  // namespace heft::record
