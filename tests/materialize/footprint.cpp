// Memory and page cache that a load takes, as the kernel counts them, against its own estimate and stats.
#include <doctest/doctest.h>

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <memory>
#include <string>
#include <vector>

#include "heft/checkpoint.hpp"
#include "heft/materialize.hpp"
#include "heft/stream.hpp"
#include "mmap/pages.hpp"
#include "mmap/residency.hpp"
#include "support/destinations.hpp"
#include "support/fixtures.hpp"
#include "support/memory_use.hpp"
#include "support/safetensors_builder.hpp"
#include "support/temp_folder.hpp"

namespace {

using namespace heft;

constexpr IoMethod every_path[] = {IoMethod::automatic, IoMethod::map, IoMethod::direct, IoMethod::read};
constexpr std::uint64_t slack = 32u << 20;
// Attempts: a kernel that reclaims idle pages can take some from the process or the page cache during one, but rarely
// during each.
constexpr int tries = 3;

// 64 MB in matrices of 8 MB.
std::string model() {
  test::SafetensorsBuilder file;
  const std::string matrix = test::pattern(8'000'000);
  for (int i = 0; i < 8; ++i) file.add("w" + std::to_string(i), "BF16", {2000, 2000}, matrix);
  return file.build();
}

LoadPlan plan_of(const Checkpoint& checkpoint, DType dtype, bool turned) {
  LoadPlan plan;
  for (const TensorView& view : checkpoint.tensors()) plan.add(turned ? view.transpose(0, 1) : view, dtype);
  return plan;
}

bool can_measure() {
  if (test::memory_is_shadowed())
    test::skip("a sanitizer shadows memory");
  else if (!test::reset_peak())
    test::skip("the kernel does not set a peak back");
  else
    return true;
  return false;
}

// Most memory that `work` had in use beyond what there was before.
template <class Work>
std::uint64_t peak_of(const Work& work) {
  REQUIRE(test::reset_peak());
  const std::uint64_t before = test::resident_bytes();
  work();
  return test::peak_resident_bytes() - std::min(before, test::peak_resident_bytes());
}

// Pages of the file on the disk, and none of them in the page cache but for every other `stripe`, if there is one.
void bring(const std::string& path, std::uint64_t stripe = 0) {
  const int handle = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
  REQUIRE(handle >= 0);
  ::fdatasync(handle);  // dirty pages stay
  ::posix_fadvise(handle, 0, 0, POSIX_FADV_DONTNEED);
  ::posix_fadvise(handle, 0, 0, POSIX_FADV_RANDOM);
  std::vector<char> bytes(stripe);
  for (std::uint64_t at = 0; stripe != 0 && ::pread(handle, bytes.data(), stripe, static_cast<off_t>(at)) > 0;)
    at += 2 * stripe;
  ::close(handle);
}

std::vector<bool> resident(const std::string& path) {
  const auto file = mmap::File::open(path);
  return mmap::resident_pages(*file, 0, file->size_bytes());
}

bool can_be_dropped(const std::string& path) {
  bring(path);
  const std::vector<bool> pages = resident(path);
  if (std::none_of(pages.begin(), pages.end(), [](bool there) { return there; })) return true;
  test::skip("the page cache keeps what it is asked to drop");
  return false;
}

}  // namespace

TEST_CASE("footprint: a load stays under the peak its plan states, and near its destination, on every path") {
  if (!can_measure()) return;
  const test::TempFolder folder;
  const std::string path = folder.write("model.safetensors", model()).string();
  const Checkpoint checkpoint = open(path);
  for (const bool cold : {false, true})
    for (const DType dtype : {DType::bf16, DType::f32})
      for (const bool turned : {false, true})
        for (const IoMethod way : every_path) {
          INFO("path ", name(way), " to ", name(dtype), " turned ", turned, " cold ", cold);
          if (cold) bring(path);
          const LoadPlan plan = plan_of(checkpoint, dtype, turned);
          const MaterializeOptions options{.threads = 2, .io_method = way};
          LoadStats stats;
          std::uint64_t peak = 0;
          for (int again = 0; again < tries && peak + (1u << 20) < plan.estimate().bytes_written; ++again)
            peak = std::max(peak, peak_of([&] {
                              const Weights weights = materialize(plan, options);
                              stats = weights.stats();
                            }));
          CHECK(peak <= plan.estimate(options).host_bytes);
          CHECK(peak <= plan.estimate().bytes_written + options.staging_bytes + slack);
          CHECK(plan.estimate(options).host_bytes <= plan.estimate().bytes_written + options.staging_bytes + slack);
          CHECK(peak + (1u << 20) >= plan.estimate().bytes_written);
          CHECK(stats.arena_bytes >= plan.estimate().bytes_written);
          CHECK(stats.peak_staging_bytes <= options.staging_bytes);
        }
}

TEST_CASE("footprint: a load into the caller's memory takes its ring and little more") {
  if (!can_measure()) return;
  const test::TempFolder folder;
  const Checkpoint checkpoint = open(folder.write("model.safetensors", model()));
  std::vector<std::byte> memory(64'000'000);
  LoadPlan plan;
  for (std::size_t i = 0; const TensorView& view : checkpoint.tensors())
    plan.add(view, view.dtype(), std::span(memory).subspan(8'000'000 * i++, 8'000'000));
  for (const IoMethod way : every_path) {
    INFO("path ", name(way));
    const MaterializeOptions options{.threads = 2, .io_method = way};
    const std::uint64_t peak = peak_of([&] { (void)materialize(plan, options); });
    CHECK(peak <= plan.estimate(options).host_bytes);
    CHECK(plan.estimate(options).host_bytes <= options.staging_bytes + slack);
  }
}

TEST_CASE("footprint: a load into device memory takes its staging and little more") {
  if (!can_measure()) return;
  const test::TempFolder folder;
  const Checkpoint checkpoint = open(folder.write("model.safetensors", model()));
  for (const DType dtype : {DType::bf16, DType::f32})
    for (const IoMethod way : every_path) {
      INFO("path ", name(way), " to ", name(dtype));
      const LoadPlan plan = plan_of(checkpoint, dtype, false);
      const auto nowhere = std::make_shared<test::DeviceDestination>();
      nowhere->forgets = true;
      const MaterializeOptions options{.threads = 2, .io_method = way, .destination = nowhere};
      const std::uint64_t peak = peak_of([&] { (void)materialize(plan, options); });
      CHECK(peak <= plan.estimate(options).host_bytes);
      CHECK(plan.estimate(options).host_bytes <= 2 * options.staging_bytes + slack);
    }
}

TEST_CASE("footprint: a stream keeps to its bound") {
  if (!can_measure()) return;
  const test::TempFolder folder;
  const Checkpoint checkpoint = open(folder.write("model.safetensors", model()));
  constexpr std::uint64_t bound = 16u << 20;
  for (const IoMethod way : every_path) {
    INFO("path ", name(way));
    const MaterializeOptions options{.threads = 2, .io_method = way};
    std::uint64_t bytes = 0;
    const std::uint64_t peak = peak_of([&] {
      for (const Tensor& tensor : stream(plan_of(checkpoint, DType::bf16, false), options, {.in_flight_bytes = bound}))
        bytes += tensor.bytes().size();
    });
    CHECK(bytes == 64'000'000);
    CHECK(peak <= bound + options.staging_bytes + slack);
  }
}

TEST_CASE("footprint: pages that the load brought into the page cache are given up, and those that were there stay") {
  const test::TempFolder folder;
  const std::string path = folder.write("model.safetensors", model()).string();
  if (!can_be_dropped(path)) return;
  for (const std::uint64_t stripe : {std::uint64_t{0}, std::uint64_t{1} << 20})
    for (const IoMethod way : every_path) {
      INFO("path ", name(way), " stripe ", stripe);
      const Checkpoint checkpoint = open(path);  // which reads ahead
      bool same = false;
      for (int again = 0; again < tries && !same; ++again) {
        bring(path, stripe);
        const std::vector<bool> before = resident(path);
        const Weights weights = materialize(plan_of(checkpoint, DType::bf16, false),
                                            {.threads = 2, .io_method = way, .drop_page_cache = true});
        same = resident(path) == before;
        const auto absent = static_cast<std::uint64_t>(std::count(before.begin(), before.end(), false));
        if (way == IoMethod::map || way == IoMethod::read)
          CHECK(weights.stats().dropped_bytes >= absent * mmap::page_size());
        if (way == IoMethod::direct) CHECK(weights.stats().dropped_bytes == 0);
      }
      CHECK(same);
    }
}

TEST_CASE("footprint: a stream gives up what it brought in, group by group") {
  const test::TempFolder folder;
  const std::string path = folder.write("model.safetensors", model()).string();
  if (!can_be_dropped(path)) return;
  for (const IoMethod way : {IoMethod::map, IoMethod::read}) {
    INFO("path ", name(way));
    const Checkpoint checkpoint = open(path);  // which reads ahead
    bool same = false;
    for (int again = 0; again < tries && !same; ++again) {
      bring(path, 1u << 20);
      const std::vector<bool> before = resident(path);
      TensorStream all = stream(plan_of(checkpoint, DType::bf16, false), {.io_method = way, .drop_page_cache = true},
                                {.in_flight_bytes = 16u << 20});
      while (all.next()) {
      }
      same = resident(path) == before;
      CHECK(all.stats().dropped_bytes > 0);
    }
    CHECK(same);
  }
}

TEST_CASE("footprint: without drop_page_cache a load leaves in the page cache what it read, and counts nothing") {
  const test::TempFolder folder;
  const std::string path = folder.write("model.safetensors", model()).string();
  if (!can_be_dropped(path)) return;
  const Checkpoint checkpoint = open(path);
  const Weights weights = materialize(plan_of(checkpoint, DType::bf16, false), {.io_method = IoMethod::read});
  CHECK(weights.stats().dropped_bytes == 0);
  const std::vector<bool> after = resident(path);
  CHECK(std::all_of(after.begin(), after.end(), [](bool there) { return there; }));
}
