#include "record/sharded_files.hpp"

#include <algorithm>
#include <cstdint>
#include <span>
#include <utility>
#include <vector>

#include <fmt/format.h>

#include "core/checked.hpp"
#include "core/text.hpp"
#include "format/name_table.hpp"
#include "format/safetensors/sharding_info.hpp"
#include "heft/error.hpp"
#include "record/weight_names.hpp"

namespace heft::record {
namespace {

constexpr std::string_view rank_word = "shard-";
constexpr std::string_view file_word = "-model-";
constexpr std::string_view ending = ".safetensors";

bool is_digit(char c) noexcept { return c >= '0' && c <= '9'; }

/// A tensor's entry and its place in the whole.
struct Place {
  EntryRef entry;
  std::span<const std::int64_t> at;
};

class Assembler {
 public:
  explicit Assembler(State& state) : state_(state) {}

  void assemble() {
    // places_ has spans into the elements, which must not move.
    infos_.reserve(state_.shards.size());
    for (std::uint32_t shard = 0; shard < state_.shards.size(); ++shard) collect(shard);
    for (std::size_t tensor = 0; tensor < places_.size(); ++tensor)
      add(std::string(names_.names()[tensor]), places_[tensor]);
    state_.index_names();
  }

 private:
  void collect(std::uint32_t number) {
    const Shard& shard = *state_.shards[number];
    try {
      // The places of the file's tensors in the whole ones, from the metadata of its header.
      auto info = format::ShardingInfo::of(*shard.catalog, state_.limits);
      if (!info)
        throw Error(ErrorCode::corrupt,
                    "expected the metadata DCP_SHARDING_INFO with the places of its tensors in larger ones",
                    {.offset = 0});
      infos_.push_back(std::move(*info));
      for (std::uint32_t entry = 0; entry < shard.catalog->tensors.size(); ++entry) {
        const format::TensorEntry& tensor = shard.catalog->tensors[entry];
        // A name that was new gets the next number, so its row is added.
        const std::uint32_t name = names_.add(tensor.name).index;
        if (name == places_.size()) places_.emplace_back();
        places_[name].push_back({{number, entry}, infos_.back().offsets(tensor.name, tensor.rank)});
      }
    } catch (const Error& error) {
      throw error.with_path(shard.file->path());
    }
  }

  [[nodiscard]] TensorView view(const EntryRef& at) const {
    return state_.shards[at.shard]->view(state_.catalog(at.shard).tensors[at.entry]);
  }

  // Returns the extent of the pieces.
  [[nodiscard]] Shape whole_of(const std::string& name, std::span<const Place> places) const {
    std::vector<std::int64_t> sizes;
    for (const Place& place : places) {
      const auto piece =
          state_.catalog(place.entry.shard).sizes(state_.catalog(place.entry.shard).tensors[place.entry.entry]);
      if (sizes.empty()) sizes.resize(piece.size());
      if (sizes.size() != piece.size())
        fail(name, places, fmt::format("pieces of {} and of {} dims", sizes.size(), piece.size()));
      for (std::size_t dim = 0; dim < piece.size(); ++dim) {
        // Places come from the file: the sum can exceed 63 bits.
        const std::uint64_t end = core::add_or_throw(static_cast<std::uint64_t>(place.at[dim]),
                                                     static_cast<std::uint64_t>(piece[dim]), "the end of a piece");
        if (end > INT64_MAX) fail(name, places, "a piece that ends past any tensor");
        sizes[dim] = std::max(sizes[dim], static_cast<std::int64_t>(end));
      }
    }
    return Shape(std::span<const std::int64_t>(sizes));
  }

  [[noreturn]] void fail(const std::string& name, std::span<const Place> places, std::string_view finding) const {
    throw Error(
        ErrorCode::corrupt,
        fmt::format("its pieces in {} files do not cover it: {}; one may be missing", places.size(), finding),
        {.path = std::string(state_.shards[places.front().entry.shard]->file->path()), .tensor = name, .offset = 0});
  }

  void add(const std::string& name, std::span<const Place> places) {
    const Shape whole = whole_of(name, places);
    // A piece that is the whole tensor stays an entry of its file. A tensor without elements can have several pieces,
    // all of them empty.
    const auto alone = std::ranges::find_if(places, [&](const Place& place) {
      const TensorView piece = view(place.entry);
      return piece.shape() == whole;
    });
    if (alone != places.end() && (places.size() == 1 || whole.element_count() == 0))
      return state_.entries.push_back(alone->entry);
    std::vector<Piece> pieces;
    for (const Place& place : places) pieces.push_back({view(place.entry), Dims(place.at)});
    try {
      TensorView made = TensorView::over_pieces(name, whole, std::move(pieces));
      state_.entries.push_back({EntryRef::made, static_cast<std::uint32_t>(state_.made.size())});
      state_.made.push_back(std::move(made));
    } catch (const Error& error) {
      // over_pieces() reports a caller's mistake; here the files are at fault.
      fail(name, places, error.message());
    }
  }

  State& state_;
  std::vector<format::ShardingInfo> infos_;  // of each shard
  format::NameTable names_;
  std::vector<std::vector<Place>> places_;  // of each name
};

}  // namespace

bool is_rank_file(std::string_view name) noexcept {
  if (!name.starts_with(rank_word) || !name.ends_with(ending)) return false;
  const std::string_view rest = name.substr(rank_word.size());
  const std::size_t digits = std::min(rest.find_first_not_of("0123456789"), rest.size());
  // Behind the rank comes the name of a part, "-model-00001-of-00002.safetensors".
  const std::string_view file = rest.substr(digits);
  return digits > 0 && file.starts_with(file_word) && file.size() > file_word.size() &&
         is_digit(file[file_word.size()]) && part_name(file);
}

void assemble_sharded_files(State& state) { Assembler(state).assemble(); }

std::string note_of_pieces(const Shard& shard, const Limits& limits) {
  const auto info = format::ShardingInfo::of(*shard.catalog, limits);
  const std::string_view path = shard.file->path();
  // A file whose tensors all start at zero can be whole; only its name shows that it is one rank's.
  if (!info || (info->begins_at_zero() && !is_rank_file(path.substr(path.rfind('/') + 1)))) return {};
  std::vector<std::string> names;
  for (const format::TensorEntry& tensor : shard.catalog->tensors) names.emplace_back(tensor.name);
  return fmt::format(
      "this file has one rank's pieces of {} {} ({}), as torch.distributed.checkpoint saved them: open the folder to "
      "have them whole",
      names.size(), names.size() == 1 ? "tensor" : "tensors", listed(names));
}

}  // namespace heft::record
