// The checkpoint, the plans and the reporting thread of the tests of destinations.
#pragma once

#include <stop_token>
#include <string>
#include <thread>
#include <vector>

#include "heft/checkpoint.hpp"
#include "heft/materialize.hpp"
#include "mixed_tensors.hpp"
#include "support/destinations.hpp"
#include "support/safetensors_builder.hpp"
#include "support/temp_folder.hpp"

namespace heft::destinations {

inline constexpr IoMethod every_method[] = {IoMethod::automatic, IoMethod::map, IoMethod::direct, IoMethod::read};

// 13 MB: large tensors, small ones, odd sizes.
inline std::string model() {
  test::SafetensorsBuilder file;
  test::add_mixed_tensors(file, 700);
  return file.build();
}

struct Model {
  test::TempFolder folder;
  Checkpoint checkpoint = open(folder.write("model.safetensors", model()));

  [[nodiscard]] LoadPlan whole() const {
    LoadPlan plan;
    for (const TensorView& view : checkpoint.tensors()) plan.add(view);
    return plan;
  }
  // The large tensors: 12 MiB in about as many writes.
  [[nodiscard]] LoadPlan large() const {
    LoadPlan plan;
    for (int i = 0; i < 3; ++i) plan.add(checkpoint.tensor("large." + std::to_string(i)));
    return plan;
  }
  // Returns a plan of all kinds of requests besides whole tensors.
  [[nodiscard]] LoadPlan shaped() const {
    const TensorView wide = checkpoint.tensor("large.1");
    const std::vector<TensorView> both = {wide, checkpoint.tensor("large.2")};
    LoadPlan plan;
    plan.add(checkpoint.tensor("large.0"), DType::f32);
    plan.add(wide.transpose(0, 1).renamed("turned"));
    plan.add(wide.transpose(0, 1).renamed("turned f32"), DType::f32);
    plan.add(wide.shard(1, 3, 8).renamed("columns"));
    plan.add(concat("side by side", both, 1));
    // Each element is a write of its own, unless the device takes rows: a few rows are enough of them.
    const std::vector<TensorView> few = {both[0].slice(0, 0, 16), both[1].slice(0, 0, 16)};
    plan.add(stack("between", few, 2));
    plan.add(wide.renamed("tied"));
    return plan;
  }
};

// Reports what a device retains, on a thread of its own, until it is destroyed.
class Reporter {
 public:
  explicit Reporter(const test::DeviceDestination& device)
      : thread_([&device](const std::stop_token& stop) {
          while (!stop.stop_requested()) {
            device.release();
            std::this_thread::yield();
          }
          device.release();
        }) {}

 private:
  std::jthread thread_;
};

}  // namespace heft::destinations
