// bench/scenarios/scenarios.hpp: the scenarios of heft-bench, each with one or more tables.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "harness/table.hpp"
#include "subjects/subject.hpp"

namespace bench {

/// The checkpoint of a scenario.
struct Target {
  std::filesystem::path path;
  std::string label;  ///< "llama-3.2-1b.safetensors"
};

struct Settings {
  unsigned threads = 0;  ///< Of heft and of every yardstick.
  RunOptions run;
  bool peers = true;
  std::string python = "python3";
  std::vector<CacheState> states = {CacheState::warm, CacheState::cold, CacheState::half};
  std::vector<std::string> dtypes = {""};          ///< Convert to; "" is the stored dtype.
  std::vector<bool> destinations = {false, true};  ///< True: reused memory.
  bool forced_paths = true;                        ///< Also run with MaterializeOptions::io_method.
  std::string before;  ///< Path of another build's heft-bench: `lists`, `small` and `consume` add its rows.
  std::vector<std::string> cuts = {"whole"};  ///< Of matrices: names of set_cut().
};

/// Sets the cut of matrices in `job`: "whole", "transposed" (dims exchanged), "dim0" or "dim1" (one rank of 8 along
/// it). Throws std::runtime_error for other names.
void set_cut(Job& job, const std::string& name);

/// Makes the tables of a scenario without running them.
using Scenario = std::vector<Table> (*)(const Target& target, const Settings& settings);

std::vector<Table> open_tables(const Target& target, const Settings& settings);
std::vector<Table> view_tables(const Target& target, const Settings& settings);
std::vector<Table> materialize_tables(const Target& target, const Settings& settings);
std::vector<Table> slice_tables(const Target& target, const Settings& settings);
std::vector<Table> stream_tables(const Target& target, const Settings& settings);
std::vector<Table> consume_tables(const Target& target, const Settings& settings);
std::vector<Table> memory_tables(const Target& target, const Settings& settings);

/// Adds notes that need the results: the spread of the reference, the automatic path compared with the best forced one,
/// and the notes of heft's rows.
void add_notes(Table& table);

/// Rows that several scenarios use.
Row heft_row(std::string label, std::string_view subject, const Job& job);
/// Adds heft's row, and the same of Settings::before.
void add_heft(Table& table, const Settings& settings, const std::string& label, std::string_view subject,
              const Job& job);
Row yardstick_row(std::string label, std::string_view subject, const Job& job, bool reference = false);
/// Returns rows of the peers that read this kind of file; `what` is "open", "view" or "load".
std::vector<Row> peer_rows(const Target& target, const Settings& settings, std::string_view what,
                           const std::string& dtype = "");

}  // namespace bench
