// record/weight_names.hpp: what the names of files tell: weights, what a trainer keeps beside them, numbered parts.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace heft::record {

/// True for the usual ending of a format that heft reads; indexes are not weights.
bool is_weights(std::string_view name) noexcept;
/// True for the usual ending of a format that heft refuses by name.
bool is_refused_weights(std::string_view name) noexcept;
/// True for the usual ending of an archive or a compressed file.
bool is_archive(std::string_view name) noexcept;
/// "model.safetensors.index.json" and the like.
bool is_index(std::string_view name) noexcept;
/// True for what a trainer keeps beside the weights, whatever its ending: training_args.bin, optimizer.pt, rng_state_0.pth. Never the model.
bool is_helper(std::string_view name) noexcept;
/// True for a piece of a DeepSpeed checkpoint whose tensors are scattered over the ranks: zero_pp_rank_0_mp_rank_00_model_states.pt.
bool is_scattered(std::string_view name) noexcept;
/// True for a file that a download has not finished: "x.incomplete", "x.part".
bool is_unfinished(std::string_view name) noexcept;

/// "<prefix>-00002-of-00003<suffix>" taken apart; points into the name.
struct PartName {
  std::string_view prefix;
  std::string_view number;
  std::string_view total;
  std::string_view suffix;
};
std::optional<PartName> part_name(std::string_view name) noexcept;

/// The numbered parts of one model that are there.
struct PartSet {
  std::vector<std::string> names;  ///< By name, that is by number.
  std::uint64_t total = 0;         ///< As each name declares.
  std::uint64_t first = 1;         ///< Number of the first part: 0 where a part has that.

  [[nodiscard]] bool is_complete() const { return names.size() == total && missing(1).empty(); }
  /// Names of parts that are not there, at most `most`.
  [[nodiscard]] std::vector<std::string> missing(std::size_t most) const;
  /// "model-0000N-of-00003.safetensors"
  [[nodiscard]] std::string pattern() const;
};

/// The sets among `names`, which are sorted. Names that are no parts, or whose number is over their total, are in none.
std::vector<PartSet> part_sets(std::span<const std::string> names);

/// "'a', 'b', 'c'", of more than five "... and 7 more". Escaped. `count` is that of all, where `names` holds the first only.
std::string listed(std::span<const std::string> names, std::size_t count);
inline std::string listed(std::span<const std::string> names) { return listed(names, names.size()); }

}  // namespace heft::record
