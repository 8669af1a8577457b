// Test cases that run in a process of their own.
#pragma once

#include <optional>
#include <string>

namespace heft::test {

/// How a process ended.
struct Ended {
  int status = -1;  ///< Of exit; -1: a signal killed it.
  int signal = 0;   ///< That killed it.
};

/// Runs the test case of that name (which holds no comma) of this binary in a process of its own and waits for it. The
/// process is started anew and not forked, so this one may have threads. The test case is marked `doctest::skip()`, asks
/// task_apart() for its task, returns where there is none, and ends with _exit().
Ended run_apart(const std::string& test_case, const std::string& task);

/// What run_apart() was given by the process that started this one.
std::optional<std::string> task_apart();

}  // namespace heft::test
