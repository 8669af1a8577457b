#include <ostream>

#include <fmt/format.h>

#include "cli/commands.hpp"
#include "cli/text.hpp"
#include "format/format.hpp"

namespace heft::cli {

int run(const FormatsCommand& command, Terminal& terminal) {
  std::vector<std::vector<std::string>> rows = {{"format", "files", "reads", "writes"}};
  // The list of formats itself, so that a new format needs no line here.
  for (const format::Format* row : format::formats()) {
    const std::string_view writes = row->writer == nullptr ? std::string_view() : row->writer->writes;
    if (command.json)
      terminal.out << fmt::format("{{\"format\":{},\"suffixes\":{},\"reads\":{},\"writes\":{}}}\n",
                                  json_text(row->name), json_text(row->suffixes), json_text(row->reads),
                                  json_text(writes));
    else
      rows.push_back({std::string(row->name), std::string(row->suffixes),
                      // Formats that heft recognizes only to explain why it refuses them.
                      row->reads.empty() ? "refused by name" : std::string(row->reads), std::string(writes)});
  }
  constexpr Column columns[] = {{}, {}, {}, {}};
  if (!command.json) terminal.out << table(columns, rows, 0);
  return ok;
}

}  // namespace heft::cli
