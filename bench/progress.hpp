// bench/progress.hpp: a progress bar on standard error; draws nothing if standard error is no terminal.
#pragma once

#include <cstdint>
#include <string>

namespace bench {

class Progress {
 public:
  /// `label` is drawn before the bar. A total of 0 draws nothing.
  Progress(std::string label, std::uint64_t total);
  ~Progress();
  Progress(const Progress&) = delete;
  Progress& operator=(const Progress&) = delete;

  /// Sets the progress, in the unit of the total. Draws at most once for each per cent.
  void at(std::uint64_t done);
  /// Erases the bar; the next at() draws it again.
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
