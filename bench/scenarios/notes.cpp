// Notes of a table that need the results of all rounds.
#include <algorithm>
#include <vector>

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
  table.notes.push_back(fmt::format("automatic takes {:.3f} x the time of the best forced path ({})",
                                    1 / summarize(*automatic, best).ratio, best->label.substr(11)));
}

void name_spread(Table& table) {
  const Row* reference = reference_of(table);
  if (reference == nullptr || reference->samples.size() < 2) return;
  const Summary s = summarize(*reference, nullptr);
  table.notes.push_back(fmt::format("* reference; its {} rounds spread from {:.2f} to {:.2f} of their median",
                                    reference->samples.size(), s.fastest / s.seconds, s.slowest / s.seconds));
}

double median_of_processor_ratios(const Row& row, const Row& reference) {
  std::vector<double> ratios;
  for (std::size_t i = 0; i < std::min(row.samples.size(), reference.samples.size()); ++i)
    ratios.push_back(static_cast<double>(row.samples[i].used.processor_nanoseconds) /
                     static_cast<double>(std::max<std::uint64_t>(reference.samples[i].used.processor_nanoseconds, 1)));
  std::sort(ratios.begin(), ratios.end());
  return ratios.empty() ? 0 : ratios[ratios.size() / 2];
}

// Processor time measures the work better than the clock on a machine that runs other programs.
void compare_processor_time(Table& table) {
  const Row* reference = reference_of(table);
  if (reference == nullptr || table.state != CacheState::warm) return;
  for (const Row& row : table.rows)
    if (row.party == Party::heft && &row != reference && !row.samples.empty())
      table.notes.push_back(fmt::format("{}: {:.2f} x the processor time of the reference", row.label,
                                        median_of_processor_ratios(row, *reference)));
}

void quote_notes(Table& table) {
  for (const Row& row : table.rows)
    if (row.party == Party::heft && !row.samples.empty() && !row.samples.back().note.empty())
      table.notes.push_back(fmt::format("{}: {}", row.label, row.samples.back().note));
}

}  // namespace

void add_notes(Table& table) {
  name_spread(table);
  compare_with_forced(table);
  compare_processor_time(table);
  quote_notes(table);
}

}  // namespace bench
