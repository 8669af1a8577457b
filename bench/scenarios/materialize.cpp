// Whole loads in each state of the page cache, into fresh and into reused memory, as stored and converted.
#include <algorithm>
#include <array>
#include <stdexcept>

#include <fmt/format.h>

#include "heft/checkpoint.hpp"
#include "scenarios/scenarios.hpp"
#include "subjects/plan.hpp"

namespace bench {

namespace {

struct DirectShape {
  std::string_view subject;
  unsigned depth;
  std::uint64_t block_bytes;
};

// Depths and blocks; each local device measured so far is fastest with one of them. The fastest in the run is the
// reference.
constexpr std::array<DirectShape, 6> direct_shapes = {{{"direct-pread", 4, 4u << 20},
                                                       {"direct-pread", 16, 1u << 20},
                                                       {"direct-uring", 4, 4u << 20},
                                                       {"direct-uring", 16, 1u << 20},
                                                       {"direct-uring", 32, 512u << 10},
                                                       {"direct-uring", 64, 256u << 10}}};

void add_memory_yardsticks(Table& table, const Job& job) {
  const std::string_view pages = job.reused ? "resident" : "fresh";
  const bool streams = job.converts || job.transposed;
  if (streams)
    table.rows.push_back(yardstick_row(fmt::format("stream into {} huge pages", pages), "stream", job, true));
  Job copy = job;
  copy.bytes_read = job.converts ? job.bytes_written : job.bytes_read;
  table.rows.push_back(yardstick_row(fmt::format("memcpy into {} huge pages", pages), "memcpy", copy, !streams));
}

void add_device_yardsticks(Table& table, Job job) {
  for (const DirectShape& shape : direct_shapes) {
    job.depth = shape.depth;
    job.block_bytes = shape.block_bytes;
    table.rows.push_back(yardstick_row(
        fmt::format("{} {} x {} KiB", shape.subject, shape.depth, shape.block_bytes >> 10), shape.subject, job, true));
  }
}

void add_file_yardsticks(Table& table, const Job& job) {
  table.rows.push_back(yardstick_row("mmap and touch", "mmap-touch", job));
  table.rows.push_back(yardstick_row("read() loop", "read", job));
  if (job.threads > 1)
    table.rows.push_back(yardstick_row(fmt::format("read() loops, {} threads", job.threads), "read-threads", job));
}

void add_heft(Table& table, const Settings& settings, Job job) {
  table.rows.push_back(heft_row("heft", "heft-materialize", job));
  if (!settings.forced_paths) return;
  for (const std::string_view via : {"map", "direct", "read"}) {
    job.via = via;
    Row row = heft_row(fmt::format("heft, path {}", via), "heft-materialize", job);
    row.reference = table.state == CacheState::half;  // no yardstick serves this state, so the best forced path does
    table.rows.push_back(std::move(row));
  }
}

std::string question_for(CacheState state, const Job& job) {
  switch (state) {
    case CacheState::cold:
      return job.dim < 0 ? "ratio 1: as fast as the best O_DIRECT loop over the same files"
                         : "ratio 1: as slow as the best O_DIRECT loop over the whole files; 8: an eighth of its time";
    case CacheState::half: return "ratio 1: as fast as the best of heft's own paths when forced";
    case CacheState::warm: break;
  }
  return job.converts || job.transposed ? "ratio 1: as fast as streaming as many bytes in and out without the caches"
                                        : "ratio 1: as fast as memcpy of as many bytes by as many threads";
}

std::string words_for(const Job& job) {
  std::string words = job.dtype.empty() ? "as stored" : "to " + job.dtype;
  if (job.transposed) words += " transposed";
  if (job.dim >= 0) words += fmt::format(", rank {} of {} along dim {}", job.tp_rank, job.tp_size, job.dim);
  return words;
}

std::string note_for(const PlanSize& size) {
  return fmt::format("{:.1f} MB needed, on 4 KiB pages that hold {:.1f} MB",
                     static_cast<double>(size.bytes_needed) / 1e6, static_cast<double>(size.pages_needed) / 1e6);
}

Table table_for(const Target& target, const Settings& settings, CacheState state, const Job& job) {
  Table table{fmt::format("materialize: {}, {}, {}, into {} memory", target.label, name(state), words_for(job),
                          job.reused ? "reused" : "fresh"),
              question_for(state, job),
              state,
              files_of(target.path),
              {}};
  add_heft(table, settings, job);
  if (state == CacheState::warm) add_memory_yardsticks(table, job);
  if (state != CacheState::warm) add_device_yardsticks(table, job);
  if (state == CacheState::half)
    for (Row& row : table.rows) row.reference = row.reference && row.party == Party::heft;
  const bool whole = job.dim < 0;  // the others read whole files, so they have rows only for whole loads
  if (whole) add_file_yardsticks(table, job);
  if (whole && !job.reused && !job.transposed)
    for (Row& row : peer_rows(target, settings, "load", job.dtype)) table.rows.push_back(std::move(row));
  return table;
}

Table table_for(const Target& target, const Settings& settings, const heft::Checkpoint& checkpoint, CacheState state,
                Job job) {
  const PlanSize size = size_of_plan(checkpoint, job);
  job.converts = size.converts;
  job.bytes_read = size.bytes_needed;
  job.bytes_written = job.dtype.empty() && !job.reused ? size.bytes_needed : size.room;
  Table table = table_for(target, settings, state, job);
  if (job.dim >= 0) table.notes.push_back(note_for(size));
  return table;
}

}  // namespace

void set_cut(Job& job, const std::string& name) {
  if (name == "transposed")
    job.transposed = true;
  else if (name == "dim0" || name == "dim1")
    job.dim = name.back() - '0';
  else if (name != "whole")
    throw std::runtime_error(fmt::format("expected whole, transposed, dim0 or dim1 as a cut, found '{}'", name));
}

std::vector<Table> materialize_tables(const Target& target, const Settings& settings) {
  std::vector<Table> tables;
  const heft::Checkpoint checkpoint = heft::open(target.path);
  for (const CacheState state : settings.states)
    for (const std::string& dtype : settings.dtypes)
      for (const std::string& cut : settings.cuts)
        for (const bool reused : settings.destinations) {
          Job job = {.path = target.path.string(), .threads = settings.threads, .reused = reused, .dtype = dtype};
          set_cut(job, cut);
          tables.push_back(table_for(target, settings, checkpoint, state, job));
        }
  return tables;
}

std::vector<Table> memory_tables(const Target& target, const Settings& settings) {
  std::vector<Table> tables;
  Settings plain = settings;
  plain.forced_paths = false;
  const Job job = {.path = target.path.string(), .threads = settings.threads};
  for (const CacheState state : settings.states) {
    Table table{fmt::format("memory: {}, {}", target.label, name(state)),
                "resident memory over the time of a whole load",
                state,
                files_of(target.path),
                {}};
    table.rows.push_back(heft_row("heft view of every tensor", "heft-view", job));
    add_heft(table, plain, job);
    table.rows.push_back(heft_row("heft, streamed by the layer", "heft-layers", job));
    table.rows.push_back(yardstick_row("read() loop", "read", job));
    for (Row& row : peer_rows(target, settings, "load")) table.rows.push_back(std::move(row));
    tables.push_back(std::move(table));
  }
  return tables;
}

}  // namespace bench
