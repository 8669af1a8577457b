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

int run(int argc, const char* const* argv, Terminal& terminal) {
  // All output passes through them, so that a name that a command did not escape cannot control the terminal.
  PrintableStream out(terminal.out);
  PrintableStream err(terminal.err);
  Terminal printable{.out = out,
                     .err = err,
                     .width = terminal.width,
                     .colour = terminal.colour,
                     .progress = terminal.progress,
                     .bar = &terminal.err};
  try {
    const Command command = parse(argc, argv);
    // Overload resolution chooses the run() of the command's type.
    const int status = std::visit([&printable](const auto& chosen) { return run(chosen, printable); }, command);
    // A full disk is often found only here, and must not end with status 0.
    if (!printable.out.flush()) throw Error(ErrorCode::io, "could not write the output");
    return status;
  } catch (const std::bad_alloc&) {
    // Written without a call that allocates. Error{out_of_memory} is caught below, with a message of its own.
    printable.err << "heft: out of memory\n";
  } catch (const std::exception& error) {
    printable.err << "heft: " << core::printable(error.what()) << '\n';
  }
  // As a shell reports a process that a signal ended.
  if (const int signal = interrupted(); signal != 0) return 128 + signal;
  return ExitStatus::error;
}

}  // namespace heft::cli
