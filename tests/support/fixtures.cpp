#include "support/fixtures.hpp"

#include <fstream>
#include <iostream>
#include <sstream>
#include <stdexcept>

namespace heft::test {

namespace fs = std::filesystem;

fs::path source_root() { return HEFT_SOURCE_ROOT; }

namespace {

std::optional<fs::path> outside(std::string_view folder, std::string_view name) {
  const fs::path root = HEFT_FIXTURES;
  if (fs::path path = root / folder / name; !root.empty() && fs::exists(path)) return path;
  skip(root.empty() ? "the Meson option 'fixtures' names no folder"
                    : "the folder that the Meson option 'fixtures' names lacks it");
  return std::nullopt;
}

}  // namespace

std::optional<fs::path> fixtures(std::string_view name) { return outside("fixtures", name); }

std::optional<fs::path> cases(std::string_view name) { return outside("cases", name); }

void skip(std::string_view why) { std::cout << "skipped: " << why << std::endl; }

std::vector<Row> read_tsv(const fs::path& path) {
  std::ifstream file(path);
  std::vector<Row> rows;
  for (std::string line; std::getline(file, line);) {
    std::istringstream fields(line);
    Row& row = rows.emplace_back();
    for (std::string field; std::getline(fields, field, '\t');) row.push_back(std::move(field));
  }
  if (rows.size() < 2) throw std::runtime_error(path.string() + " has no rows");
  rows.erase(rows.begin());
  return rows;
}

}  // namespace heft::test
