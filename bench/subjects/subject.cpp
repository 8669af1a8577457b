#include "subjects/subject.hpp"

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <iostream>

#include <fmt/format.h>

namespace bench {

namespace {

const Subject& find_subject(std::string_view name) {
  for (const std::span<const Subject> table : {copy_yardsticks(), file_yardsticks(), direct_yardsticks(),
                                               heft_subjects(), small_subjects(), consume_subjects()})
    for (const Subject& subject : table)
      if (subject.name == name) return subject;
  throw std::runtime_error(fmt::format("no subject '{}'", name));
}

void send(std::string_view line) {
  std::string one_line(line);
  std::replace(one_line.begin(), one_line.end(), '\n', ' ');
  std::cout << one_line << std::endl;
}

bool receive(std::string_view expected) {
  std::string line;
  return std::getline(std::cin, line) && line == expected;
}

void measure(const Work& work) {
  using Clock = std::chrono::steady_clock;
  const Clock::time_point begin = Clock::now();
  const Outcome outcome = work();
  const double seconds = std::chrono::duration<double>(Clock::now() - begin).count();
  send(fmt::format("done {:.9f} {} {}", seconds, outcome.bytes,
                   outcome.note + (outcome.late_note ? outcome.late_note() : std::string())));
  receive("bye");
}

}  // namespace

int run_subject(std::string_view name, const Job& job) {
  try {
    const Work work = find_subject(name).prepare(job);
    send("ready");
    if (receive("go")) measure(work);
    return 0;
  } catch (const Absent& reason) {
    send(fmt::format("absent {}", reason.what()));
  } catch (const std::exception& error) {
    send(fmt::format("failed {}", error.what()));
  }
  return 2;
}

}  // namespace bench
