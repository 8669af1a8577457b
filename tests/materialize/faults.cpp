// Loads over system calls that fail: every failure is one Error, on every path, and leaves nothing behind.
#include <sys/mman.h>
#include <unistd.h>

#include <doctest/doctest.h>

#include <atomic>
#include <cerrno>
#include <cstring>
#include <filesystem>
#include <memory>
#include <stdexcept>
#include <stop_token>
#include <string>
#include <thread>
#include <vector>

#include "heft/checkpoint.hpp"
#include "heft/error.hpp"
#include "heft/materialize.hpp"
#include "heft/stream.hpp"
#include "materialize/visit.hpp"
#include "support/destinations.hpp"
#include "support/faulty_syscalls.hpp"
#include "support/safetensors_builder.hpp"
#include "support/temp_folder.hpp"
#include "support/thrown.hpp"

namespace {

using namespace heft;
using test::Call;
using test::Fault;
using test::FaultPlan;

constexpr IoMethod every_path[] = {IoMethod::automatic, IoMethod::map, IoMethod::direct, IoMethod::read};

// 24 MB: some large tensors, of which half are converted, and many small ones of odd sizes. Where the payload begins
// on a page, direct reads of what is not converted go straight to where it belongs.
std::string model(std::size_t alignment = 8) {
  test::SafetensorsBuilder file;
  file.align(alignment);
  for (int i = 0; i < 5; ++i)
    file.add("large." + std::to_string(i), "BF16", {1024, 2048},
             test::pattern(4u << 20, static_cast<std::uint32_t>(i)));
  for (int i = 0; i < 500; ++i)
    file.add("small." + std::to_string(i), "F16", {11, 37}, test::pattern(11 * 37 * 2, static_cast<std::uint32_t>(i)));
  return file.build();
}

LoadPlan plan_of(const Checkpoint& checkpoint) {
  LoadPlan plan;
  bool convert = false;
  for (const TensorView& view : checkpoint.tensors()) plan.add(view, (convert = !convert) ? DType::f32 : view.dtype());
  return plan;
}

void check_whole(const Checkpoint& checkpoint, const Weights& weights) {
  for (const TensorView& view : checkpoint.tensors()) {
    const Tensor& tensor = weights[view.name()];
    if (tensor.dtype() != view.dtype()) continue;
    const Bytes expected = view.bytes();
    REQUIRE(std::memcmp(tensor.bytes().data(), expected.data(), expected.size_bytes()) == 0);
  }
}

std::shared_ptr<test::WatchedDestination> destination_of(bool far) {
  if (far) return std::make_shared<test::DeviceDestination>();
  return std::make_shared<test::HostDestination>();
}

struct Case {
  const char* what;
  IoMethod path;
  Fault fault;
  ErrorCode code;
};

}  // namespace

TEST_CASE("faults: a failing device, a file that ends and a lack of memory are one Error, at whatever call") {
  const test::TempFolder folder;
  const Checkpoint checkpoint = open(folder.write("model.safetensors", model(4096)));
  const LoadPlan plan = plan_of(checkpoint);
  const Case cases[] = {
      {"read: EIO", IoMethod::read, {.call = Call::pread, .os_error = EIO}, ErrorCode::io},
      {"read: the file ends", IoMethod::read, {.call = Call::pread, .ends_at = 9'000'000}, ErrorCode::changed_on_disk},
      {"map: EIO",
       IoMethod::map,
       {.call = Call::madvise, .os_error = EIO, .advice = MADV_POPULATE_READ},
       ErrorCode::io},
      {"map: ENOMEM",
       IoMethod::map,
       {.call = Call::madvise, .os_error = ENOMEM, .advice = MADV_POPULATE_READ},
       ErrorCode::out_of_memory},
      {"direct: EIO without io_uring", IoMethod::direct, {.call = Call::pread, .os_error = EIO}, ErrorCode::io},
      {"direct: the ring takes no more",
       IoMethod::direct,
       {.call = Call::ring_submit, .os_error = EBADF},
       ErrorCode::io},
      {"direct: EIO", IoMethod::direct, {.call = Call::ring_read, .os_error = EIO}, ErrorCode::io},
      {"direct: the file ends",
       IoMethod::direct,
       {.call = Call::ring_read, .ends_at = 9'000'000},
       ErrorCode::changed_on_disk},
      {"automatic: EIO in the mapping",
       IoMethod::automatic,
       {.call = Call::madvise, .os_error = EIO, .advice = MADV_POPULATE_READ},
       ErrorCode::io},
  };
  for (const Case& each : cases)
    for (const std::uint64_t skip : {0, 1, 3})
      for (const unsigned threads : {1u, 3u})
        for (const bool far : {false, true}) {
          if (far && each.fault.call == Call::madvise) continue;  // device memory is not filled from mappings
          INFO(each.what, ", after ", skip, ", threads ", threads, ", far ", far);
          std::vector<Fault> faults(1, each.fault);
          faults[0].skip = faults[0].ends_at ? 0 : skip;
          if (each.path == IoMethod::direct && each.fault.call == Call::pread)
            faults.push_back({.call = Call::ring_open, .os_error = EPERM});
          const auto destination = destination_of(far);
          const FaultPlan planned(faults);
          const Error error = test::thrown_by([&] {
            (void)materialize(plan, {.threads = threads, .io_method = each.path, .destination = destination});
          });
          CHECK(error.code() == each.code);
          CHECK(error.path() == (folder.path() / "model.safetensors").string());
          CHECK_FALSE(error.tensor().empty());
          CHECK(destination->given_up == 1);
          CHECK(destination->finished == 0);
        }
}

TEST_CASE("faults: short reads, interruptions and refusals of what is optional change nothing but the path") {
  const test::TempFolder folder;
  const Checkpoint checkpoints[] = {open(folder.write("model.safetensors", model())),
                                    open(folder.write("aligned.safetensors", model(4096)))};
  const std::vector<std::pair<const char*, Fault>> harmless = {
      {"short preads", {.call = Call::pread, .times = 40, .at_most = 5000}},
      {"interrupted preads", {.call = Call::pread, .times = 3, .os_error = EINTR}},
      {"short direct reads", {.call = Call::ring_read, .times = 9, .at_most = 8192}},
      {"direct reads to be tried again", {.call = Call::ring_read, .times = 4, .os_error = EAGAIN}},
      {"interrupted direct reads", {.call = Call::ring_read, .times = 4, .os_error = EINTR}},
      {"direct reads that the device refuses", {.call = Call::ring_read, .times = 7, .os_error = EINVAL}},
      {"requests to be sent again", {.call = Call::ring_submit, .times = 5, .os_error = EAGAIN}},
      {"no word on alignment", {.call = Call::statx, .os_error = ENOSYS}},
      {"no word on the file system", {.call = Call::fstatfs, .os_error = EIO}},
      {"no word on the lease", {.call = Call::lease_type, .os_error = EIO}},
      {"no advice on what to give up", {.call = Call::posix_fadvise, .os_error = EINVAL}},
      {"no io_uring", {.call = Call::ring_open, .os_error = EPERM}},
      {"no registered buffers", {.call = Call::ring_register_buffers, .os_error = ENOMEM}},
      {"no MADV_POPULATE_READ", {.call = Call::madvise, .os_error = EINVAL, .advice = MADV_POPULATE_READ}},
      {"no lease", {.call = Call::lease, .os_error = EAGAIN}},
      {"no O_DIRECT", {.call = Call::openat, .os_error = EINVAL}},
  };
  for (const auto& [what, fault] : harmless)
    for (const IoMethod path : every_path)
      for (const Checkpoint& checkpoint : checkpoints)
        for (const bool far : {false, true}) {
          INFO(what, ", path ", name(path), ", far ", far, ", aligned ", &checkpoint == &checkpoints[1]);
          const LoadPlan plan = plan_of(checkpoint);
          const auto destination = far ? std::make_shared<test::DeviceDestination>() : nullptr;
          const FaultPlan faults({fault});
          const Weights weights =
              materialize(plan, {.threads = 2, .io_method = path, .drop_page_cache = true, .destination = destination});
          if (far)
            CHECK(destination->bytes_written() == plan.estimate().bytes_written);
          else
            check_whole(checkpoint, weights);
          CHECK(weights.stats().bytes_read == plan.estimate().bytes_read);
        }
}

TEST_CASE("faults: a load fails if its file cannot be examined") {
  const test::TempFolder folder;
  const Checkpoint checkpoint = open(folder.write("model.safetensors", model()));
  const LoadPlan plan = plan_of(checkpoint);
  std::uint64_t calls = 0;
  {
    const FaultPlan none({});
    (void)materialize(plan, {.io_method = IoMethod::read});
    calls = none.calls(Call::fstat);
  }
  REQUIRE(calls >= 2);
  for (const std::uint64_t skip : {std::uint64_t{0}, calls - 1}) {
    const auto destination = destination_of(false);
    const FaultPlan faults({{.call = Call::fstat, .skip = skip, .os_error = EIO}});
    const Error error =
        test::thrown_by([&] { (void)materialize(plan, {.io_method = IoMethod::read, .destination = destination}); });
    CHECK(error.code() == ErrorCode::io);
    CHECK(error.path() == (folder.path() / "model.safetensors").string());
    CHECK(destination->given_up == 1);
  }
}

TEST_CASE("faults: bytes that took another path than the requested one are counted as fallbacks, with the reason") {
  const test::TempFolder folder;
  const Checkpoint checkpoint = open(folder.write("model.safetensors", model()));
  const LoadPlan plan = plan_of(checkpoint);
  const auto only_use = [&](IoMethod path) {
    const Weights weights = materialize(plan, {.io_method = path});
    REQUIRE(weights.stats().io_uses.size() == 1);
    CHECK(weights.stats().fallbacks > 0);
    return weights.stats().io_uses[0];
  };
  {
    const FaultPlan faults({{.call = Call::lease, .os_error = EAGAIN}});
    CHECK(only_use(IoMethod::map).reason == IoReason::no_lease);
  }
  {
    const FaultPlan faults({{.call = Call::madvise, .os_error = EINVAL, .advice = MADV_POPULATE_READ}});
    CHECK(only_use(IoMethod::map).reason == IoReason::no_populate);
  }
  {
    const FaultPlan faults({{.call = Call::openat, .os_error = EINVAL}});
    CHECK(only_use(IoMethod::direct).reason == IoReason::no_direct);
  }
}

TEST_CASE("faults: a file truncated by another process in the middle of a load is an Error, or the load came first") {
  const test::TempFolder folder;
  const std::string bytes = model();
  for (const IoMethod path : every_path)
    for (int round = 0; round < 4; ++round) {
      const auto file = folder.write("model.safetensors", bytes);
      const Checkpoint checkpoint = open(file);
      const LoadPlan plan = plan_of(checkpoint);
      std::thread truncating;
      std::atomic<bool> begun = false;
      const auto begin = [&](const Progress&) {
        if (!begun.exchange(true)) truncating = std::thread([&] { std::filesystem::resize_file(file, 4096); });
      };
      try {
        (void)materialize(plan, {.threads = 2, .progress = begin, .io_method = path});
      } catch (const Error& error) {
        CHECK(error.code() == ErrorCode::changed_on_disk);
      }
      if (truncating.joinable()) truncating.join();
    }
}

TEST_CASE("faults: a progress callback that throws, or requests a stop, ends the load on every path") {
  const test::TempFolder folder;
  const Checkpoint checkpoint = open(folder.write("model.safetensors", model(4096)));
  const LoadPlan plan = plan_of(checkpoint);
  for (const IoMethod path : every_path)
    for (const bool far : {false, true}) {
      INFO("path ", name(path), ", far ", far);
      const auto thrown = destination_of(far);
      const auto fail = [](const Progress&) { throw std::runtime_error("enough"); };
      CHECK_THROWS_WITH_AS(
          (void)materialize(plan, {.threads = 2, .progress = fail, .io_method = path, .destination = thrown}), "enough",
          std::runtime_error);
      CHECK(thrown->given_up == 1);
      std::stop_source stop;
      const auto stopped = destination_of(far);
      const auto ask = [&](const Progress&) { stop.request_stop(); };
      const MaterializeOptions options{
          .threads = 2, .progress = ask, .stop = stop.get_token(), .io_method = path, .destination = stopped};
      CHECK(test::thrown_by([&] { (void)materialize(plan, options); }).code() == ErrorCode::cancelled);
      CHECK(stopped->given_up == 1);
    }
}

TEST_CASE("faults: where the page cache may not be examined, a load evicts nothing from it") {
  const test::TempFolder folder;
  const Checkpoint checkpoint = open(folder.write("model.safetensors", model()));
  const LoadPlan plan = plan_of(checkpoint);
  const FaultPlan faults({{.call = Call::faccess, .os_error = EACCES}});
  const Weights weights = materialize(plan, {.io_method = IoMethod::read, .drop_page_cache = true});
  CHECK(weights.stats().dropped_bytes == 0);
  CHECK(faults.calls(Call::posix_fadvise) == 0);
}

TEST_CASE("faults: a visit ends with the failure, at whatever call") {
  const test::TempFolder folder;
  const Checkpoint checkpoint = open(folder.write("model.safetensors", model()));
  const LoadPlan plan = plan_of(checkpoint);
  engine::Windows windows;
  for (std::uint32_t i = 0; i < plan.size(); ++i) {
    windows.add(i);
    windows.close();
  }
  for (const std::uint64_t skip : {0, 1, 5, 20}) {
    const FaultPlan faults({{.call = Call::pread, .skip = skip, .os_error = EIO}});
    const Error error = test::thrown_by(
        [&] { (void)engine::visit(plan, {.threads = 2, .io_method = IoMethod::read}, windows, [](const auto&) {}); });
    CHECK(error.code() == ErrorCode::io);
    CHECK(error.path() == (folder.path() / "model.safetensors").string());
    CHECK_FALSE(error.tensor().empty());
  }
}

TEST_CASE("faults: a stream passes the failure on, once") {
  const test::TempFolder folder;
  const Checkpoint checkpoint = open(folder.write("model.safetensors", model()));
  const FaultPlan faults({{.call = Call::pread, .skip = 5, .os_error = EIO}});
  TensorStream all = stream(plan_of(checkpoint), {.io_method = IoMethod::read}, {.in_flight_bytes = 8u << 20});
  CHECK(test::thrown_by([&] {
          while (all.next()) {
          }
        }).code() == ErrorCode::io);
  CHECK_FALSE(all.next().has_value());
}
