#include "cli/commands.hpp"

#include <exception>
#include <new>
#include <ostream>

#include "cli/arguments.hpp"
#include "cli/printable_stream.hpp"
#include "core/text.hpp"
#include "heft/error.hpp"

namespace heft::cli {

int run(const TextCommand& command, Terminal& terminal) {
  terminal.out << command.text;
  return ok;
}

int run(int argc, const char* const* argv, Terminal& raw) {
  PrintableStream out(raw.out);
  PrintableStream err(raw.err);
  Terminal terminal{
      .out = out, .err = err, .width = raw.width, .colour = raw.colour, .progress = raw.progress, .bar = &raw.err};
  try {
    const Command command = parse(argc, argv);
    const int status = std::visit([&terminal](const auto& chosen) { return run(chosen, terminal); }, command);
    if (!terminal.out.flush()) throw Error(ErrorCode::io, "could not write the output");
    return status;
  } catch (const std::bad_alloc&) {
    terminal.err << "heft: out of memory\n";
  } catch (const std::exception& error) {
    terminal.err << "heft: " << core::printable(error.what()) << '\n';
  }
  if (const int signal = interrupted(); signal != 0) return 128 + signal;
  return ExitStatus::error;
}

}  // namespace heft::cli
