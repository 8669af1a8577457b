// Files written by other programs, and situations that users reported. They are not part of this tree: the Meson option
// `fixtures` names a folder with the subfolders `fixtures` and `cases`.
#pragma once

#include <filesystem>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace heft::test {

/// Returns the top of this source tree.
[[nodiscard]] std::filesystem::path source_root();

/// Returns the folder (or file) `name` of the fixtures; nothing, and counts the test case as skipped, when it is
/// absent:
///
///   const auto folder = fixtures("safetensors-synthetic");
///   if (!folder) return;
[[nodiscard]] std::optional<std::filesystem::path> fixtures(std::string_view name);

/// As fixtures(), for the situations that users reported: cases("bugreports-2/index-stale").
[[nodiscard]] std::optional<std::filesystem::path> cases(std::string_view name);

/// Prints why the running test case cannot run on this machine, for tests/tally.py. The test case must then return.
void skip(std::string_view why);

/// A row of a tab-separated index.
using Row = std::vector<std::string>;

/// Returns the rows of a tab-separated file without its headline. Fails the test when it cannot be read or has no rows.
[[nodiscard]] std::vector<Row> read_tsv(const std::filesystem::path& path);

}  // namespace heft::test
