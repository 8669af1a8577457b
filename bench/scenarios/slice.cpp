// The load of one of 8 tensor parallel ranks, compared with the whole load: the goal is an eighth of its time.
#include <fmt/format.h>

#include "heft/checkpoint.hpp"
#include "scenarios/scenarios.hpp"
#include "subjects/plan.hpp"

namespace bench {

namespace {

std::string note_for(int dim, const PlanSize& size) {
  return fmt::format("dim {}: {:.1f} MB needed, on 4 KiB pages that hold {:.1f} MB", dim,
                     static_cast<double>(size.bytes_needed) / 1e6, static_cast<double>(size.pages_needed) / 1e6);
}

Table table_for(const Target& target, const Settings& settings, const heft::Checkpoint& checkpoint, CacheState state) {
  Job job = {.path = target.path.string(), .threads = settings.threads};
  Table table{fmt::format("slice: {}, {}, rank {} of {}", target.label, name(state), job.tp_rank, job.tp_size),
              "ratio 1: as slow as loading the whole; 8: an eighth of its time",
              state,
              files_of(target.path),
              {}};
  table.rows.push_back(heft_row("heft, whole tensors", "heft-materialize", job));
  table.rows.back().reference = true;
  for (job.dim = 0; job.dim < 2; ++job.dim) {
    job.via = "automatic";
    table.rows.push_back(heft_row(fmt::format("heft, along dim {}", job.dim), "heft-materialize", job));
    table.notes.push_back(note_for(job.dim, size_of_plan(checkpoint, job)));
    if (!settings.forced_paths) continue;
    for (const std::string_view via : {"map", "direct", "read"}) {
      job.via = via;
      table.rows.push_back(heft_row(fmt::format("heft, along dim {}, path {}", job.dim, via), "heft-materialize", job));
    }
  }
  return table;
}

}  // namespace

std::vector<Table> slice_tables(const Target& target, const Settings& settings) {
  const heft::Checkpoint checkpoint = heft::open(target.path);
  std::vector<Table> tables;
  for (const CacheState state : settings.states) tables.push_back(table_for(target, settings, checkpoint, state));
  return tables;
}

}  // namespace bench
