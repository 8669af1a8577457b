#include "progress.hpp"

#include <unistd.h>

#include <algorithm>
#include <cstdio>

#include <fmt/format.h>

namespace bench {

Progress::Progress(std::string label, std::uint64_t total)
    : label_(std::move(label)), total_(total), terminal_(isatty(STDERR_FILENO) == 1) {}

Progress::~Progress() { clear(); }

void Progress::clear() {
  if (terminal_ && percent_ >= 0) fmt::print(stderr, "\r\033[K");
  percent_ = -1;
}

void Progress::at(std::uint64_t done) {
  done_ = done;
  if (!terminal_ || total_ == 0) return;
  const int percent = static_cast<int>(std::min<std::uint64_t>(100, done_ * 100 / total_));
  if (percent == percent_) return;
  percent_ = percent;
  draw();
}

void Progress::draw() const {
  constexpr int width = 30;
  const int full = percent_ * width / 100;
  fmt::print(stderr, "\r{} [{:=<{}}{: <{}}] {:3} %", label_, "", full, "", width - full, percent_);
  std::fflush(stderr);
}

}  // namespace bench
