// Processor time of one call on a small file and on one four times as large.
#pragma once

#include <cstddef>
#include <functional>
#include <string>
#include <vector>

namespace heft::test {

/// Something that a file can have many of. `make` writes the file of that size and returns its path.
struct Axis {
  std::string name;
  std::size_t size = 0;  ///< The small file's; the large one's is four times that.
  std::function<std::string(std::size_t size)> make;
};

/// A command or a public call, on a file.
struct Call {
  std::string name;
  std::function<void(const std::string& path)> run;
  std::size_t divisor = 1;  ///< Its files are so much smaller: for calls that do much for each of a file's parts.
};

/// Time goes with the size: four times as much for a file four times as large. Sorting adds a little to that, and so do
/// caches that the larger file leaves; the square of the size would be 16.
inline constexpr double max_ratio = 6;

struct Growth {
  std::string axis;
  std::string call;
  std::size_t size = 0;
  double small_seconds = 0;
  double large_seconds = 0;

  [[nodiscard]] double ratio() const noexcept { return large_seconds / small_seconds; }
  /// False where even the large file takes so little time that its ratio means nothing.
  [[nodiscard]] bool is_judged() const noexcept { return large_seconds >= 0.02; }
  [[nodiscard]] bool is_linear() const noexcept { return !is_judged() || ratio() <= max_ratio; }
};

/// Runs `call` once at each size; where the ratio is too large, up to nine times more, and the best times count,
/// because other processes on the machine can only add to a time. A ratio that stays too large is measured again at
/// four times both sizes, if files may be that large, and that one is returned.
[[nodiscard]] Growth measure(const Axis& axis, const Call& call);

/// "axis | call | size | small | large | ratio", a line a growth.
[[nodiscard]] std::string table(const std::vector<Growth>& growths);

}  // namespace heft::test
