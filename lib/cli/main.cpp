// cli/main.cpp: the program heft.
#include <ios>

#include "cli/commands.hpp"

int main(int argc, char** argv) {
  // No C function writes to the streams, so that they can have buffers of their own.
  std::ios::sync_with_stdio(false);
  // In the program, not in the library: a signal's disposition belongs to the process.
  heft::cli::ignore_file_size_signal();
  heft::cli::Terminal terminal = heft::cli::standard_terminal();
  return heft::cli::run(argc, argv, terminal);
}
