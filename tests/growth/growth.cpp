// Time grows linearly with everything that a file can have many of: each axis through every command and public call.
#include <iostream>

#include <doctest/doctest.h>

#include "axes.hpp"
#include "calls.hpp"
#include "measure.hpp"
#include "support/temp_folder.hpp"

using namespace heft::test;

namespace {

// Calls that a file of that axis cannot be given.
bool fits(const Axis& axis, const Call& call) {
  const bool has_shapes_apart = axis.name == "dims";
  const bool has_long_names =
      axis.name == "names' length" || axis.name == "names' parts" || axis.name == "leaves at every depth";
  if (call.name == "convert to gguf") return !has_long_names && !has_shapes_apart;
  if (call.name == "convert to npz") return !has_long_names;
  return true;
}

void check_all(const std::vector<Axis>& axes, const std::vector<Call>& calls) {
  std::vector<Growth> growths;
  for (const Axis& axis : axes)
    for (const Call& call : calls) {
      if (!fits(axis, call)) continue;
      CAPTURE(axis.name);
      CAPTURE(call.name);
      growths.push_back(measure(axis, call));
      CHECK_MESSAGE(growths.back().is_linear(), table({growths.back()}));
    }
  std::cout << table(growths) << std::flush;
}

}  // namespace

TEST_CASE("growth: calls that list tensors take linear time") {
  const TempFolder folder;
  check_all(tensor_axes(folder), looking_calls());
}

TEST_CASE("growth: calls that read tensors take linear time") {
  const TempFolder folder;
  check_all(tensor_axes(folder), reading_calls(folder.path().string()));
}

TEST_CASE("growth: calls that list values take linear time") {
  const TempFolder folder;
  check_all(value_axes(folder), looking_calls());
}
