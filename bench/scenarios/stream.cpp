// All tensors of a checkpoint one after another, compared with one load of it.
#include <fmt/format.h>

#include "heft/checkpoint.hpp"
#include "scenarios/scenarios.hpp"
#include "subjects/plan.hpp"

namespace bench {

namespace {

Table table_for(const Target& target, const Settings& settings, CacheState state, const PlanSize& size) {
  Job job = {.path = target.path.string(),
             .threads = settings.threads,
             .bytes_read = size.bytes_needed,
             .bytes_written = size.bytes_needed};
  Table table{fmt::format("stream: {}, {}", target.label, name(state)),
              "ratio 1: as fast as one load of all tensors into fresh memory",
              state,
              files_of(target.path),
              {}};
  table.rows.push_back(heft_row("heft, one load into fresh memory", "heft-materialize", job));
  table.rows.back().reference = true;
  job.reused = true;
  job.bytes_written = size.room;
  table.rows.push_back(heft_row("heft, one load into reused memory", "heft-materialize", job));
  job.reused = false;
  for (const std::string_view order : {"file", "plan", "as_finished"}) {
    job.order = order;
    table.rows.push_back(heft_row(fmt::format("heft, stream(), order {}", order), "heft-stream", job));
  }
  return table;
}

}  // namespace

std::vector<Table> stream_tables(const Target& target, const Settings& settings) {
  const PlanSize size = size_of_plan(heft::open(target.path), {.path = target.path.string()});
  std::vector<Table> tables;
  for (const CacheState state : settings.states) tables.push_back(table_for(target, settings, state, size));
  return tables;
}

}  // namespace bench
