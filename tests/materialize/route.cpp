// The paths that a load takes by itself, as its stats report them.
#include <doctest/doctest.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "heft/checkpoint.hpp"
#include "heft/materialize.hpp"
#include "support/safetensors_builder.hpp"
#include "support/temp_folder.hpp"

namespace {

using namespace heft;

constexpr std::uint64_t matrix_bytes = 8'000'000;

// 40 MB, just written: in the page cache.
struct Resident {
  test::TempFolder folder;
  std::string payload = test::pattern(matrix_bytes);
  Checkpoint checkpoint = open(folder.write("model.safetensors", [this] {
    test::SafetensorsBuilder file;
    for (int i = 0; i < 5; ++i) file.add("w" + std::to_string(i), "BF16", {2000, 2000}, payload);
    return file.build();
  }()));
};

std::uint64_t bytes_by(const LoadStats& stats, IoMethod path) {
  std::uint64_t bytes = 0;
  for (const IoUse& use : stats.io_uses) {
    CHECK(use.reason == IoReason::resident);
    if (use.method == path) bytes += use.bytes;
  }
  return bytes;
}

}  // namespace

TEST_CASE("route: resident bytes are read into fresh memory") {
  const Resident model;
  LoadPlan plan;
  for (const TensorView& view : model.checkpoint.tensors()) plan.add(view);
  const Weights weights = materialize(plan);
  CHECK(bytes_by(weights.stats(), IoMethod::read) == 5 * matrix_bytes);
  CHECK(weights.stats().fallbacks == 0);
  for (const Tensor& tensor : weights)
    CHECK(std::ranges::equal(tensor.bytes(), std::as_bytes(std::span(model.payload))));
}

TEST_CASE("route: resident bytes that are converted come from the page cache into fresh memory too") {
  const Resident model;
  LoadPlan plan;
  for (const TensorView& view : model.checkpoint.tensors()) plan.add(view, DType::f32);
  const Weights weights = materialize(plan);
  CHECK(bytes_by(weights.stats(), IoMethod::map) + bytes_by(weights.stats(), IoMethod::read) == 5 * matrix_bytes);
  CHECK(weights.stats().fallbacks == 0);
}

TEST_CASE("route: resident bytes come from the page cache into touched memory, by the mapping or by reads") {
  const Resident model;
  std::vector<std::byte> memory(5 * matrix_bytes);
  for (const bool turned : {false, true}) {
    LoadPlan plan;
    std::size_t at = 0;
    for (const TensorView& view : model.checkpoint.tensors()) {
      plan.add(turned ? view.transpose(0, 1) : view, DType::bf16, std::span(memory).subspan(at, matrix_bytes));
      at += matrix_bytes;
    }
    const Weights weights = materialize(plan);
    const LoadStats& stats = weights.stats();
    const std::uint64_t mapped = bytes_by(stats, IoMethod::map);
    CHECK(mapped + bytes_by(stats, IoMethod::read) == 5 * matrix_bytes);
    if (turned) CHECK(mapped == 0);
    CHECK(stats.fallbacks == 0);
  }
}
