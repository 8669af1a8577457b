#include "measure.hpp"

#include <ctime>

#include <algorithm>
#include <limits>

#include <fmt/format.h>

#include "heft/error.hpp"

namespace heft::test {
namespace {

// Of all threads of the process.
double processor_seconds() {
  timespec now{};
  clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
  return static_cast<double>(now.tv_sec) + 1e-9 * static_cast<double>(now.tv_nsec);
}

double seconds_of(const Call& call, const std::string& path) {
  const double begin = processor_seconds();
  call.run(path);
  return processor_seconds() - begin;
}

Growth measure_at(std::size_t size, const Axis& axis, const Call& call) {
  const std::string small = axis.make(size);
  const std::string large = axis.make(4 * size);
  Growth growth{axis.name, call.name, size, std::numeric_limits<double>::max(), std::numeric_limits<double>::max()};
  for (int round = 0; round < 10; ++round) {
    growth.small_seconds = std::min(growth.small_seconds, seconds_of(call, small));
    growth.large_seconds = std::min(growth.large_seconds, seconds_of(call, large));
    if (growth.is_linear()) break;
  }
  return growth;
}

}  // namespace

Growth measure(const Axis& axis, const Call& call) {
  const std::size_t size = std::max<std::size_t>(axis.size / call.divisor, 1);
  Growth growth = measure_at(size, axis, call);
  // Where the large file's work leaves a cache, or malloc begins to map fresh pages for it, one ratio is too large, and
  // the next one is 4 again. Work that grows faster than the file shows at both.
  if (growth.is_linear()) return growth;
  try {
    return measure_at(4 * size, axis, call);
  } catch (const Error&) {
    return growth;  // No file may be that large: the first ratio counts.
  }
}

std::string table(const std::vector<Growth>& growths) {
  std::string text =
      fmt::format("{:30} {:22} {:>7} {:>9} {:>9} {:>6}\n", "axis", "call", "size", "small ms", "large ms", "ratio");
  for (const Growth& one : growths)
    text += fmt::format("{:30} {:22} {:>7} {:>9.2f} {:>9.2f} {:>6.1f}{}\n", one.axis, one.call, one.size,
                        1e3 * one.small_seconds, 1e3 * one.large_seconds, one.ratio(),
                        one.is_linear() ? one.is_judged() ? "" : "  (too short to judge)" : "  GROWS TOO FAST");
  return text;
}

}  // namespace heft::test
