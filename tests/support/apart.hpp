// Test cases that run in a separate process.
#pragma once

#include <optional>
#include <string>

namespace heft::test {

/// How a process ended.
struct Ended {
  int status = -1;  ///< Of exit; -1: a signal killed it.
  int signal = 0;   ///< That killed it.
};

/// Runs the test case of that name (without a comma) of this binary in a new process and waits for it. The process is
/// started with exec and not only forked, so that this one can have threads. The test case is marked `doctest::skip()`,
/// gets its task from task_apart(), returns if there is none, and ends with _exit().
Ended run_apart(const std::string& test_case, const std::string& task);

/// Returns the task that the parent process passed to run_apart(), if any.
std::optional<std::string> task_apart();

}  // namespace heft::test
