// bench/progress.hpp: a bar on standard error while something long runs; nothing where that is no terminal.
#pragma once

#include <cstdint>
#include <string>

namespace bench {

class Progress {
 public:
  /// `label` stands before the bar. A total of 0 shows nothing.
  Progress(std::string label, std::uint64_t total);
  ~Progress();
  Progress(const Progress&) = delete;
  Progress& operator=(const Progress&) = delete;

  /// How far it has come, in the total's unit. Draws at most once for each per cent.
  void at(std::uint64_t done);
  /// Takes the bar off the terminal; the next at() draws it again.
  void clear();
  void add(std::uint64_t more) { at(done_ + more); }

 private:
  void draw() const;

  std::string label_;
  std::uint64_t total_;
  std::uint64_t done_ = 0;
  int percent_ = -1;
  bool terminal_;
};

}  // namespace bench
