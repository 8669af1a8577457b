// Where a plan is cut: at places that suit pages, whatever the tensors' sizes.
#include <doctest/doctest.h>

#include <cstdint>
#include <string>

#include "heft/checkpoint.hpp"
#include "heft/plan.hpp"
#include "materialize/budget.hpp"
#include "materialize/transfer.hpp"
#include "support/safetensors_builder.hpp"
#include "support/temp_folder.hpp"

namespace {

using namespace heft;

constexpr std::uint64_t huge_page = 2u << 20;

// 40 MB in tensors whose ends suit nothing.
std::string ragged_model() {
  test::SafetensorsBuilder file;
  const std::string values = test::pattern(666'666);
  for (int i = 0; i < 60; ++i) file.add("w" + std::to_string(i), "BF16", {333'333}, values);
  return file.build();
}

struct Cut {
  test::TempFolder folder;
  Checkpoint checkpoint = open(folder.write("model.safetensors", ragged_model()));
  engine::Layout layout;

  explicit Cut(DType dtype) {
    LoadPlan plan;
    for (const TensorView& view : checkpoint.tensors()) plan.add(view, dtype);
    layout = engine::cut_plan(plan);
  }
};

}  // namespace

TEST_CASE("cut: no chunk reaches past a multiple of its grain, though tensors do, and nothing is left out") {
  for (const DType dtype : {DType::bf16, DType::f32}) {
    const Cut cut(dtype);
    const std::uint64_t grain = dtype == DType::bf16 ? engine::Grain{}.plain : engine::Grain{}.staged;
    std::uint64_t end = cut.layout.chunks.front().range.begin;
    for (const engine::Chunk& chunk : cut.layout.chunks) {
      CHECK(chunk.range.begin == end);
      CHECK(chunk.range.begin / grain == (chunk.range.end - 1) / grain);
      end = chunk.range.end;
    }
    CHECK(end == cut.checkpoint.shards()[0].size_bytes);
  }
}

TEST_CASE("cut: batches end with huge pages of the file, and are neither large nor many") {
  for (const DType dtype : {DType::bf16, DType::f32, DType::f64}) {  // up to twice as heavy as what is read
    const Cut cut(dtype);
    for (const engine::Batch& batch : cut.layout.batches) {
      const std::uint64_t end = cut.layout.chunks[batch.last - 1].range.end;
      if (batch.last != cut.layout.chunks.size()) CHECK(end % huge_page == 0);
      CHECK(end - cut.layout.chunks[batch.first].range.begin <= engine::Grain{}.batch);
    }
    CHECK(cut.layout.batches.size() >= 6);
    CHECK(cut.layout.batches.size() <= 20);
  }
}
