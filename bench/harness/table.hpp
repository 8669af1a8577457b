// bench/harness/table.hpp: a table of subjects that do the same work: runs them in turn and reports the results.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "harness/child.hpp"
#include "harness/json.hpp"
#include "harness/page_cache.hpp"

namespace bench {

enum class Party { heft, yardstick, peer };

struct Row {
  std::string label;
  Party party = Party::yardstick;
  std::vector<std::string> command;
  bool reference = false;         ///< Ratios are taken against the fastest of these.
  std::vector<Sample> samples{};  ///< One per round; none if a run failed or the subject is absent.
  std::string failure{};          ///< The reason why there are none.
  bool absent = false;
};

struct Table {
  std::string title;
  std::string question;  ///< The meaning of a ratio of 1, in words.
  /// The page cache state of `files` before every run; nothing: as an uncounted first round leaves it.
  std::optional<CacheState> state;
  std::vector<Extent> files;
  std::vector<Row> rows;
  std::vector<std::string> notes{};  ///< Printed below.
  unsigned repeats = 1;              ///< Times and bytes are given for one of so many pieces of work in a run.
  bool copies = true;                ///< False: nothing is copied, so that bytes over time are meaningless.
};

struct RunOptions {
  unsigned rounds = 7;
  bool keep_timeline = false;
  double interval_seconds = 0.005;
};

/// Runs all rows once per round, in a random order in each. Shows a progress bar.
void run(Table& table, const RunOptions& options);

/// Medians over a row's samples.
struct Summary {
  double seconds = 0, fastest = 0, slowest = 0;
  double gigabytes_per_second = 0;
  double ratio = 0;  ///< Speed relative to the reference: the median of the ratios of each round; 0: no reference.
  Memory baseline, peak;
  Counters used;
};

/// Returns the fastest reference row that ran, or null.
const Row* reference_of(const Table& table);
Summary summarize(const Row& row, const Row* reference);

/// Returns the table as text, at most 120 columns wide.
std::string to_text(const Table& table);
void to_json(const Table& table, JsonWriter& out);

}  // namespace bench
