// bench/scenarios/scenarios.hpp: the questions that heft-bench asks, each a table or several.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "harness/table.hpp"
#include "subjects/subject.hpp"

namespace bench {

/// The checkpoint that is asked about.
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
  std::vector<bool> destinations = {false, true};  ///< Reused or not.
  bool forced_paths = true;                        ///< Also with MaterializeOptions::path.
  std::string before;                              ///< Another build's heft-bench, whose rows `lists` adds; empty: none.
  std::vector<std::string> cuts = {"whole"};       ///< Of matrices: names that set_cut() takes.
};

/// "whole", "transposed" (their dims exchanged), "dim0" and "dim1" (one rank of 8 along it), set in `job`. Throws for others.
void set_cut(Job& job, const std::string& name);

/// A way to ask: makes tables, runs none.
using Scenario = std::vector<Table> (*)(const Target& target, const Settings& settings);

std::vector<Table> open_tables(const Target& target, const Settings& settings);
std::vector<Table> view_tables(const Target& target, const Settings& settings);
std::vector<Table> materialize_tables(const Target& target, const Settings& settings);
std::vector<Table> slice_tables(const Target& target, const Settings& settings);
std::vector<Table> memory_tables(const Target& target, const Settings& settings);

/// Adds what can only be said after the rounds: how automatic compares with the best forced path, device bytes per byte
/// needed.
void conclude(Table& table);

/// Rows that several scenarios use.
Row heft_row(std::string label, std::string_view subject, const Job& job);
Row yardstick_row(std::string label, std::string_view subject, const Job& job, bool reference = false);
/// Peers that read this kind of file, doing `what` ("open", "view", "load").
std::vector<Row> peer_rows(const Target& target, const Settings& settings, std::string_view what,
                           const std::string& dtype = "");

}  // namespace bench
