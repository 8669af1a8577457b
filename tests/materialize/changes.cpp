// Files that change while they are loaded: whatever is done to a file, and whenever, a load is whole or an Error.
#include <doctest/doctest.h>

#include <algorithm>
#include <atomic>
#include <cstdlib>
#include <filesystem>
#include <functional>
#include <optional>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include "heft/checkpoint.hpp"
#include "heft/error.hpp"
#include "heft/materialize.hpp"
#include "heft/save.hpp"
#include "heft/stream.hpp"
#include "materialize/visit.hpp"
#include "support/bystander.hpp"
#include "support/faulty_syscalls.hpp"
#include "support/safetensors_builder.hpp"
#include "support/temp_folder.hpp"
#include "support/zip_builder.hpp"

namespace {

using namespace heft;
using test::Bystander;
using test::Call;
using test::Doing;
using test::FaultPlan;

constexpr IoMethod every_path[] = {IoMethod::automatic, IoMethod::map, IoMethod::direct, IoMethod::read};

// The same header for every seed, other bytes throughout. Payload that begins on a page is read directly.
std::string safetensors(std::uint32_t seed, int large) {
  test::SafetensorsBuilder file;
  file.align(4096);
  for (int i = 0; i < large; ++i)
    file.add("large." + std::to_string(i), "BF16", {512, 1024},
             test::pattern(1u << 20, seed + static_cast<std::uint32_t>(i)));
  for (int i = 0; i < 50; ++i)
    file.add("small." + std::to_string(i), "F16", {11, 37},
             test::pattern(11 * 37 * 2, seed + static_cast<std::uint32_t>(i)));
  return file.build();
}

std::string npy(std::string_view payload) {
  std::string header = "{'descr': '|u1', 'fortran_order': False, 'shape': (" + std::to_string(payload.size()) + ",), }";
  header.resize(117, ' ');
  header += '\n';
  return "\x93NUMPY" + std::string("\x01\x00", 2) + test::little(header.size(), 2) + header + std::string(payload);
}

// Members of one size, so that their records lie at the same places for every seed.
std::string deflated_npz(std::uint32_t seed) {
  test::ZipBuilder zip;
  zip.zip64_end = false;
  for (int i = 0; i < 4; ++i)
    zip.add({.name = "array" + std::to_string(i) + ".npy",
             .content = npy(test::pattern(100'000, seed + static_cast<std::uint32_t>(i))),
             .deflate = true,
             .descriptor = false});
  return zip.build();
}

struct Model {
  std::string file;
  std::string old_bytes;
  std::string new_bytes;
  Access access = Access::map;
};

Model plain(Access access = Access::map) {
  return {"model.safetensors", safetensors(1, 2), safetensors(1001, 2), access};
}
Model packed() { return {"model.npz", deflated_npz(1), deflated_npz(1001)}; }

// Every second tensor is converted, where it can be.
LoadPlan plan_of(const Checkpoint& checkpoint) {
  LoadPlan plan;
  bool convert = false;
  for (const TensorView& view : checkpoint.tensors())
    plan.add(view, (convert = !convert) && view.dtype() != DType::u8 ? DType::f32 : view.dtype());
  return plan;
}

std::size_t digest(const Tensor& tensor) {
  return std::hash<std::string_view>()({reinterpret_cast<const char*>(tensor.bytes().data()), tensor.bytes().size()});
}

using Digests = std::vector<std::pair<std::string, std::size_t>>;

Digests materialized(const Checkpoint& checkpoint, const MaterializeOptions& options) {
  Digests digests;
  for (const Tensor& tensor : materialize(plan_of(checkpoint), options))
    digests.emplace_back(tensor.name(), digest(tensor));
  std::ranges::sort(digests);
  return digests;
}

// A model on disk, fresh for each round, and the digests of its old bytes.
class Scene {
 public:
  explicit Scene(Model model) : model_(std::move(model)) {
    reset();
    old_ = materialized(open(), {});
  }

  void reset() const {
    for (const char* suffix : {"", ".other"}) std::filesystem::remove(path().string() + suffix);
    folder_.write(model_.file, model_.old_bytes);
  }
  [[nodiscard]] std::filesystem::path path() const { return folder_.path() / model_.file; }
  [[nodiscard]] Checkpoint open() const { return heft::open(path(), {.access = model_.access}); }
  [[nodiscard]] const Digests& old() const noexcept { return old_; }
  [[nodiscard]] const Model& model() const noexcept { return model_; }
  [[nodiscard]] Bystander bystander(Doing doing) const { return {doing, path(), model_.new_bytes}; }

 private:
  test::TempFolder folder_;
  Model model_;
  Digests old_;
};

struct Tally {
  unsigned whole = 0;
  unsigned refused = 0;
  unsigned mixed = 0;
  unsigned wrong = 0;
};

// Counts how `use` ended. It returns true when all it gave was old.
void judge(const Scene& scene, Doing doing, const std::function<bool()>& use, Tally& tally) {
  try {
    if (use())
      ++tally.whole;
    else
      ++tally.mixed;
  } catch (const Error& error) {
    ++tally.refused;
    CAPTURE(error.what());
    const bool right =
        error.code() == ErrorCode::changed_on_disk && error.path() == scene.path().string() && !keeps_bytes(doing);
    CHECK(right);
    if (!right) ++tally.wrong;
  }
}

// Calls that `use` makes of an unharmed file.
std::uint64_t calls_of(const std::function<bool()>& use) {
  const FaultPlan none({});
  CHECK(use());
  return none.calls(Call::any);
}

// Does everything that can be done to a file before each of the first calls of `use`, and before some later ones.
void sweep(const Scene& scene, const std::function<bool(const Checkpoint&)>& use) {
  scene.reset();
  const Checkpoint first = scene.open();
  const std::uint64_t calls = calls_of([&] { return use(first); });
  REQUIRE(calls > 1);
  Tally tally;
  for (std::uint8_t doing = 0; doing < static_cast<std::uint8_t>(Doing::count_); ++doing)
    for (std::uint64_t n = 0; n < calls; n += n < 6 || n + 4 > calls ? 1 : std::max<std::uint64_t>(calls / 8, 1)) {
      const auto what = static_cast<Doing>(doing);
      INFO(name(what), " before call ", n, " of ", calls);
      scene.reset();
      Bystander bystander = scene.bystander(what);
      const Checkpoint checkpoint = scene.open();
      const FaultPlan plan({{.call = Call::any, .skip = n, .times = 1, .before = [&] { bystander.act(); }}});
      const unsigned refused = tally.refused;
      judge(scene, what, [&] { return use(checkpoint); }, tally);
      if (n == 0 && !keeps_bytes(what)) CHECK(tally.refused == refused + 1);
    }
  CHECK(tally.mixed == 0);
  CHECK(tally.wrong == 0);
  CHECK(tally.whole > 0);
  CHECK(tally.refused > 0);
}

// True when every tensor that the stream gave is the old one; the Error that ended it, if one did, is thrown then.
bool streams_old(const Checkpoint& checkpoint, const Digests& old, const MaterializeOptions& options) {
  TensorStream all = stream(plan_of(checkpoint), options, {.in_flight_bytes = 2u << 20});
  while (const auto tensor = all.next())
    if (!std::ranges::binary_search(old, std::pair(std::string(tensor->name()), digest(*tensor)))) return false;
  return true;
}

// True when every tensor that was visited is the old one.
bool visits_old(const Checkpoint& checkpoint, const Digests& old, const MaterializeOptions& options) {
  const LoadPlan plan = plan_of(checkpoint);
  engine::Windows windows;
  for (std::uint32_t i = 0; i < plan.size(); ++i) {
    windows.add(i);
    if (i % 3 == 1) windows.close();
  }
  windows.close();
  std::atomic<bool> all_old = true;
  (void)engine::visit(plan, options, windows, [&](const engine::Window& window) {
    for (const Tensor& tensor : window.tensors())
      if (!std::ranges::binary_search(old, std::pair(std::string(tensor.name()), digest(tensor)))) all_old = false;
  });
  return all_old;
}

// True when what was saved is what saving the old model gives. A save that fails leaves no file.
bool saves_old(const Checkpoint& checkpoint, const std::string& expected) {
  const test::TempFolder folder;
  const auto saved = folder.path() / "saved.safetensors";
  try {
    (void)save(checkpoint, saved, {.sync = false});
  } catch (...) {
    CHECK(std::filesystem::is_empty(folder.path()));
    throw;
  }
  return test::content_of(saved) == expected;
}

}  // namespace

TEST_CASE("changes: a file that changes before any call of a load is an Error, or the load is whole, on every path") {
  for (const Access access : {Access::map, Access::read}) {
    const Scene scene(plain(access));
    for (const IoMethod path : every_path) {
      if (access == Access::read && path != IoMethod::automatic) continue;
      INFO("path ", name(path), ", access ", access == Access::map ? "map" : "read");
      sweep(scene,
            [&](const Checkpoint& checkpoint) { return materialized(checkpoint, {.io_method = path}) == scene.old(); });
    }
  }
}

TEST_CASE("changes: records that are inflated are whole or an Error, never corrupt because their file changed") {
  const Scene scene(packed());
  sweep(scene, [&](const Checkpoint& checkpoint) { return materialized(checkpoint, {}) == scene.old(); });
}

TEST_CASE("changes: every tensor that a stream hands out is whole") {
  const Scene scene(plain());
  for (const IoMethod path : {IoMethod::automatic, IoMethod::direct})
    sweep(scene,
          [&](const Checkpoint& checkpoint) { return streams_old(checkpoint, scene.old(), {.io_method = path}); });
}

TEST_CASE("changes: every tensor that is visited is whole") {
  const Scene scene(plain());
  for (const IoMethod path : every_path)
    sweep(scene,
          [&](const Checkpoint& checkpoint) { return visits_old(checkpoint, scene.old(), {.io_method = path}); });
  const Scene inflated(packed());
  sweep(inflated, [&](const Checkpoint& checkpoint) { return visits_old(checkpoint, inflated.old(), {}); });
}

TEST_CASE("changes: a save writes one model, or nothing") {
  const Scene scene(plain());
  const test::TempFolder folder;
  (void)save(scene.open(), folder.path() / "expected.safetensors", {.sync = false});
  const std::string expected = test::content_of(folder.path() / "expected.safetensors");
  sweep(scene, [&](const Checkpoint& checkpoint) { return saves_old(checkpoint, expected); });
}

TEST_CASE("changes: checksums and bytes that are read are of the file as it was opened") {
  const Scene archive(packed());
  sweep(archive, [&](const Checkpoint& checkpoint) { return checkpoint.verify_checksums().empty(); });
  const Scene scene(plain(Access::read));
  sweep(scene, [&](const Checkpoint& checkpoint) {
    const Bytes bytes = checkpoint.tensor("large.1").bytes();
    const std::uint16_t element = checkpoint.tensor("small.7").read<f16>(0, 0).bits;
    const std::string expected = test::pattern(1u << 20, 2);
    return std::ranges::equal(bytes.span(), std::as_bytes(std::span(expected))) &&
           test::little(element, 2) == test::pattern(2, 8);
  });
}

// Calls of open() before the identity is recorded, at most: openat, fstat, whether the time is a fine one, fstat again.
constexpr std::uint64_t before_identity = 5;

// Changed before open() looks at it, the file is the new model; after that it is an Error, or it comes whole.
TEST_CASE("changes: open() gives one model, or an Error") {
  for (const Model& model : {plain(), packed()}) {
    const Scene scene(model);
    std::uint64_t calls = 0;
    {
      const FaultPlan none({});
      (void)scene.open();
      calls = none.calls(Call::any);
    }
    Scene fresh({model.file, model.new_bytes, model.old_bytes});
    for (std::uint8_t doing = 0; doing < static_cast<std::uint8_t>(Doing::count_); ++doing)
      for (std::uint64_t n = 0; n < calls; ++n) {
        const auto what = static_cast<Doing>(doing);
        INFO(model.file, ": ", name(what), " before call ", n, " of ", calls);
        scene.reset();
        Bystander bystander = scene.bystander(what);
        try {
          std::optional<Checkpoint> checkpoint;
          {
            const FaultPlan plan({{.call = Call::any, .skip = n, .times = 1, .before = [&] { bystander.act(); }}});
            checkpoint = scene.open();
          }
          const Digests loaded = materialized(*checkpoint, {});
          CHECK((loaded == scene.old() || (n < before_identity && loaded == fresh.old())));
        } catch (const Error& error) {
          CAPTURE(error.what());
          const bool refused = error.code() == ErrorCode::changed_on_disk && !keeps_bytes(what);
          const bool gone =
              error.code() == ErrorCode::not_found && n == 0 && (what == Doing::remove || what == Doing::rename_away);
          const bool cut = error.code() == ErrorCode::corrupt && n < before_identity &&
                           (what == Doing::truncate || what == Doing::append);
          CHECK((refused || gone || cut));
        }
      }
  }
}

TEST_CASE("changes: shards that are replaced while they are opened are an Error, or the files of the end") {
  const test::TempFolder folder;
  const auto shard = [](char name, std::uint32_t seed) {
    return test::SafetensorsBuilder().add(std::string(1, name), "U8", {64}, test::pattern(64, seed)).build();
  };
  const auto reset = [&] {
    folder.write("model-00001-of-00002.safetensors", shard('a', 1));
    folder.write("model-00002-of-00002.safetensors", shard('b', 2));
    folder.write("model.safetensors.index.json",
                 R"({"weight_map":{"a":"model-00001-of-00002.safetensors","b":"model-00002-of-00002.safetensors"}})");
  };
  reset();
  std::uint64_t calls = 0;
  {
    const FaultPlan none({});
    (void)heft::open(folder.path());
    calls = none.calls(Call::any);
  }
  unsigned refused = 0;
  for (const std::string name : {"model-00001-of-00002.safetensors", "model.safetensors.index.json"})
    for (std::uint64_t n = 0; n < calls; ++n) {
      INFO(name, " before call ", n, " of ", calls);
      reset();
      Bystander bystander(Doing::rename_over, folder.path() / name, test::content_of(folder.path() / name));
      try {
        std::optional<Checkpoint> checkpoint;
        {
          const FaultPlan plan({{.call = Call::any, .skip = n, .times = 1, .before = [&] { bystander.act(); }}});
          checkpoint = heft::open(folder.path());
        }
        // The last look at a file comes with the last calls of open().
        CHECK((checkpoint->freshness() == Freshness::same || n + 8 >= calls));
      } catch (const Error& error) {
        CHECK(error.code() == ErrorCode::changed_on_disk);
        CHECK(error.path() == (folder.path() / name).string());
        ++refused;
      }
    }
  CHECK(refused > 4);
}

// HEFT_CHANGED_LOADS is how many: tests/long.sh asks for 2,000, every second of which changes at a moment of the clock.
TEST_CASE("changes: loads of files that change at any moment are never mixtures") {
  const char* asked = std::getenv("HEFT_CHANGED_LOADS");
  const unsigned loads = asked == nullptr ? 60 : static_cast<unsigned>(std::strtoul(asked, nullptr, 10));
  const Scene scenes[] = {Scene({"model.safetensors", safetensors(1, 8), safetensors(1001, 8)}), Scene(packed())};
  std::mt19937 random(7);
  Tally tally;
  for (unsigned load = 0; load < loads; ++load) {
    const Scene& scene = scenes[random() % 5 == 0 ? 1 : 0];
    const auto doing = static_cast<Doing>(random() % static_cast<unsigned>(Doing::count_));
    const MaterializeOptions options{.threads = static_cast<unsigned>(random() % 4),
                                     .io_method = every_path[random() % 4]};
    const auto pause = std::chrono::microseconds(random() % 6000);
    const bool by_clock = asked != nullptr && load % 2 == 1;
    const std::uint64_t call = random() % 60;
    const bool streamed = random() % 4 == 0;
    INFO("load ", load, ": ", name(doing), ", path ", name(options.io_method), ", threads ", options.threads,
         ", streamed ", streamed);
    scene.reset();
    Bystander bystander = scene.bystander(doing);
    const Checkpoint checkpoint = scene.open();
    std::jthread other;
    if (by_clock)
      other = std::jthread([&] {
        std::this_thread::sleep_for(pause);
        bystander.act();
      });
    const FaultPlan plan(
        {{.call = Call::any, .skip = call, .times = by_clock ? 0u : 1u, .before = [&] { bystander.act(); }}});
    const auto use = [&] {
      return streamed ? streams_old(checkpoint, scene.old(), options)
                      : materialized(checkpoint, options) == scene.old();
    };
    judge(scene, doing, use, tally);
    if (other.joinable()) other.join();
  }
  MESSAGE(loads << " loads of files that changed: " << tally.whole << " whole, " << tally.refused
                << " changed_on_disk, " << tally.mixed << " mixtures, " << tally.wrong << " wrong Errors");
  CHECK(tally.mixed == 0);
  CHECK(tally.wrong == 0);
}
