// Files that other programs wrote, shared by several projects and so not in this tree: they lie beside it in
// ../shared/fixtures, or are absent.
#pragma once

#include <filesystem>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace heft::test {

/// The top of this source tree.
[[nodiscard]] std::filesystem::path source_root();

/// The fixture folder (or file) of that name, or nothing when it is absent; then the test case is counted as skipped:
///
///   const auto folder = fixtures("safetensors-synthetic");
///   if (!folder) return;
[[nodiscard]] std::optional<std::filesystem::path> fixtures(std::string_view name);

/// Says that the running test case cannot be run here, and why; tests/tally.py counts it. The test case then returns.
void skip(std::string_view why);

/// A row of a tab-separated index.
using Row = std::vector<std::string>;

/// The rows of a tab-separated file, without its headline. Fails the test when it cannot be read or has no rows.
[[nodiscard]] std::vector<Row> read_tsv(const std::filesystem::path& path);

}  // namespace heft::test
