// The cost of lists of numbers: opening, compared with one pass over the file's bytes, and loading, compared with the
// same tensors stored as bytes.
#include "scenarios/lists.hpp"

#include <fmt/format.h>

#include "heft/checkpoint.hpp"
#include "subjects/plan.hpp"

namespace bench {

namespace {

constexpr std::uint64_t allowance = std::uint64_t{32} << 20;

bool is_packed(const Target& target) { return target.path.extension() == ".gz"; }

Table open_table(const ListTargets& targets, const Settings& settings, CacheState state, const Job& job) {
  Table table{fmt::format("lists: open {}, {}", targets.lists.label, name(state)),
              is_packed(targets.lists) ? "ratio 1: as fast as inflating the bytes into memory"
                                       : "ratio 1: as fast as reading the bytes and looking at each once",
              state,
              files_of(targets.lists.path),
              {}};
  table.copies = false;
  add_heft(table, settings, "heft", "heft-open", job);
  table.rows.push_back(yardstick_row("read, each byte looked at once", "read-over", job, !is_packed(targets.lists)));
  if (is_packed(targets.lists))
    table.rows.push_back(yardstick_row("read and inflate, libdeflate", "inflate", job, true));
  return table;
}

Table load_table(const ListTargets& targets, const Settings& settings, CacheState state, const Job& job) {
  Table table{fmt::format("lists: load {}, {}, into fresh memory", targets.lists.label, name(state)),
              "ratio 0.33: three times as long as loading the same tensors stored as bytes",
              state,
              files_of(targets.lists.path),
              {}};
  for (const Extent& file : files_of(targets.bytes.path)) table.files.push_back(file);
  add_heft(table, settings, "heft", "heft-materialize", job);
  Job bytes = job;
  bytes.path = targets.bytes.path.string();
  Row row = heft_row("heft, the tensors as safetensors", "heft-materialize", bytes);
  row.reference = true;
  table.rows.push_back(std::move(row));
  if (is_packed(targets.lists)) table.rows.push_back(yardstick_row("read and inflate, libdeflate", "inflate", job));
  for (Row& peer : peer_rows(targets.lists, settings, "load")) table.rows.push_back(std::move(peer));
  table.notes.push_back(fmt::format("destination of {:.1f} MB, {:.1f} with 32 MiB besides",
                                    static_cast<double>(job.bytes_written) / 1e6,
                                    static_cast<double>(job.bytes_written + allowance) / 1e6));
  return table;
}

}  // namespace

std::vector<Table> list_tables(const ListTargets& targets, const Settings& settings) {
  Job job = {.path = targets.lists.path.string(), .threads = settings.threads};
  job.bytes_read = job.bytes_written = size_of_plan(heft::open(targets.bytes.path), job).bytes_needed;
  std::vector<Table> tables;
  for (const CacheState state : settings.states) {
    tables.push_back(open_table(targets, settings, state, job));
    tables.push_back(load_table(targets, settings, state, job));
  }
  return tables;
}

}  // namespace bench
