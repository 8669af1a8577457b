// Every public call when memory runs out at its n-th allocation, once or from then on: std::bad_alloc or
// Error{out_of_memory}, nothing lost, and the same call succeeds afterwards.
#include <doctest/doctest.h>
#include <dirent.h>

#include <algorithm>
#include <array>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <exception>
#include <filesystem>
#include <functional>
#include <new>
#include <optional>
#include <string>
#include <vector>

#include "heft/heft.hpp"
#include "support/failing_allocations.hpp"
#include "support/fixtures.hpp"
#include "support/gguf_builder.hpp"
#include "support/safetensors_builder.hpp"
#include "support/temp_folder.hpp"
#include "support/torch_builder.hpp"

namespace {

using namespace heft;
using test::FailingAllocations;

namespace fs = std::filesystem;

// What a call came to. Codes of Error count from 1 on.
constexpr int done = 0;
constexpr int no_memory = -1;
constexpr int other_exception = -2;

// Catches without allocating.
template <class Call>
int outcome(const Call& call) noexcept {
  try {
    call();
    return done;
  } catch (const Error& error) {
    return error.code() == ErrorCode::out_of_memory ? no_memory : 1 + static_cast<int>(error.code());
  } catch (const std::bad_alloc&) {
    return no_memory;
  } catch (...) {
    return other_exception;
  }
}

std::size_t open_descriptors() {
  DIR* const folder = ::opendir("/proc/self/fd");
  std::size_t count = 0;
  while (::readdir(folder) != nullptr) ++count;
  ::closedir(folder);
  return count;
}

struct Counts {
  std::uint64_t allocations = 0;  // of the call when nothing fails
  std::uint64_t failed = 0;       // calls in which an allocation failed
  std::uint64_t refused = 0;      // of those: bad_alloc or out_of_memory
  std::uint64_t absorbed = 0;     // of those: came to what they come to otherwise
};

// For the terminate handler, which has no memory to say it with.
std::array<char, 120> current_call{};
std::uint64_t current_number = 0;

[[noreturn]] void tell_and_abort() {
  std::fprintf(stderr, "terminated: '%s', allocation %llu\n", current_call.data(), static_cast<unsigned long long>(current_number));
  std::abort();
}

struct Failed {
  int came_to = done;
  bool any = false;
  std::int64_t lost_blocks = 0;
  std::int64_t lost_mappings = 0;
};

Failed failed(const std::function<void()>& call, std::uint64_t number, std::uint64_t times) {
  Failed result{.lost_blocks = -test::live_blocks(), .lost_mappings = -test::live_mappings()};
  {
    const FailingAllocations memory(number, times);
    result.came_to = outcome(call);
    result.any = memory.failed() > 0;
  }
  result.lost_blocks += test::live_blocks();
  result.lost_mappings += test::live_mappings();
  return result;
}

void sweep_one(const std::function<void()>& call, int expected, std::uint64_t number, std::uint64_t times, Counts& counts) {
  current_number = number;
  CAPTURE(number);
  CAPTURE(times);
  Failed result = failed(call, number, times);
  // The unwinder, and the test framework, may have kept something for good on the first way through here.
  if (result.lost_blocks != 0) result = failed(call, number, times);
  CHECK((result.came_to == expected || result.came_to == no_memory));
  CHECK(result.lost_blocks == 0);
  CHECK(result.lost_mappings == 0);
  if (times != 1) CHECK(outcome(call) == expected);
  if (!result.any) return;
  ++counts.failed;
  ++(result.came_to == no_memory ? counts.refused : counts.absorbed);
}

// Fails each allocation of `call`, which comes to `expected` when none fails.
Counts sweep(const std::string& name, const std::function<void()>& call, int expected = done) {
  CAPTURE(name);
  std::snprintf(current_call.data(), current_call.size(), "%s", name.c_str());
  const std::terminate_handler before = std::set_terminate(tell_and_abort);
  // What is made once and stays, is there after the first calls.
  for (int i = 0; i < 2; ++i) REQUIRE(outcome(call) == expected);
  const std::size_t descriptors = open_descriptors();
  Counts counts;
  {
    const FailingAllocations none(FailingAllocations::for_ever, 0);
    static_cast<void>(outcome(call));
    counts.allocations = none.asked();
  }
  for (std::uint64_t number = 0; number < counts.allocations; ++number)
    for (const std::uint64_t times : {std::uint64_t{1}, FailingAllocations::for_ever}) sweep_one(call, expected, number, times, counts);
  CHECK(open_descriptors() == descriptors);
  std::set_terminate(before);
  return counts;
}

// The counts of several sweeps, told when it dies.
class Tally {
 public:
  explicit Tally(std::string what) : what_(std::move(what)) {}
  ~Tally() {
    CHECK(sum_.failed > 0);
    MESSAGE(what_, ": ", calls_, " calls, ", sum_.allocations, " allocations; failed ", sum_.failed, ": refused ", sum_.refused, ", absorbed ",
            sum_.absorbed);
  }
  Tally(const Tally&) = delete;
  Tally& operator=(const Tally&) = delete;

  void add(const std::string& name, const std::function<void()>& call, int expected = done) {
    const Counts counts = sweep(name, call, expected);
    ++calls_;
    sum_.allocations += counts.allocations;
    sum_.failed += counts.failed;
    sum_.refused += counts.refused;
    sum_.absorbed += counts.absorbed;
  }

 private:
  std::string what_;
  std::uint64_t calls_ = 0;
  Counts sum_;
};

constexpr int expected(ErrorCode code) { return 1 + static_cast<int>(code); }

// Small tensors of every kind of name and rank, and metadata.
std::string small_model() {
  test::SafetensorsBuilder file;
  for (int layer = 0; layer < 3; ++layer) {
    const std::string prefix = "model.layers." + std::to_string(2 * layer) + ".";
    file.add(prefix + "norm.weight", "F32", {2}, test::pattern(8));
    file.add(prefix + "up.weight", "BF16", {4, 2}, test::pattern(16));
  }
  file.add("eight_dims", "F32", {1, 2, 1, 2, 1, 2, 1, 2}, test::pattern(64));
  file.metadata("format", "pt").metadata("steps", "12");
  return file.build();
}

// Enough for two threads: large tensors and small ones.
std::string large_model() {
  test::SafetensorsBuilder file;
  file.align(4096);
  for (int i = 0; i < 4; ++i) file.add("large." + std::to_string(i), "BF16", {1024, 1024}, test::pattern(2u << 20, static_cast<std::uint32_t>(i)));
  for (int i = 0; i < 20; ++i) file.add("small." + std::to_string(i), "F16", {11, 37}, test::pattern(11 * 37 * 2));
  return file.build();
}

// Some of it converted, a part of one tensor transposed.
LoadPlan plan_of(const Checkpoint& checkpoint) {
  LoadPlan plan;
  for (const TensorView& view : checkpoint.tensors()) {
    if (view.name() == "large.1") plan.add(view.slice(0, 0, 64).transpose(0, 1));
    else plan.add(view, view.name().starts_with("small") ? DType::f32 : view.dtype());
  }
  return plan;
}

// Far memory that keeps nothing.
class Sink final : public Destination {
 public:
  std::span<std::byte> allocate(std::uint64_t, std::uint64_t) override { return {}; }
  void write(std::uint64_t, Bytes) override {}
  std::shared_ptr<const void> finish() override { return nullptr; }
  void abandon() noexcept override {}
};

struct Layer {
  TensorView norm;
  std::optional<TensorView> bias;
  template <class Fields>
  void describe(Fields& f) {
    f("norm.weight", norm).alias("gamma").alias("scale.of.the.norm.under.a.name.that.is.long");
    f("bias", bias);
  }
};

struct Network {
  std::vector<Layer> layers;
  std::int64_t steps = 0;
  template <class Fields>
  void describe(Fields& f) {
    f("layers", layers);
    f("steps", steps).otherwise(-1);
  }
};

void walk(const Record& record) {
  for (std::size_t i = 0; i < record.count(); ++i) {
    static_cast<void>(record.key(i));
    walk(record.child(i));
  }
}

}  // namespace

TEST_CASE("allocations: opening a file of any format, good or bad, fails with out of memory and nothing else") {
  const test::TempFolder folder;
  Tally tally("open");
  for (const char* format : {"safetensors", "zip", "legacy", "pickle", "tar", "gguf", "npy", "npz", "ctranslate2", "msgpack", "burnpack", "index_json"}) {
    std::size_t count = 0;
    std::vector<fs::path> files;
    for (const auto& entry : fs::directory_iterator(test::source_root() / "tests/fuzz/corpus" / format)) files.push_back(entry.path());
    std::ranges::sort(files);
    for (const fs::path& file : files) {
      if (++count > 12) break;
      const fs::path path = folder.write(file.filename().string(), test::content_of(file));
      const auto call = [&] { static_cast<void>(open(path)); };
      tally.add(std::string(format) + "/" + file.filename().string(), call, outcome(call));
    }
  }
}

TEST_CASE("allocations: opening shards, folders and parts") {
  const test::TempFolder folder;
  const Checkpoint small = open(folder.write("small.safetensors", small_model()));
  fs::create_directory(folder.path() / "shards");
  static_cast<void>(save(small, folder.path() / "shards", {.shard_bytes = 20}));
  Tally tally("open shards");
  tally.add("a folder of shards", [&] { static_cast<void>(open(folder.path() / "shards")); });
  tally.add("an index", [&] { static_cast<void>(open(folder.path() / "shards/model.safetensors.index.json")); });
  tally.add("nothing", [&] { static_cast<void>(open(folder.path() / "nothing")); }, expected(ErrorCode::not_found));
  const std::string torch = test::TorchBuilder().tensor("w", "FloatStorage", {8, 8}, test::pattern(256)).value("step", test::pickled_int(3)).build();
  const fs::path path = folder.write("model.pt", torch);
  tally.add("a PyTorch file", [&] { static_cast<void>(open(path)); });
  tally.add("a PyTorch file, read", [&] { static_cast<void>(open(path, {.access = Access::read})); });
}

TEST_CASE("allocations: records, names, metadata, views and plans") {
  const test::TempFolder folder;
  const Checkpoint small = open(folder.write("small.safetensors", small_model()));
  const fs::path path = folder.path() / "small.safetensors";
  Tally tally("records and views");
  tally.add("tree", [&] { walk(open(path).root()); });
  tally.add("lookups", [&] { static_cast<void>(small.root()["model"]["layers"][0]["norm"]["weight"].tensor().as<float>()); });
  tally.add("a key that is not there", [&] { static_cast<void>(small.root()["model"]["layer"]); }, expected(ErrorCode::not_found));
  tally.add("metadata", [&] { walk(open(path).metadata()); });
  tally.add("tensor", [&] { static_cast<void>(small.tensor("eight_dims")); });
  tally.add("find", [&] { static_cast<void>(small.find("eight_dims")); });
  tally.add("a tensor that is not there", [&] { static_cast<void>(small.tensor("model.layers.0.norm.weigth")); }, expected(ErrorCode::not_found));
  tally.add("glob", [&] {
    for (const TensorView& view : small.tensors("model.layers.{0,[1-9]}.*.?eight")) static_cast<void>(view.bytes());
  });
  tally.add("a glob that does not compile", [&] { static_cast<void>(small.tensors("{a")); }, expected(ErrorCode::out_of_range));
  tally.add("renumbered", [&] { static_cast<void>(remap(small, {}, Indices::contiguous, {"none.*"}).root()); });
  tally.add("views", [&] {
    const TensorView view = small.tensor("eight_dims");
    static_cast<void>(view.transpose(1, 3).slice(1, 0, 1).renamed("another name that is not short"));
    static_cast<void>(view.reshape(Shape{2, 1, 2, 1, 2, 1, 2}).read<float>(0, 0, 1, 0, 1, 0, 1));
    static_cast<void>(view.shard(1, 1, 2).size_bytes());
  });
  tally.add("checksums", [&] { static_cast<void>(small.verify_checksums()); });
  tally.add("plan", [&] {
    const LoadPlan plan = plan_of(small);
    static_cast<void>(plan.peak_bytes());
  });
  const Record root = remap(small, {}, Indices::contiguous).root()["model"];
  tally.add("bind", [&] {
    Network network;
    static_cast<void>(bind(root, network));
  });
}

TEST_CASE("allocations: materialize on every path, into every kind of memory, with one thread and more") {
  const test::TempFolder folder;
  const Checkpoint large = open(folder.write("large.safetensors", large_model()));
  const Checkpoint unmapped = open(folder.path() / "large.safetensors", {.access = Access::read});
  Tally tally("materialize");
  for (const unsigned threads : {1u, 3u}) {
    for (const Path path : {Path::automatic, Path::map, Path::direct, Path::read}) {
      const std::string what = std::string(name(path)) + ", " + std::to_string(threads) + " threads";
      tally.add(what, [&] { static_cast<void>(materialize(plan_of(large), {.threads = threads, .path = path, .drop_page_cache = threads == 1})); });
      if (path == Path::map) continue;
      tally.add(what + ", far", [&] {
        static_cast<void>(materialize(plan_of(large), {.threads = threads, .path = path, .destination = std::make_shared<Sink>()}));
      });
    }
    tally.add("unmapped", [&] { static_cast<void>(materialize(plan_of(unmapped), {.threads = threads})); });
  }
}

TEST_CASE("allocations: a stream, whole or left early") {
  const test::TempFolder folder;
  const Checkpoint large = open(folder.write("large.safetensors", large_model()));
  Tally tally("stream");
  for (const unsigned threads : {1u, 2u}) {
    tally.add("whole", [&] {
      std::size_t count = 0;
      for (const Tensor& tensor : stream(plan_of(large), {.threads = threads}, 4u << 20)) count += tensor.size_bytes() != 0;
      if (count != 24) throw std::logic_error("a stream that is short");
    });
    tally.add("left early", [&] { static_cast<void>(stream(plan_of(large), {.threads = threads}, 4u << 20).next()); });
  }
}

TEST_CASE("allocations: inflated records") {
  const test::TempFolder folder;
  const fs::path path = folder.write(
      "deflated.pt", test::TorchBuilder().tensor("w", "FloatStorage", {64, 64}, test::pattern(64 * 64 * 4)).deflate().build());
  Tally tally("inflated");
  tally.add("bytes", [&] { static_cast<void>(open(path).tensor("w").bytes()); });
  tally.add("materialize", [&] { static_cast<void>(materialize(open(path).tensor("w"), DType::f16)); });
  tally.add("checksums", [&] { static_cast<void>(open(path).verify_checksums()); });
}

TEST_CASE("allocations: saving in every format leaves the old file or the new one, and nothing else") {
  const test::TempFolder folder;
  const Checkpoint small = open(folder.write("small.safetensors", small_model()));
  const std::vector<SaveItem> items = [&] {
    std::vector<SaveItem> wanted;
    for (const TensorView& view : small.tensors("model.*")) wanted.emplace_back(view, DType::f32);
    return wanted;
  }();
  Tally tally("save");
  for (const char* file : {"model.safetensors", "model.npz", "model.gguf"}) {
    fs::create_directory(folder.path() / "out");
    const fs::path path = folder.path() / "out" / file;
    static_cast<void>(save(items, path));
    tally.add(file, [&] {
      static_cast<void>(save(items, path));
    });
    CHECK(std::distance(fs::directory_iterator(folder.path() / "out"), fs::directory_iterator()) == 1);
    CHECK(open(path).tensors().count() == items.size());
    fs::remove_all(folder.path() / "out");
  }
  fs::create_directory(folder.path() / "out");
  tally.add("shards", [&] { static_cast<void>(save(small, folder.path() / "out", {.shard_bytes = 40})); });
  CHECK(open(folder.path() / "out").tensors().count() == small.tensors().count());
  tally.add("a record", [&] { static_cast<void>(save(small.root()["model"], folder.path() / "record.safetensors")); });
  Network network;
  static_cast<void>(bind(remap(small, {}, Indices::contiguous).root()["model"], network));
  tally.add("a struct", [&] { static_cast<void>(save(network, folder.path() / "struct.safetensors")); });
  tally.add("weights", [&] {
    LoadPlan plan;
    for (const SaveItem& item : items) plan.add(item.view, item.dtype);
    static_cast<void>(save(materialize(plan), folder.path() / "weights.safetensors"));
  });
}
