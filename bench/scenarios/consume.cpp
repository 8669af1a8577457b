// Commands that read a whole checkpoint and keep nothing of it: verify, diff and hash.
#include <fmt/format.h>

#include "scenarios/scenarios.hpp"

namespace bench {

namespace {

struct Command {
  std::string_view name, subject;
  std::string_view yardstick, label, ratio;
};

constexpr Command commands[] = {
    {"verify", "heft-verify", "scan", "pread of all bytes, each looked at once",
     "ratio 1: as fast as reading the bytes and looking at each once"},
    {"diff with itself", "heft-diff", "scan-twice", "pread of all bytes twice, each looked at once",
     "ratio 1: as fast as reading both files and looking at each byte once"},
    {"hash", "heft-hash", "sha256", "SHA-256 of as many bytes in memory, libcrypto",
     "ratio 1: as fast as SHA-256 of bytes in memory, on as many threads"}};

Table table_for(const Command& command, const Target& target, const Settings& settings, CacheState state) {
  const Job job = {.path = target.path.string(), .threads = settings.threads};
  Table table{fmt::format("consume: {}, {}, {}", command.name, target.label, name(state)),
              std::string(command.ratio),
              state,
              files_of(target.path),
              {}};
  add_heft(table, settings, fmt::format("heft {}", command.name), command.subject, job);
  table.rows.push_back(yardstick_row(std::string(command.label), command.yardstick, job, true));
  return table;
}

}  // namespace

std::vector<Table> consume_tables(const Target& target, const Settings& settings) {
  std::vector<Table> tables;
  for (const CacheState state : settings.states)
    for (const Command& command : commands) tables.push_back(table_for(command, target, settings, state));
  return tables;
}

}  // namespace bench
