// Runs the heft command inside the test: arguments in, status and both streams out.
#pragma once

#include <initializer_list>
#include <sstream>
#include <string>
#include <vector>

#include "cli/commands.hpp"

namespace heft::test {

struct CliRun {
  int status = 0;
  std::string out;
  std::string err;
};

inline CliRun heft_command(const std::vector<std::string>& words, unsigned width = 0) {
  std::vector<std::string> kept = {"heft"};
  kept.insert(kept.end(), words.begin(), words.end());
  std::vector<const char*> argv;
  for (const std::string& word : kept) argv.push_back(word.c_str());
  std::ostringstream out;
  std::ostringstream err;
  cli::Terminal terminal{.out = out, .err = err, .width = width, .colour = false, .progress = false};
  const int status = cli::run(static_cast<int>(argv.size()), argv.data(), terminal);
  return {status, out.str(), err.str()};
}

inline CliRun heft_command(std::initializer_list<std::string> words, unsigned width = 0) {
  return heft_command(std::vector<std::string>(words), width);
}

}  // namespace heft::test
