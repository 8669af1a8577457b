#include "cli/terminal.hpp"

#include <atomic>
#include <csignal>
#include <cstdlib>
#include <cstring>
#include <iostream>

#include <sys/ioctl.h>
#include <unistd.h>

#include <fmt/format.h>
#include <fmt/ostream.h>

#include "cli/text.hpp"
#include "heft/error.hpp"

namespace heft::cli {
namespace {

std::atomic<int> interrupt_seen = 0;
static_assert(std::atomic<int>::is_always_lock_free, "a signal handler sets it");

// Returns the width of the terminal; 80 if it does not report one.
unsigned columns_of(int handle) noexcept {
  winsize size = {};
  if (ioctl(handle, TIOCGWINSZ, &size) != 0 || size.ws_col == 0) return 80;
  return size.ws_col;
}

}  // namespace

Terminal standard_terminal() {
  const bool out_is_terminal = isatty(STDOUT_FILENO) == 1;
  // Set and not empty, as no-color.org requires.
  const char* no_colour = std::getenv("NO_COLOR");
  return {
      .out = std::cout,
      .err = std::cerr,
      .width = out_is_terminal ? columns_of(STDOUT_FILENO) : 0,
      .colour = out_is_terminal && (no_colour == nullptr || *no_colour == '\0'),
      .progress = isatty(STDERR_FILENO) == 1,
  };
}

int interrupted() noexcept { return interrupt_seen.load(std::memory_order_relaxed); }

void watch_interrupts() noexcept {
  struct sigaction action = {};
  action.sa_handler = [](int signal) { interrupt_seen.store(signal, std::memory_order_relaxed); };
  // SA_RESETHAND: a second signal ends the process at once. SA_RESTART: reads and writes in progress do not fail with
  // EINTR.
  action.sa_flags = static_cast<int>(SA_RESETHAND | SA_RESTART);
  for (const int signal : {SIGINT, SIGTERM, SIGHUP}) {
    struct sigaction now = {};
    // nohup and shells without job control start programs with signals ignored, and rely on it.
    if (sigaction(signal, nullptr, &now) == 0 && now.sa_handler != SIG_IGN) sigaction(signal, &action, nullptr);
  }
}

void ignore_file_size_signal() noexcept { (void)std::signal(SIGXFSZ, SIG_IGN); }

ProgressBar::ProgressBar(Terminal& terminal, std::string_view what) : terminal_(terminal), what_(what) {}

ProgressBar::~ProgressBar() {
  // Returns to the start of the line and erases it.
  if (drawn_) stream() << "\r\x1b[K" << std::flush;
}

void ProgressBar::show(std::uint64_t done, std::uint64_t total) {
  // The handler only sets a number. The work is left here, by an exception that releases files and memory.
  if (const int signal = interrupted(); signal != 0)
    throw Error(ErrorCode::cancelled, fmt::format("ended by SIG{}", sigabbrev_np(signal)));
  if (!terminal_.progress) return;
  const Clock::time_point now = Clock::now();
  // A terminal that is slow, such as one over ssh, must not slow the load down.
  if (now - drawn_at_ < std::chrono::milliseconds(100)) return;
  drawn_at_ = now;
  drawn_ = true;
  stream() << line(done, total) << std::flush;
}

std::ostream& ProgressBar::stream() const noexcept { return terminal_.bar != nullptr ? *terminal_.bar : terminal_.err; }

std::string ProgressBar::line(std::uint64_t done, std::uint64_t total) const {
  constexpr int cells = 30;
  // An empty load is done.
  const double part = total == 0 ? 1.0 : static_cast<double>(done) / static_cast<double>(total);
  const int filled = static_cast<int>(part * cells);
  const double seconds = std::chrono::duration<double>(Clock::now() - begin_).count();
  const double rate = seconds > 0 ? static_cast<double>(done) / seconds : 0;
  // fmt pads the two empty texts to the filled and the open cells.
  return fmt::format("\r{} [{:#<{}}{:.<{}}] {:3.0f} % {} of {}, {}/s\x1b[K", what_, "", filled, "", cells - filled,
                     part * 100, human_bytes(done), human_bytes(total), human_bytes(static_cast<std::uint64_t>(rate)));
}

}  // namespace heft::cli
