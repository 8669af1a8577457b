// cli/main.cpp: the program heft.
#include <ios>

#include "cli/commands.hpp"

int main(int argc, char** argv) {
  std::ios::sync_with_stdio(false);
  heft::cli::ignore_file_size_signal();
  heft::cli::Terminal terminal = heft::cli::standard_terminal();
  return heft::cli::run(argc, argv, terminal);
}
