#include "heft/bind_report.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <string_view>

#include "core/nearest_names.hpp"
#include "core/text.hpp"

namespace heft {
namespace {

constexpr std::size_t shown = 10;  // entries of each list

// Appends a list. `line(i)` returns the text of entry i, in which control characters must be escaped.
template <class Line>
void append_list(std::string& out, std::string_view title, std::size_t count, Line line) {
  if (count == 0) return;
  out += fmt::format("\n{} {}:", count, title);
  for (std::size_t i = 0; i < std::min(shown, count); ++i) out += fmt::format("\n  {}", line(i));
  if (count > shown) out += "\n  ...";
}

}  // namespace

std::string BindReport::to_string() const {
  // A field that is missing is often in the file under another name, which is then among the unused ones.
  const std::vector<std::string_view> unused_names(unused.begin(), unused.end());
  std::string out = fmt::format("{}: {} applied", ok() ? "ok" : "failed", applied.size());
  append_list(out, "missing", missing.size(),
              [&](std::size_t i) { return core::escaped(missing[i]) + core::did_you_mean(missing[i], unused_names); });
  append_list(out, "unused", unused.size(), [&](std::size_t i) { return core::escaped(unused[i]); });
  append_list(out, "skipped", skipped.size(), [&](std::size_t i) { return core::escaped(skipped[i]); });
  append_list(out, "errors", errors.size(),
              // Paths come from the file; messages are escaped already.
              [&](std::size_t i) { return fmt::format("{}: {}", core::escaped(errors[i].path), errors[i].message); });
  return out;
}

}  // namespace heft
