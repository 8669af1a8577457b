// What can be said of a table once its rounds are over.
#include <algorithm>

#include <fmt/format.h>

#include "scenarios/scenarios.hpp"

namespace bench {

namespace {

const Row* find_row(const Table& table, std::string_view label) {
  const auto found = std::find_if(table.rows.begin(), table.rows.end(),
                                  [&](const Row& row) { return row.label == label && !row.samples.empty(); });
  return found == table.rows.end() ? nullptr : &*found;
}

void compare_with_forced(Table& table) {
  const Row* automatic = find_row(table, "heft");
  const Row* best = nullptr;
  for (const std::string_view label : {"heft, path map", "heft, path direct", "heft, path read"}) {
    const Row* row = find_row(table, label);
    if (row != nullptr && (best == nullptr || summarize(*row, nullptr).seconds < summarize(*best, nullptr).seconds))
      best = row;
  }
  if (automatic == nullptr || best == nullptr) return;
  table.remarks.push_back(fmt::format("automatic takes {:.3f} x the time of the best forced path ({})",
                                      1 / summarize(*automatic, best).ratio, best->label.substr(11)));
}

void name_spread(Table& table) {
  const Row* reference = reference_of(table);
  if (reference == nullptr || reference->samples.size() < 2) return;
  const Summary s = summarize(*reference, nullptr);
  table.remarks.push_back(fmt::format("* reference; its {} rounds spread from {:.2f} to {:.2f} of their median",
                                      reference->samples.size(), s.fastest / s.seconds, s.slowest / s.seconds));
}

void quote_notes(Table& table) {
  for (const Row& row : table.rows)
    if (row.party == Party::heft && !row.samples.empty() && !row.samples.back().note.empty())
      table.remarks.push_back(fmt::format("{}: {}", row.label, row.samples.back().note));
}

}  // namespace

void conclude(Table& table) {
  name_spread(table);
  compare_with_forced(table);
  quote_notes(table);
}

}  // namespace bench
