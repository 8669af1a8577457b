// NumPy's arrays in PyTorch's files, through loads and conversions: their bytes are decoded from text on the way.
#include <doctest/doctest.h>

#include <cstring>
#include <random>
#include <string>
#include <vector>

#include "cli_run.hpp"
#include "heft/checkpoint.hpp"
#include "heft/materialize.hpp"
#include "heft/plan.hpp"
#include "support/numpy_pickles.hpp"
#include "support/pickle_builder.hpp"
#include "support/temp_folder.hpp"

using namespace heft;
using namespace heft::test::pickle;

namespace {

std::string array(const std::vector<int>& shape, const std::string& data, bool fortran) {
  return numpy_array(shape, numpy_dtype("f4"), spelled_bytes(data), fortran);
}

}  // namespace

TEST_CASE("spelled arrays: a load by several workers, a conversion and a save have the array's numbers") {
  constexpr int rows = 700, columns = 1000;
  std::vector<float> numbers(std::size_t{rows} * columns);
  std::mt19937 random(5);
  for (float& number : numbers) number = static_cast<float>(static_cast<int>(random() % 60'000) - 30'000) / 16;
  const std::string data(reinterpret_cast<const char*>(numbers.data()), numbers.size() * sizeof(float));
  const test::TempFolder folder;
  const auto path = folder.write("model.pt", torch_file(dict({text("rows"), array({rows, columns}, data, false),
                                                              text("columns"), array({columns, rows}, data, true)})));
  const Checkpoint opened = open(path);
  LoadPlan plan;
  for (const TensorView& view : opened.tensors()) plan.add(view);
  const Weights weights = materialize(plan, {.threads = 4});
  CHECK(std::memcmp(weights["rows"].bytes().data(), data.data(), data.size()) == 0);
  const Tensor columns_of = weights["columns"];
  std::size_t wrong = 0;
  for (int i = 0; i < rows; ++i)
    for (int j = 0; j < columns; ++j)
      wrong += columns_of.span<float>()[static_cast<std::size_t>(j) * rows + static_cast<std::size_t>(i)] !=
               numbers[static_cast<std::size_t>(i) * columns + static_cast<std::size_t>(j)];
  CHECK(wrong == 0);
  const auto copy = folder.path() / "copy.safetensors";
  const test::CliRun run = test::heft_command({"convert", path.string(), copy.string()});
  CHECK(run.status == 0);
  const Checkpoint again = open(copy);
  const Tensor written = materialize(again.tensor("rows"));
  CHECK(std::memcmp(written.bytes().data(), data.data(), data.size()) == 0);
}
