// cli/terminal.hpp: where a command writes, and what it may do there: colours and progress bars only on a terminal.
#pragma once

#include <chrono>
#include <cstdint>
#include <iosfwd>
#include <string>
#include <string_view>

namespace heft::cli {

/// Exit status of every command; 128 + N after signal N, as a shell reports it, when the command ended in good order.
enum ExitStatus : int {
  ok = 0,           ///< Success: done, equal, undamaged.
  differences = 1,  ///< `diff` found differences, `verify` found damage.
  error = 2,        ///< An error, reported in one line on the error stream.
};

/// The streams of a run. Tests give it string streams; main() gives it the process's own.
struct Terminal {
  std::ostream& out;
  std::ostream& err;
  unsigned width = 0;         ///< Columns of `out` when it is a terminal, 0 otherwise: then lines are not cut.
  bool colour = false;        ///< `out` may carry colours.
  bool progress = false;      ///< `err` is a terminal: progress bars go there.
  std::ostream* bar = nullptr;  ///< `err` without the escaping of run(): progress bars move the cursor. Null: `err`.
};

/// The process's own streams, asked once. NO_COLOR (no-color.org) switches colours off.
Terminal standard_terminal();

/// Number of the signal that asked the process to end, once interrupts are watched; 0: none has. The work then ends with Error{cancelled} and
/// leaves nothing half done.
int interrupted() noexcept;
/// From now on SIGINT (Ctrl-C), SIGTERM and SIGHUP set interrupted(); a second one ends the process as usual. Those that the process was started
/// to ignore (nohup) stay ignored.
void watch_interrupts() noexcept;
/// A file that grows beyond RLIMIT_FSIZE is a failed write from now on, not a signal that kills.
void ignore_file_size_signal() noexcept;

/// A line on the error stream that says how far a long work is: drawn ten times a second at most, and wiped when it ends.
class ProgressBar {
 public:
  /// `what` is a verb: "loading". Draws nothing when the terminal wants no progress.
  ProgressBar(Terminal& terminal, std::string_view what);
  ~ProgressBar();
  ProgressBar(const ProgressBar&) = delete;
  ProgressBar& operator=(const ProgressBar&) = delete;

  /// Bytes done and in all. Throws Error{cancelled} after an interrupt.
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
