// cli/terminal.hpp: the output streams of a command, with colours and progress bars only on a terminal.
#pragma once

#include <chrono>
#include <cstdint>
#include <iosfwd>
#include <string>
#include <string_view>

namespace heft::cli {

/// Exit status of every command; 128 + N if the command stopped after signal N, as a shell reports it.
enum ExitStatus : int {
  ok = 0,           ///< Success: done, equal, undamaged.
  differences = 1,  ///< `diff` found differences, `verify` found damage.
  error = 2,        ///< An error, reported in one line on the error stream.
};

/// The streams of a run. Tests use string streams; main() uses those of the process.
struct Terminal {
  std::ostream& out;
  std::ostream& err;
  unsigned width = 0;           ///< Columns of `out` if it is a terminal; 0: lines are not cut.
  bool colour = false;          ///< `out` shows colours.
  bool progress = false;        ///< `err` is a terminal: progress bars go there.
  std::ostream* bar = nullptr;  ///< `err` without the escaping of run(): progress bars move the cursor. Null: `err`.
};

/// Returns the streams of the process. NO_COLOR (no-color.org) disables colours.
Terminal standard_terminal();

/// Returns the number of the signal that requested the end of the process after watch_interrupts(), or 0. Commands then
/// throw Error{cancelled} and leave no partial output.
int interrupted() noexcept;
/// Makes SIGINT (Ctrl-C), SIGTERM and SIGHUP set interrupted(); a second one ends the process as usual. Signals that
/// are ignored at the start (nohup) stay ignored.
void watch_interrupts() noexcept;
/// Ignores SIGXFSZ, so that a write beyond RLIMIT_FSIZE fails instead of ending the process.
void ignore_file_size_signal() noexcept;

/// A progress line on the error stream, drawn at most ten times a second and erased at the end.
class ProgressBar {
 public:
  /// `what` is a verb: "loading". Draws nothing if Terminal::progress is false.
  ProgressBar(Terminal& terminal, std::string_view what);
  ~ProgressBar();
  ProgressBar(const ProgressBar&) = delete;
  ProgressBar& operator=(const ProgressBar&) = delete;

  /// Shows the bytes done and the total. Throws Error{cancelled} after an interrupt.
  void show(std::uint64_t done, std::uint64_t total);

 private:
  using Clock = std::chrono::steady_clock;
  [[nodiscard]] std::ostream& stream() const noexcept;
  [[nodiscard]] std::string line(std::uint64_t done, std::uint64_t total) const;

  Terminal& terminal_;
  std::string what_;
  Clock::time_point begin_ = Clock::now();
  Clock::time_point drawn_at_ = {};
  bool drawn_ = false;
};

}  // namespace heft::cli
