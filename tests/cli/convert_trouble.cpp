// `heft convert` when it is killed, and when the disk is full.
#include <doctest/doctest.h>
#include <sys/mount.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <csignal>
#include <cstring>
#include <filesystem>
#include <string>
#include <thread>

#include "cli_run.hpp"
#include "heft/checkpoint.hpp"
#include "support/fixtures.hpp"
#include "support/safetensors_builder.hpp"
#include "support/temp_folder.hpp"

using heft::test::CliRun;
using heft::test::heft_command;
using heft::test::TempFolder;

namespace {

namespace fs = std::filesystem;
using Clock = std::chrono::steady_clock;
using Microseconds = std::chrono::microseconds;

// A model of two tensors, of `bytes` together.
std::string model(const TempFolder& folder, const std::string& name, std::size_t bytes, std::uint32_t seed) {
  heft::test::SafetensorsBuilder builder;
  const auto half = static_cast<std::int64_t>(bytes / 2);
  builder.add("a", "I8", {half}, heft::test::pattern(bytes / 2, seed))
      .add("b", "I8", {half}, heft::test::pattern(bytes / 2, seed + 1));
  return folder.write(name, builder.build());
}

std::string hashes(const std::string& path) { return heft_command({"hash", path}).out; }

// Runs the conversion in a process of its own, which is killed after `delay`. True when it was killed, false when it
// had finished.
bool killed_after(Microseconds delay, const std::string& source, const std::string& destination) {
  const pid_t child = ::fork();
  REQUIRE(child >= 0);
  if (child == 0) ::_exit(heft_command({"convert", source, destination}).status);
  std::this_thread::sleep_for(delay);
  ::kill(child, SIGKILL);
  int status = 0;
  REQUIRE(::waitpid(child, &status, 0) == child);
  if (!WIFSIGNALED(status)) CHECK(WEXITSTATUS(status) == 0);
  return WIFSIGNALED(status);
}

std::size_t count_of_scratch_files(const fs::path& folder, const std::string& name) {
  std::size_t count = 0;
  for (const auto& entry : fs::directory_iterator(folder))
    count += entry.path().filename().string().starts_with("." + name + ".heft-");
  return count;
}

// A file system of 8 MiB while it lives; is_mounted() is false where that is not allowed.
class SmallDisk {
 public:
  SmallDisk() : mounted_(::mount("tmpfs", folder_.path().c_str(), "tmpfs", MS_NOSUID | MS_NODEV, "size=8m") == 0) {}
  ~SmallDisk() {
    if (mounted_) ::umount2(folder_.path().c_str(), MNT_DETACH);
  }
  SmallDisk(const SmallDisk&) = delete;
  SmallDisk& operator=(const SmallDisk&) = delete;

  [[nodiscard]] bool is_mounted() const noexcept { return mounted_; }
  [[nodiscard]] const fs::path& path() const noexcept { return folder_.path(); }

 private:
  TempFolder folder_;
  bool mounted_;
};

}  // namespace

TEST_CASE("convert: killed at any moment it leaves the old file whole or the new one whole") {
#if defined(__SANITIZE_THREAD__)
  heft::test::skip("a process forked under TSan cannot start threads");
  return;
#endif
  constexpr std::size_t bytes = 48u << 20;
  constexpr int moments = 12;
  const TempFolder sources;
  const std::string old_model = model(sources, "old.safetensors", 4096, 7);
  const std::string new_model = model(sources, "new.safetensors", bytes, 3);
  const std::string old_hashes = hashes(old_model);
  const std::string new_hashes = hashes(new_model);
  for (const std::string name : {"model.safetensors", "model.npz", "model.gguf"}) {
    CAPTURE(name);
    const TempFolder folder;
    const std::string path = (folder.path() / name).string();
    const auto begin = Clock::now();
    REQUIRE(heft_command({"convert", new_model, path}).status == 0);
    const auto whole = std::chrono::duration_cast<Microseconds>(Clock::now() - begin);

    std::size_t killed = 0;
    for (int moment = 0; moment < moments; ++moment) {
      CAPTURE(moment);
      REQUIRE(heft_command({"convert", old_model, path}).status == 0);
      const bool was_killed = killed_after(whole * moment / moments, new_model, path);
      killed += was_killed;
      const std::string found = hashes(path);
      CHECK((found == old_hashes || found == new_hashes));
      if (!was_killed) CHECK(found == new_hashes);
      CHECK(heft_command({"verify", path, "--allow-non-finite"}).status == 0);
    }
    CHECK(killed > 0);  // or nothing was killed in time, and the test has shown nothing
    // What a killed process leaves is one hidden file, which says whose it was.
    CHECK(count_of_scratch_files(folder.path(), name) <= killed);
    CHECK(std::distance(fs::directory_iterator(folder.path()), fs::directory_iterator()) ==
          static_cast<std::ptrdiff_t>(1 + count_of_scratch_files(folder.path(), name)));
  }
}

TEST_CASE("convert: a full disk is one error that says so, and nothing is left on it") {
  const SmallDisk disk;
  if (!disk.is_mounted())
    return heft::test::skip("no small file system can be mounted here: " + std::string(std::strerror(errno)));
  const TempFolder sources;
  const std::string large = model(sources, "large.safetensors", 16u << 20, 1);
  const std::string small = model(sources, "small.safetensors", 1u << 20, 5);
  for (const char* name : {"model.safetensors", "model.npz", "model.gguf"}) {
    CAPTURE(name);
    const std::string path = (disk.path() / name).string();
    const CliRun into_nothing = heft_command({"convert", large, path});
    CAPTURE(into_nothing.err);
    CHECK(into_nothing.status == 2);
    CHECK(into_nothing.out.empty());
    CHECK(into_nothing.err.starts_with("heft: " + path));
    CHECK(into_nothing.err.find("No space left on device") != std::string::npos);
    CHECK(std::ranges::count(into_nothing.err, '\n') == 1);
    CHECK(fs::is_empty(disk.path()));

    // What was there stays.
    REQUIRE(heft_command({"convert", small, path}).status == 0);
    const std::string before = hashes(path);
    CHECK(heft_command({"convert", large, path}).status == 2);
    CHECK(hashes(path) == before);
    CHECK(std::distance(fs::directory_iterator(disk.path()), fs::directory_iterator()) == 1);
    fs::remove(path);
  }
  // Shards: the first fit, the last does not; all of them go.
  const std::string sharded = (disk.path() / "model.safetensors").string();
  CHECK(heft_command({"convert", large, sharded, "--shard-size", "8MB"}).status == 2);
  CHECK(fs::is_empty(disk.path()));
}
