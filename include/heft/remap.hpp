// heft/remap.hpp: new names for the keys of a checkpoint: chained replacements, and lists without gaps.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "heft/checkpoint.hpp"

namespace heft {

/// A key after renaming, and its original.
struct Renamed {
  std::string now;
  std::string was;
};

/// A list of (pattern, replacement). For every key, the patterns are applied in order, each to the result of those
/// before it, and all matches of a pattern are replaced. A pattern that matches no key is not an error.
///
/// Example:
///   heft::Remapping names;
///   names.add("^module\\.", "").add("(.*)\\.gamma$", "$1.weight");
///   const heft::Checkpoint renamed = heft::remap(checkpoint, names);
///
/// Patterns are RE2's (linear time, no look-around, no back-references); groups are named (?<name>...) or
/// (?P<name>...). In a replacement, $1 and ${1} are groups by number, $name and ${name} by name (without braces the
/// longest run of [0-9A-Za-z_] is the name, so write ${1}a), $$ is a dollar sign; a group that the pattern lacks is
/// replaced by nothing. This is the replacement syntax of Rust's regex crate.
///
/// A value: copies share the compiled patterns. Const members may be called from several threads; add() may not.
class HEFT_API Remapping {
 public:
  Remapping() noexcept;
  /// Appends a rule and returns *this, so that calls chain. Throws Error{out_of_range} with RE2's reason when the
  /// pattern does not compile.
  Remapping& add(std::string_view pattern, std::string_view replacement);

  /// Returns the new name of `name`.
  [[nodiscard]] std::string operator()(std::string_view name) const;
  /// Returns every key of the checkpoint with its new name: tensors in file order, then the other values. Serves to
  /// find out why a key is not where it is expected: collisions are listed, not refused. Lists are not renumbered here.
  [[nodiscard]] std::vector<Renamed> trace(const Checkpoint& checkpoint) const;
  /// True without rules: no name changes.
  [[nodiscard]] bool empty() const noexcept { return rules_.empty(); }

 private:
  struct Rule;
  std::vector<std::shared_ptr<const Rule>> rules_;
};

/// The treatment of lists with gaps, which PyTorch's Sequential leaves: "fc.0, fc.2, fc.4".
enum class Indices : std::uint8_t {
  by_format,   ///< contiguous for PyTorch's files, keep for all others.
  keep,        ///< Numbers stay as they are in the file.
  contiguous,  ///< Numbers after the same prefix are sorted and renumbered from 0, in each list separately.
};

/// Returns the checkpoint under new keys: names are remapped, then lists renumbered. No payload is read or copied; the
/// result holds the files and the tables that it needs.
///
/// `exempt` lists patterns (as of Checkpoint::tensors()) for prefixes of lists whose gaps have a meaning:
/// "model.layers". Their numbers stay as they are spelled. Values that are not tensors are renamed too. Throws
/// Error{ambiguous}, which names both originals, when two keys become one ("00" and "0" are one index);
/// Error{out_of_range} for a pattern in `exempt` that does not compile.
[[nodiscard]] HEFT_API Checkpoint remap(const Checkpoint& checkpoint, const Remapping& remapping,
                                        Indices indices = Indices::by_format,
                                        const std::vector<std::string>& exempt = {});

}  // namespace heft
