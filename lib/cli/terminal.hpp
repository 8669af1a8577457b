// cli/terminal.hpp: where a command writes, and what it may do there: colours and progress bars only on a terminal.
#pragma once

#include <chrono>
#include <cstdint>
#include <iosfwd>
#include <string>
#include <string_view>

namespace heft::cli {

/// Exit status of every command.
enum ExitStatus : int {
  yes = 0,      ///< Done; equal; sound.
  no = 1,       ///< `diff` found differences, `verify` found damage.
  trouble = 2,  ///< An error, said in one line on the error stream.
};

/// The streams of a run. Tests give it string streams; main() gives it the process's own.
struct Terminal {
  std::ostream& out;
  std::ostream& err;
  unsigned width = 0;         ///< Columns of `out` when it is a terminal, 0 otherwise: then lines are not cut.
  bool colour = false;        ///< `out` may carry colours.
  bool progress = false;      ///< `err` is a terminal: progress bars go there.
};

/// The process's own streams, asked once. NO_COLOR (no-color.org) switches colours off.
Terminal standard_terminal();

/// True once after the user pressed Ctrl-C, when interrupts are watched: a load then ends with Error{cancelled} and leaves nothing half done.
bool interrupted() noexcept;
/// From now on Ctrl-C sets interrupted(); a second one ends the process as usual.
void watch_interrupts() noexcept;

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
  [[nodiscard]] std::string line(std::uint64_t done, std::uint64_t total) const;

  Terminal& terminal_;
  std::string what_;
  Clock::time_point begin_ = Clock::now();
  Clock::time_point drawn_at_ = {};
  bool drawn_ = false;
};

}  // namespace heft::cli
