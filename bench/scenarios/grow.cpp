// The growth of cost: with bytes at a fixed number of tensors, with tensors at a fixed number of bytes, with threads.
#include <array>

#include <fmt/format.h>

#include "heft/checkpoint.hpp"
#include "scenarios/grow.hpp"
#include "subjects/plan.hpp"

namespace bench {

namespace {

constexpr std::uint64_t total_bytes = 400'000'000;
constexpr std::array<std::uint64_t, 5> tensor_counts = {10, 100, 1'000, 10'000, 100'000};

Table table_for(const Target& target, CacheState state, unsigned threads) {
  Job job = {.path = target.path.string(), .threads = threads};
  const heft::Checkpoint checkpoint = heft::open(target.path);
  job.bytes_read = job.bytes_written = size_of_plan(checkpoint, job).bytes_needed;
  Table table{fmt::format("grow: {}, {}, {} threads", target.label, name(state), threads),
              "ratio 1: as fast as memcpy of as many bytes",
              state,
              files_of(target.path),
              {}};
  Job planned = job;
  planned.planned = true;
  table.rows = {heft_row("heft", "heft-materialize", job),
                heft_row("heft, opened and planned before", "heft-materialize", planned),
                yardstick_row("memcpy into fresh huge pages", "memcpy", job, true)};
  return table;
}

}  // namespace

std::vector<Recipe> growing_recipes(std::uint64_t max_bytes) {
  std::vector<Recipe> recipes;
  for (std::uint64_t bytes = 100'000'000; bytes <= max_bytes; bytes *= 4) recipes.push_back({"llama-3-8b", {}, bytes});
  for (const std::uint64_t count : tensor_counts)
    recipes.push_back({fmt::format("{}x{}", count, total_bytes / count / 64 * 64), {}, 0});
  return recipes;
}

std::vector<Table> grow_tables(const Target& target, const Settings& settings) {
  std::vector<Table> tables;
  for (const CacheState state : settings.states)
    for (unsigned threads = 1; threads <= settings.threads; threads *= 2)
      tables.push_back(table_for(target, state, threads));
  return tables;
}

}  // namespace bench
