// record/weight_names.hpp: classifies files by name: weights, indexes, files of a trainer, numbered parts; and
// checks the names of siblings.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace heft::record {

/// Returns true for the usual ending of a format that heft reads; indexes are not weights.
bool is_weights(std::string_view name) noexcept;
/// Returns true for the usual ending of a format that heft refuses by name.
bool is_refused_weights(std::string_view name) noexcept;
/// Returns true for the usual ending of an archive or a compressed file.
bool is_archive(std::string_view name) noexcept;
/// Returns true for "model.safetensors.index.json" and similar names.
bool is_index(std::string_view name) noexcept;
/// Returns true for files that a trainer writes beside the weights, with any ending: training_args.bin, optimizer.pt,
/// rng_state_0.pth.
bool is_helper(std::string_view name) noexcept;
/// Returns true for a piece of a DeepSpeed checkpoint whose tensors are distributed over the ranks:
/// zero_pp_rank_0_mp_rank_00_model_states.pt.
bool is_scattered(std::string_view name) noexcept;
/// Returns true for an unfinished download: "x.incomplete", "x.part".
bool is_unfinished(std::string_view name) noexcept;

/// The parts of "<prefix>-00002-of-00003<suffix>"; points into the name.
struct PartName {
  std::string_view prefix;
  std::string_view number;
  std::string_view total;
  std::string_view suffix;
};
std::optional<PartName> part_name(std::string_view name) noexcept;

/// The existing numbered parts of one model.
struct PartSet {
  std::vector<std::string> names;  ///< Sorted by name, which is by number.
  std::uint64_t total = 0;         ///< The total in each name.
  std::uint64_t first = 1;         ///< Number of the first part: 0 if a part has it.

  [[nodiscard]] bool is_complete() const { return names.size() == total && missing(1).empty(); }
  /// Returns the names of missing parts, at most `most`.
  [[nodiscard]] std::vector<std::string> missing(std::size_t most) const;
  /// Returns "model-0000N-of-00003.safetensors".
  [[nodiscard]] std::string pattern() const;
};

/// Returns the sets of parts in `names`, which must be sorted. Ignores other names, and numbers over their total.
std::vector<PartSet> part_sets(std::span<const std::string> names);

/// Returns "'a', 'b', 'c'", escaped; after five names "... and 7 more". `count` is the total if `names` has only the
/// first.
std::string listed(std::span<const std::string> names, std::size_t count);
inline std::string listed(std::span<const std::string> names) { return listed(names, names.size()); }

/// Throws Error{refused} unless `name`, a sibling that a file declares, is a plain name: 1 to 255 bytes without '/',
/// '\' and control characters, and not "." or "..". Such a name cannot leave the folder.
void require_plain_name(std::string_view name, std::string_view declared_in);

}  // namespace heft::record
