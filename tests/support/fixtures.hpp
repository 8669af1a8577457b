// Files that other programs wrote, and situations that users reported. They are not part of this tree: the Meson option
// `fixtures` names the folder that holds them, in its folders `fixtures` and `cases`.
#pragma once

#include <filesystem>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace heft::test {

/// The top of this source tree.
[[nodiscard]] std::filesystem::path source_root();

/// The folder (or file) `name` of the fixtures, or nothing when it is absent; then the test case counts as skipped:
///
///   const auto folder = fixtures("safetensors-synthetic");
///   if (!folder) return;
[[nodiscard]] std::optional<std::filesystem::path> fixtures(std::string_view name);

/// The same for the situations that users reported: cases("bugreports-2/index-stale").
[[nodiscard]] std::optional<std::filesystem::path> cases(std::string_view name);

/// Says that the running test case cannot be run here, and why; tests/tally.py counts it. The test case then returns.
void skip(std::string_view why);

/// A row of a tab-separated index.
using Row = std::vector<std::string>;

/// The rows of a tab-separated file, without its headline. Fails the test when it cannot be read or has no rows.
[[nodiscard]] std::vector<Row> read_tsv(const std::filesystem::path& path);

}  // namespace heft::test
