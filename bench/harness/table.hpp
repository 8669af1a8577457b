// bench/harness/table.hpp: one question: rows of subjects doing the same work, run in turn, and what came of it.
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
  std::vector<Sample> samples{};  ///< One a round; none once it has failed or turned out absent.
  std::string failure{};          ///< Why there are none.
  bool absent = false;
};

struct Table {
  std::string title;
  std::string question;  ///< In words: what a ratio of 1 would mean.
  /// Of `files`, before every run; nothing: as a first round, not counted, leaves it.
  std::optional<CacheState> state;
  std::vector<Extent> files;
  std::vector<Row> rows;
  std::vector<std::string> remarks{};  ///< Printed below.
  bool copies = true;                  ///< False: nothing is copied, and bytes over time would say nothing.
};

struct RunOptions {
  unsigned rounds = 7;
  bool keep_timeline = false;
  double interval_seconds = 0.005;
};

/// Runs all rows once a round, in order: A B C A B C. A bar shows how far it has come.
void run(Table& table, const RunOptions& options);

/// Medians over a row's samples.
struct Summary {
  double seconds = 0, fastest = 0, slowest = 0;
  double gigabytes_per_second = 0;
  double ratio = 0;  ///< Speed over the reference's: the median of the ratios taken round by round; 0: no reference.
  Memory baseline, peak;
  Counters used;
};

/// The fastest reference row that ran, or null.
const Row* reference_of(const Table& table);
Summary summarize(const Row& row, const Row* reference);

/// The table as text, at most 120 columns wide.
std::string to_text(const Table& table);
void to_json(const Table& table, JsonWriter& out);

}  // namespace bench
