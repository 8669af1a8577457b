// The system calls of small loads, one after the other from one checkpoint.
#include <doctest/doctest.h>

#include <filesystem>
#include <fstream>
#include <string>

#include "heft/checkpoint.hpp"
#include "heft/error.hpp"
#include "heft/materialize.hpp"
#include "heft/stream.hpp"
#include "support/faulty_syscalls.hpp"
#include "support/fixtures.hpp"
#include "support/safetensors_builder.hpp"
#include "support/temp_folder.hpp"
#include "support/thrown.hpp"

namespace {

using namespace heft;
using test::Call;
using test::FaultPlan;

constexpr std::size_t tensor_bytes = 4096;

std::string model() {
  test::SafetensorsBuilder file;
  for (int i = 0; i < 100; ++i)
    file.add("small." + std::to_string(i), "U8", {tensor_bytes},
             test::pattern(tensor_bytes, static_cast<std::uint32_t>(i)));
  return file.build();
}

std::string text_of(const Tensor& tensor) {
  return {reinterpret_cast<const char*>(tensor.bytes().data()), tensor.bytes().size_bytes()};
}

// Loads one tensor, directly, and returns its statistics.
LoadStats load_directly(const Checkpoint& checkpoint, int number) {
  const std::string name = "small." + std::to_string(number);
  LoadPlan plan;
  plan.add(checkpoint.tensor(name));
  const Weights weights = materialize(plan, {.io_method = IoMethod::direct});
  CHECK(text_of(weights[name]) == test::pattern(tensor_bytes, static_cast<std::uint32_t>(number)));
  return weights.stats();
}

bool reads_directly(const Checkpoint& checkpoint) {
  return load_directly(checkpoint, 0).io_uses.front().method == IoMethod::direct;
}

}  // namespace

TEST_CASE("small: a load from the page cache compares the file twice, asks for residency once, and reads once") {
  const test::TempFolder folder;
  const Checkpoint checkpoint = open(folder.write("model.safetensors", model()));
  const TensorView view = checkpoint.tensor("small.7");
  const auto count = [&](const auto& load) {
    const FaultPlan calls({});
    CHECK(text_of(load()) == test::pattern(tensor_bytes, 7));
    if (calls.calls(Call::mincore) != 0) return test::skip("no cachestat");
    CHECK(calls.calls(Call::fstat) == 2);
    CHECK(calls.calls(Call::cachestat) == 1);
    CHECK(calls.calls(Call::pread) == 1);
    CHECK(calls.calls(Call::any) == 4);
  };
  count([&] { return materialize(view); });
  count([&] {
    LoadPlan plan;
    plan.add(view);
    TensorStream tensors = stream(std::move(plan));
    return tensors.next().value();
  });
}

TEST_CASE("small: the first direct load opens the file for direct reads, later ones make one read each") {
  const test::TempFolder folder;
  const Checkpoint checkpoint = open(folder.write("model.safetensors", model()));
  {
    const FaultPlan calls({});
    if (!reads_directly(checkpoint)) return test::skip("no direct reads here");
    CHECK(calls.calls(Call::openat) == 1);
    CHECK(calls.calls(Call::statx) == 1);
  }
  for (const int number : {50, 3, 99}) {
    const FaultPlan calls({});
    const LoadStats stats = load_directly(checkpoint, number);
    CHECK(calls.calls(Call::fstat) == 2);
    CHECK(calls.calls(Call::pread) == 1);
    CHECK(calls.calls(Call::any) == 3);
    CHECK(stats.threads == 1);
    CHECK(stats.notes.empty());
    // The tensor with the rest of its first block and of its last.
    CHECK(stats.over_read <= 2 * 4096);
  }
}

TEST_CASE("small: direct reads that are many go through one ring") {
  const test::TempFolder folder;
  const Checkpoint checkpoint = open(folder.write("model.safetensors", model()));
  if (!reads_directly(checkpoint)) return test::skip("no direct reads here");
  LoadPlan plan;
  for (int i = 0; i < 100; i += 10) plan.add(checkpoint.tensor("small." + std::to_string(i)));
  const FaultPlan calls({});
  const Weights weights = materialize(plan, {.io_method = IoMethod::direct});
  CHECK(text_of(weights["small.90"]) == test::pattern(tensor_bytes, 90));
  CHECK(calls.calls(Call::ring_open) <= 1);
  if (weights.stats().notes.empty()) CHECK(calls.calls(Call::ring_read) >= 10);
}

TEST_CASE("small: a file that changed after a direct load is changed_on_disk, though its direct descriptor is kept") {
  const test::TempFolder folder;
  const std::filesystem::path path = folder.write("model.safetensors", model());
  const Checkpoint checkpoint = open(path);
  (void)load_directly(checkpoint, 1);
  std::fstream(path, std::ios::in | std::ios::out | std::ios::binary).seekp(20'000) << "written";
  const auto load = [&] { (void)materialize(checkpoint.tensor("small.2"), {.io_method = IoMethod::direct}); };
  CHECK(test::thrown_by(load).code() == ErrorCode::changed_on_disk);
}
