// Commands on files that change under them, before every system call: the result is of one model, or there is none.
#include <doctest/doctest.h>

#include <filesystem>
#include <functional>
#include <string>

#include "cli_run.hpp"
#include "heft/checkpoint.hpp"
#include "support/bystander.hpp"
#include "support/faulty_syscalls.hpp"
#include "support/safetensors_builder.hpp"
#include "support/temp_folder.hpp"

namespace {

using heft::test::Bystander;
using heft::test::Call;
using heft::test::CliRun;
using heft::test::Doing;
using heft::test::FaultPlan;
namespace test = heft::test;
namespace fs = std::filesystem;

// Calls of open() before the identity is recorded, at most.
constexpr std::uint64_t before_identity = 5;

// f16 without NaN or infinity, so that verify finds it sound.
std::string model(std::uint32_t seed) {
  test::SafetensorsBuilder file;
  for (int i = 0; i < 4; ++i) {
    std::string payload = test::pattern(40'000, seed + static_cast<std::uint32_t>(i));
    for (std::size_t high = 1; high < payload.size(); high += 2)
      payload[high] = static_cast<char>(payload[high] & 0x3f);
    file.add("t" + std::to_string(i), "F16", {100, 200}, payload);
  }
  return file.build();
}

struct Scene {
  test::TempFolder folder;
  fs::path path = folder.path() / "model.safetensors";
  test::TempFolder untouched;
  fs::path other = untouched.write("other.safetensors", model(2001));

  void reset(std::uint32_t seed) const {
    for (const auto& entry : fs::directory_iterator(folder.path())) fs::remove(entry.path());
    folder.write("model.safetensors", model(seed));
  }
};

// Runs a command. Returns its output, and what it wrote.
using Command = std::function<std::pair<CliRun, std::string>(const Scene&)>;

// `status` is that of an undisturbed run. Before call number `before` the file is not open yet, or its identity not
// recorded.
void sweep(const Command& command, int status = heft::cli::ok, std::uint64_t before = before_identity) {
  const Scene scene;
  scene.reset(1001);
  const auto [of_new, new_result] = command(scene);
  scene.reset(1);
  std::uint64_t calls = 0;
  std::string old_result;
  {
    const FaultPlan none({});
    const auto [of_old, result] = command(scene);
    REQUIRE(of_old.status == status);
    CHECK(of_old.err.find("note: ") == std::string::npos);
    old_result = result;
    calls = none.calls(Call::any);
  }
  REQUIRE(of_new.status == status);
  REQUIRE(calls > before);
  unsigned refused = 0;
  unsigned noted = 0;
  for (std::uint8_t doing = 0; doing < static_cast<std::uint8_t>(Doing::count_); ++doing)
    for (std::uint64_t n = 0; n < calls; ++n) {
      const auto what = static_cast<Doing>(doing);
      scene.reset(1);
      Bystander bystander(what, scene.path, model(1001));
      const FaultPlan plan({{.call = Call::any, .skip = n, .times = 1, .before = [&] { bystander.act(); }}});
      const auto [run, result] = command(scene);
      INFO(name(what), " before call ", n, " of ", calls, ": status ", run.status, ", ", run.err);
      if (run.err.find("heft: ") == std::string::npos) {
        CHECK(run.status == status);
        CHECK((result == old_result || (n < before && result == new_result)));
        noted += run.err.find("note: ") != std::string::npos;
      } else if (n >= before) {
        CHECK_FALSE(keeps_bytes(what));
        CHECK(run.err.find(" as when it was ") != std::string::npos);
        ++refused;
      }
    }
  CHECK(refused > 0);
  CHECK(noted > 0);
}

std::uint64_t calls_of_opening(const std::string& content) {
  const test::TempFolder folder;
  const fs::path path = folder.write("model.safetensors", content);
  const FaultPlan none({});
  static_cast<void>(heft::open(path));
  return none.calls(Call::any);
}

}  // namespace

TEST_CASE("changes: hash prints the digests of one model or none, with a note about a replaced file") {
  sweep([](const Scene& scene) {
    CliRun run = test::heft_command({"hash", scene.path.string()});
    std::string out = run.out;
    return std::pair(std::move(run), std::move(out));
  });
}

TEST_CASE("changes: convert writes one model or none, with a note about a replaced file") {
  sweep([](const Scene& scene) {
    const fs::path to = scene.folder.path() / "converted.npz";
    CliRun run = test::heft_command({"convert", scene.path.string(), to.string()});
    CHECK(fs::exists(to) == (run.status == heft::cli::ok));
    std::string written = fs::exists(to) ? test::content_of(to) : std::string();
    fs::remove(to);
    return std::pair(std::move(run), std::move(written));
  });
}

TEST_CASE("changes: diff compares one model or none, whichever side it is on, and notes what was replaced") {
  for (const bool changes_first : {true, false}) {
    CAPTURE(changes_first);
    sweep(
        [&](const Scene& scene) {
          const std::string changing = scene.path.string();
          const std::string other = scene.other.string();
          CliRun run = changes_first ? test::heft_command({"diff", changing, other})
                                     : test::heft_command({"diff", other, changing});
          std::string out = run.out;
          return std::pair(std::move(run), std::move(out));
        },
        heft::cli::differences, before_identity + (changes_first ? 0 : calls_of_opening(model(2001))));
  }
}

TEST_CASE("changes: load ends in an Error, or is of one model") {
  sweep([](const Scene& scene) { return std::pair(test::heft_command({"load", scene.path.string()}), std::string()); });
}

TEST_CASE("changes: verify reports damage, or the result of one model") {
  sweep([](const Scene& scene) {
    CliRun run = test::heft_command({"verify", scene.path.string()});
    std::string out = run.out;
    return std::pair(std::move(run), std::move(out));
  });
}
