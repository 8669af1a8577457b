// `heft convert` when the disk is full.
#include <doctest/doctest.h>
#include <sys/mount.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <filesystem>
#include <string>

#include "cli_run.hpp"
#include "support/fixtures.hpp"
#include "support/safetensors_builder.hpp"
#include "support/temp_folder.hpp"

using heft::test::CliRun;
using heft::test::heft_command;
using heft::test::TempFolder;

namespace {

namespace fs = std::filesystem;

// A model of two tensors, of `bytes` together.
std::string model(const TempFolder& folder, const std::string& name, std::size_t bytes, std::uint32_t seed) {
  heft::test::SafetensorsBuilder builder;
  const auto half = static_cast<std::int64_t>(bytes / 2);
  builder.add("a", "I8", {half}, heft::test::pattern(bytes / 2, seed))
      .add("b", "I8", {half}, heft::test::pattern(bytes / 2, seed + 1));
  return folder.write(name, builder.build());
}

std::string hashes(const std::string& path) { return heft_command({"hash", path}).out; }

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

TEST_CASE("convert: a full disk is an error that names it, and leaves no file") {
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

    // The file that exists stays.
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
