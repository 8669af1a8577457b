// The time to open a checkpoint and list every tensor, and the memory to view every tensor.
#include <iterator>

#include <fmt/format.h>

#include "scenarios/scenarios.hpp"

namespace bench {

namespace {

bool has_headers_of_its_own(const std::filesystem::path& path) {
  return std::filesystem::is_directory(path) || path.extension() == ".safetensors";
}

Table table_for(const Target& target, const Settings& settings, std::string title, std::string question,
                std::string_view what) {
  const Job job = {.path = target.path.string(), .threads = settings.threads};
  Table table{std::move(title), std::move(question), std::nullopt, files_of(target.path), {}};
  table.copies = false;
  if (has_headers_of_its_own(target.path))
    table.rows.push_back(yardstick_row("read headers, scan once", "headers", job, true));
  for (Row& row : peer_rows(target, settings, what)) table.rows.push_back(std::move(row));
  return table;
}

}  // namespace

std::vector<Table> open_tables(const Target& target, const Settings& settings) {
  const Job job = {.path = target.path.string(), .threads = settings.threads};
  Table table = table_for(target, settings, fmt::format("open: {}", target.label),
                          "ratio 1: as fast as reading the header bytes and looking at each once", "open");
  table.rows.insert(table.rows.begin(), {heft_row("heft open, all names listed", "heft-open", job),
                                         heft_row("heft open, tree built and walked", "heft-tree", job)});
  return {table};
}

std::vector<Table> view_tables(const Target& target, const Settings& settings) {
  const Job job = {.path = target.path.string(), .threads = settings.threads};
  Table table = table_for(target, settings, fmt::format("view: {}", target.label),
                          "every tensor viewed, none copied; ratio as for open", "view");
  table.rows.insert(table.rows.begin(), heft_row("heft view of every tensor", "heft-view", job));
  return {table};
}

}  // namespace bench
