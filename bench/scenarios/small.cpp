// Loads of one small tensor each, in scattered order, compared with one read() of as many bytes.
#include "scenarios/small.hpp"

#include <algorithm>

#include <fmt/format.h>

namespace bench {

Recipe small_recipe(std::uint64_t bytes, unsigned loads) {
  constexpr std::uint64_t max_bytes = std::uint64_t{256} << 20;
  const std::uint64_t count = std::max<std::uint64_t>(loads, std::min<std::uint64_t>(20 * loads, max_bytes / bytes));
  return {fmt::format("{}x{}", count, bytes), {}, 0};
}

std::vector<Table> small_tables(const Target& target, const Settings& settings, std::uint64_t bytes, unsigned loads) {
  // The depth is the number of loads.
  const Job job = {.path = target.path.string(), .bytes_read = bytes, .bytes_written = bytes, .depth = loads};
  std::vector<Table> tables;
  for (const CacheState state : settings.states) {
    if (state == CacheState::half) continue;  // each tensor is in the page cache, or it is not
    const bool is_cold = state == CacheState::cold;
    Table table{fmt::format("small: {} loads of {} bytes, {}; times of one load", loads, bytes, name(state)),
                is_cold ? "ratio 1: as fast as an O_DIRECT pread of as many aligned bytes"
                        : "ratio 1: as fast as a pread from the page cache",
                state,
                files_of(target.path),
                {}};
    table.repeats = loads;
    add_heft(table, settings, "heft, materialize(view)", "small-materialize", job);
    add_heft(table, settings, "heft, plan into a buffer", "small-into-buffer", job);
    add_heft(table, settings, "heft, stream() of one", "small-stream", job);
    table.rows.push_back(yardstick_row("pread", "small-pread", job, !is_cold));
    table.rows.push_back(yardstick_row("O_DIRECT pread, aligned", "small-direct", job, is_cold));
    tables.push_back(std::move(table));
  }
  return tables;
}

}  // namespace bench
