// Checkpoint::freshness(): what lies at the paths now, beside what was opened.
#include <doctest/doctest.h>
#include <fcntl.h>
#include <sys/stat.h>

#include <cerrno>
#include <chrono>
#include <filesystem>
#include <string>
#include <utility>
#include <vector>

#include "heft/checkpoint.hpp"
#include "heft/error.hpp"
#include "heft/remap.hpp"
#include "support/safetensors_builder.hpp"
#include "support/temp_folder.hpp"
#include "support/thrown.hpp"

using namespace heft;
using test::TempFolder;
using test::thrown_by;
namespace fs = std::filesystem;

namespace {

std::string shard(const std::string& name, char fill) {
  return test::SafetensorsBuilder().add(name, "U8", {4}, std::string(4, fill)).build();
}

// Two shards and their index; returns the folder.
fs::path write_model(const TempFolder& folder, const std::string& name, char fill) {
  folder.write(name + "/model-00001-of-00002.safetensors", shard("a", fill));
  folder.write(name + "/model-00002-of-00002.safetensors", shard("b", fill));
  folder.write(name + "/model.safetensors.index.json",
               R"({"weight_map":{"a":"model-00001-of-00002.safetensors","b":"model-00002-of-00002.safetensors"}})");
  return folder.path() / name;
}

void move_over(const TempFolder& folder, const fs::path& path, std::string_view content) {
  fs::rename(folder.write("moved", content), path);
}

}  // namespace

TEST_CASE("freshness: a file that was written, truncated, or has its old time restored is modified") {
  const TempFolder folder;
  const fs::path path = folder.write("m.safetensors", shard("a", 'x'));
  const Checkpoint checkpoint = open(path);
  CHECK(checkpoint.freshness() == Freshness::same);
  SUBCASE("written to") { folder.write("m.safetensors", shard("a", 'y')); }
  SUBCASE("longer") { folder.write("m.safetensors", shard("a", 'x') + "x"); }
  SUBCASE("cut") { fs::resize_file(path, 10); }
  SUBCASE("written to, and its time set back") {
    const auto time = fs::last_write_time(path);
    folder.write("m.safetensors", shard("a", 'y'));
    fs::last_write_time(path, time);
  }
  CHECK(checkpoint.freshness() == Freshness::modified);
  CHECK(Checkpoint(checkpoint).freshness() == Freshness::modified);
}

TEST_CASE("freshness: another file at the path is a replacement, and the opened one stays readable") {
  const TempFolder folder;
  const fs::path path = folder.write("m.safetensors", shard("a", 'x'));
  const Checkpoint checkpoint = open(path);
  move_over(folder, path, shard("a", 'x'));
  CHECK(checkpoint.freshness() == Freshness::replaced);
  CHECK(checkpoint.tensor("a").as<std::uint8_t>()[0] == 'x');
}

TEST_CASE("freshness: a new link or mode is not a change") {
  const TempFolder folder;
  const fs::path path = folder.write("m.safetensors", shard("a", 'x'));
  const Checkpoint checkpoint = open(path);
  fs::create_hard_link(path, folder.path() / "other");
  CHECK(checkpoint.freshness() == Freshness::same);
  REQUIRE(::chmod(path.c_str(), 0600) == 0);
  CHECK(checkpoint.freshness() == Freshness::same);
}

TEST_CASE("freshness: a removed file or broken symlink is gone") {
  const TempFolder folder;
  const fs::path path = folder.write("m.safetensors", shard("a", 'x'));
  const fs::path link = folder.path() / "link.safetensors";
  fs::create_symlink("m.safetensors", link);
  const Checkpoint checkpoint = open(link);
  CHECK(checkpoint.freshness() == Freshness::same);
  SUBCASE("the link") { fs::remove(link); }
  SUBCASE("what it leads to") { fs::remove(path); }
  CHECK(checkpoint.freshness() == Freshness::gone);
  CHECK(checkpoint.tensor("a").as<std::uint8_t>()[0] == 'x');
}

TEST_CASE("freshness: a symlink with a new target is a replacement") {
  const TempFolder folder;
  write_model(folder, "one", 'x');
  write_model(folder, "two", 'x');
  fs::create_directory_symlink("one", folder.path() / "current");
  const Checkpoint checkpoint = open(folder.path() / "current");
  CHECK(checkpoint.freshness() == Freshness::same);
  fs::remove(folder.path() / "current");
  fs::create_directory_symlink("two", folder.path() / "current");
  CHECK(checkpoint.freshness() == Freshness::replaced);
}

TEST_CASE("freshness: reports the worst of several files, index and folder included") {
  const TempFolder folder;
  const fs::path model = write_model(folder, "model", 'x');
  const Checkpoint checkpoints[] = {open(model), open(model / "model.safetensors.index.json"),
                                    remap(open(model), Remapping().add("a", "c"))};
  const auto is = [&](Freshness expected) {
    for (const Checkpoint& checkpoint : checkpoints) CHECK(checkpoint.freshness() == expected);
  };
  is(Freshness::same);
  folder.write("model/README.md", "not a part of it");
  is(Freshness::same);
  SUBCASE("the index") {
    folder.write("model/model.safetensors.index.json", "{}");
    is(Freshness::modified);
  }
  SUBCASE("shards") {
    folder.write("model/model-00002-of-00002.safetensors", shard("b", 'y'));
    is(Freshness::modified);
    move_over(folder, model / "model-00001-of-00002.safetensors", shard("a", 'y'));
    is(Freshness::replaced);
    fs::remove(model / "model-00002-of-00002.safetensors");
    is(Freshness::gone);
  }
  SUBCASE("the folder") {
    fs::rename(model, folder.path() / "aside");
    is(Freshness::gone);
    write_model(folder, "model", 'x');
    is(Freshness::replaced);
  }
}

TEST_CASE("freshness: a path that the system cannot examine is an Error") {
  const TempFolder folder;
  const fs::path path = folder.write("m.safetensors", shard("a", 'x'));
  const Checkpoint checkpoint = open(path);
  fs::remove(path);
  fs::create_symlink("m.safetensors", path);
  const Error error = thrown_by([&] { return checkpoint.freshness(); });
  CHECK(error.code() == ErrorCode::io);
  CHECK(error.os_error() == ELOOP);
  CHECK(error.path() == path.string());
}

TEST_CASE("freshness: each value has a name") {
  CHECK(name(Freshness::same) == "same");
  CHECK(name(Freshness::modified) == "modified");
  CHECK(name(Freshness::replaced) == "replaced");
  CHECK(name(Freshness::gone) == "gone");
}
