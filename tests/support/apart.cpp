#include "support/apart.hpp"

#include <doctest/doctest.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdlib>
#include <string_view>
#include <vector>

namespace heft::test {
namespace {

constexpr std::string_view variable = "HEFT_TEST_TASK";

}  // namespace

Ended run_apart(const std::string& test_case, const std::string& task) {
  std::string program = "/proc/self/exe";
  std::string filter = "--test-case=" + test_case;
  std::string no_skip = "--no-skip";
  std::string setting = std::string(variable) + "=" + task;
  char* const arguments[] = {program.data(), filter.data(), no_skip.data(), nullptr};
  std::vector<char*> environment = {setting.data()};
  for (char** each = ::environ; *each != nullptr; ++each) environment.push_back(*each);
  environment.push_back(nullptr);
  ::pid_t process = 0;
  REQUIRE(::posix_spawn(&process, program.c_str(), nullptr, nullptr, arguments, environment.data()) == 0);
  int status = 0;
  REQUIRE(::waitpid(process, &status, 0) == process);
  return {WIFEXITED(status) ? WEXITSTATUS(status) : -1, WIFSIGNALED(status) ? WTERMSIG(status) : 0};
}

std::optional<std::string> task_apart() {
  const char* const task = std::getenv(variable.data());
  return task == nullptr ? std::nullopt : std::optional<std::string>(task);
}

}  // namespace heft::test
