// heft/remap.hpp: other names for the keys of a checkpoint: chained replacements, and lists without gaps.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "heft/checkpoint.hpp"

namespace heft {

/// A key after renaming, and what it was.
struct Renamed {
  std::string now;
  std::string was;
};

/// A list of (pattern, replacement). For every key, each pattern in order is tried on the name that the ones before
/// have made, and all its matches are replaced; a pattern that matches nothing is no error.
///
///   heft::Remapping names;
///   names.add("^module\\.", "").add("(.*)\\.gamma$", "$1.weight");
///   heft::Checkpoint renamed = heft::remap(checkpoint, names);
///
/// Patterns are RE2's (linear time, no look-around, no back-references); groups are named (?<name>...) or
/// (?P<name>...). In a replacement, $1 and ${1} are groups by number, $name and ${name} by name (without braces the
/// longest run of [0-9A-Za-z_] is the name, so write ${1}a), $$ is a dollar sign; a group that the pattern does not
/// have is empty.
///
/// A value; copies share the compiled patterns. Const members may be called from several threads.
class HEFT_API Remapping {
 public:
  Remapping() noexcept;
  /// Throws Error{out_of_range} with the reason when the pattern does not compile.
  Remapping& add(std::string_view pattern, std::string_view replacement);

  /// The name that `name` becomes.
  [[nodiscard]] std::string operator()(std::string_view name) const;
  /// What becomes of every key of the checkpoint: tensors in file order, then the values that are no tensors. For
  /// finding out why a key is not where it should be: collisions are shown, not refused. Lists are not renumbered here.
  [[nodiscard]] std::vector<Renamed> trace(const Checkpoint& checkpoint) const;
  [[nodiscard]] bool empty() const noexcept { return rules_.empty(); }

 private:
  struct Rule;
  std::vector<std::shared_ptr<const Rule>> rules_;
};

/// What becomes of lists with gaps, as PyTorch's Sequential leaves them: "fc.0, fc.2, fc.4".
enum class Indices : std::uint8_t {
  by_format,   ///< contiguous for PyTorch's files, keep for all others.
  keep,        ///< Numbers are what the file says.
  contiguous,  ///< The numbers seen after the same prefix are sorted and renumbered from 0; lists in lists each for themselves.
};

/// The checkpoint under new keys: names are remapped, then lists renumbered. Nothing is read or copied; views of the
/// result hold what they need.
///
/// `exempt` are patterns (as Checkpoint::tensors() takes) for prefixes of lists whose gaps are real: "model.layers".
/// Their numbers stay as they are spelled. Values that are no tensors are renamed too. Throws Error{ambiguous} naming
/// both originals when two keys become one ("00" and "0" are one index), Error{out_of_range} for a pattern in `exempt`
/// that does not compile.
[[nodiscard]] HEFT_API Checkpoint remap(const Checkpoint& checkpoint, const Remapping& remapping, Indices indices = Indices::by_format,
                                        const std::vector<std::string>& exempt = {});

}  // namespace heft
