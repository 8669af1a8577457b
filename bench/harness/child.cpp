#include "harness/child.hpp"

#include <fcntl.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <chrono>
#include <cstdio>
#include <cstring>
#include <sstream>
#include <stdexcept>
#include <thread>
#include <utility>

#include <fmt/format.h>

extern char** environ;

namespace bench {

namespace {

using Clock = std::chrono::steady_clock;

double seconds_since(Clock::time_point begin) { return std::chrono::duration<double>(Clock::now() - begin).count(); }

class Pipe {
 public:
  Pipe() {
    if (::pipe2(ends_.data(), O_CLOEXEC) != 0) throw std::runtime_error(fmt::format("pipe: {}", std::strerror(errno)));
  }
  ~Pipe() { close_read(), close_write(); }
  Pipe(const Pipe&) = delete;
  Pipe& operator=(const Pipe&) = delete;
  [[nodiscard]] int read_end() const noexcept { return ends_[0]; }
  [[nodiscard]] int write_end() const noexcept { return ends_[1]; }
  void close_read() { close_end(0); }
  void close_write() { close_end(1); }

 private:
  void close_end(std::size_t which) {
    if (ends_[which] >= 0) ::close(std::exchange(ends_[which], -1));
  }
  std::array<int, 2> ends_ = {-1, -1};
};

/// A started program with its two pipes. The destructor waits until it has ended.
class Process {
 public:
  explicit Process(const std::vector<std::string>& command) {
    std::vector<char*> argv;
    for (const std::string& word : command) argv.push_back(const_cast<char*>(word.c_str()));
    argv.push_back(nullptr);
    posix_spawn_file_actions_t actions;
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_adddup2(&actions, to_.read_end(), STDIN_FILENO);
    posix_spawn_file_actions_adddup2(&actions, from_.write_end(), STDOUT_FILENO);
    const int error = ::posix_spawnp(&id_, argv[0], &actions, nullptr, argv.data(), environ);
    posix_spawn_file_actions_destroy(&actions);
    if (error != 0) throw std::runtime_error(fmt::format("{}: {}", command[0], std::strerror(error)));
    to_.close_read();
    from_.close_write();
  }
  ~Process() {
    to_.close_write();
    while (::waitpid(id_, nullptr, 0) < 0 && errno == EINTR) {
    }
  }
  Process(const Process&) = delete;
  Process& operator=(const Process&) = delete;

  [[nodiscard]] pid_t id() const noexcept { return id_; }
  void send(std::string_view line) {
    [[maybe_unused]] const ssize_t wrote = ::write(to_.write_end(), line.data(), line.size());
  }
  // Returns the next line of the protocol; empty when the child has ended.
  std::string receive() {
    std::string line;
    char c = 0;
    while (::read(from_.read_end(), &c, 1) == 1 && c != '\n') line += c;
    return line;
  }

 private:
  Pipe to_, from_;
  pid_t id_ = 0;
};

/// Samples a process's memory until finish(), or until it goes out of scope.
class Sampler {
 public:
  Sampler(pid_t process, Clock::time_point begin, double interval)
      : thread_([this, process, begin, interval](std::stop_token stop) {
          while (!stop.stop_requested()) {
            moments_.push_back({seconds_since(begin), memory_of(process)});
            std::this_thread::sleep_for(std::chrono::duration<double>(interval));
          }
        }) {}

  std::vector<Moment> finish() {
    thread_.request_stop();
    thread_.join();
    return std::move(moments_);
  }

 private:
  std::vector<Moment> moments_;
  std::jthread thread_;
};

bool refused(const std::string& line, Sample& sample) {
  const std::string_view message = line;
  sample.absent = message.starts_with("absent ");
  if (sample.absent || message.starts_with("failed "))
    sample.failure = message.substr(7);
  else if (message.empty())
    sample.failure = "the child ended without an answer";
  return !sample.failure.empty();
}

void read_result(const std::string& line, Sample& sample) {
  if (refused(line, sample)) return;
  std::istringstream words(line);
  std::string done;
  words >> done >> sample.seconds >> sample.bytes;
  std::getline(words >> std::ws, sample.note);
  if (done != "done" || sample.seconds <= 0)
    sample.failure = fmt::format("expected 'done SECONDS BYTES', found '{}'", line);
}

void watch_work(Process& process, const Watch& watch, Sample& sample) {
  if (watch.before_go) watch.before_go();
  const pid_t id = process.id();
  reset_peak(id);
  sample.baseline = memory_of(id);
  const Counters before = counters_of(id, *watch.device);
  const Clock::time_point begin = Clock::now();
  Sampler sampler(id, begin, watch.interval_seconds);
  process.send("go\n");
  read_result(process.receive(), sample);
  sample.timeline = sampler.finish();
  sample.timeline.push_back({seconds_since(begin), memory_of(id)});
  sample.used = counters_of(id, *watch.device) - before;
  for (const Moment& moment : sample.timeline) sample.peak.raise_to(moment.memory);
  sample.peak.resident = std::max(sample.peak.resident, peak_resident_of(id));
  process.send("bye\n");
}

}  // namespace

Sample run_child(const std::vector<std::string>& command, const Watch& watch) {
  Sample sample;
  try {
    Process process(command);
    if (!refused(process.receive(), sample)) watch_work(process, watch, sample);
  } catch (const std::exception& error) {
    sample.failure = error.what();
  }
  if (!watch.keep_timeline) sample.timeline.clear();
  return sample;
}

}  // namespace bench
