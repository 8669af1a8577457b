#include "heft/load_report.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <string_view>

#include "core/text.hpp"

namespace heft {
namespace {

constexpr std::size_t shown = 10;  // entries of each list

void append_list(std::string& out, std::string_view title, const std::vector<std::string>& names) {
  if (names.empty()) return;
  out += fmt::format("\n{} {}:", names.size(), title);
  for (std::size_t i = 0; i < std::min(shown, names.size()); ++i) out += fmt::format("\n  {}", core::escaped(names[i]));
  if (names.size() > shown) out += "\n  ...";
}

}  // namespace

std::string LoadReport::to_string() const {
  std::string out = fmt::format("{}: {} applied", ok() ? "ok" : "failed", applied.size());
  append_list(out, "missing", missing);
  append_list(out, "unused", unused);
  append_list(out, "skipped", skipped);
  std::vector<std::string> lines;
  for (const BindError& error : errors) lines.push_back(fmt::format("{}: {}", error.path, error.sentence));
  append_list(out, "errors", lines);
  return out;
}

}  // namespace heft
