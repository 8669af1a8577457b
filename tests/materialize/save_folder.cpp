// Effects of a save on the other files of its folder: the index of the checkpoint that it replaces, and limits of the
// process.
#include <doctest/doctest.h>
#include <sys/resource.h>

#include <algorithm>
#include <cerrno>
#include <filesystem>
#include <string>
#include <vector>

#include "heft/save.hpp"
#include "materialize/save_support.hpp"
#include "support/temp_folder.hpp"
#include "support/thrown.hpp"

using namespace heft;
using test::check_equal;
using test::names_in;
using test::numbered;

namespace {

namespace fs = std::filesystem;

std::vector<SaveItem> two_tensors() { return {SaveItem(numbered("a", Shape{4})), SaveItem(numbered("b", Shape{4}))}; }

// A limit of this process, lowered while this lives.
class LowLimit {
 public:
  LowLimit(int resource, ::rlim_t value) : resource_(resource) {
    REQUIRE(::getrlimit(resource_, &before_) == 0);
    const ::rlimit low{.rlim_cur = value, .rlim_max = before_.rlim_max};
    REQUIRE(::setrlimit(resource_, &low) == 0);
  }
  ~LowLimit() { ::setrlimit(resource_, &before_); }
  LowLimit(const LowLimit&) = delete;
  LowLimit& operator=(const LowLimit&) = delete;

 private:
  int resource_;
  ::rlimit before_{};
};

}  // namespace

TEST_CASE("save: a single file takes the place of an index and the shards that only it named") {
  const test::TempFolder folder;
  const fs::path path = folder.path() / "model.safetensors";
  static_cast<void>(save(two_tensors(), path, {.shard_bytes = 16}));
  folder.write("model-notes.safetensors", std::string_view("not named by the index"));
  const Checkpoint old = open(folder.path());
  const std::vector<SaveItem> items = {SaveItem(old.tensor("b"))};
  const SaveReport report = save(items, path);
  CHECK(names_in(folder.path()) == std::vector<std::string>{"model-notes.safetensors", "model.safetensors"});
  CHECK(report.removed.size() == 3);
  CHECK(report.removed[0].ends_with("model.safetensors.index.json"));
  check_equal(open(path), items);
  check_equal(old, two_tensors());
}

TEST_CASE("save: shards that another index names stay, and so does the file just written") {
  for (const std::uint64_t shard_bytes : {0, 16}) {
    CAPTURE(shard_bytes);
    const test::TempFolder folder;
    const fs::path path = folder.path() / "model.safetensors";
    static_cast<void>(save(two_tensors(), path, {.shard_bytes = 16}));
    const std::string shard = "model-00001-of-00002.safetensors";
    folder.write("other.safetensors.index.json", R"({"weight_map": {"a": ")" + shard + R"("}})");
    const SaveReport report = save(two_tensors(), path, {.shard_bytes = shard_bytes});
    CHECK(fs::exists(folder.path() / shard));
    CHECK_FALSE(fs::exists(folder.path() / "model-00002-of-00002.safetensors"));
    CHECK(fs::exists(folder.path() / "other.safetensors.index.json"));
    check_equal(open(shard_bytes == 0 ? path : fs::path(path.string() + ".index.json")), two_tensors());
  }
}

TEST_CASE("save: an index that names the file itself is removed, the file stays") {
  const test::TempFolder folder;
  const fs::path path = folder.path() / "model.safetensors";
  static_cast<void>(save(two_tensors(), path));
  folder.write("model.safetensors.index.json", std::string_view(R"({"weight_map": {"a": "model.safetensors"}})"));
  static_cast<void>(save(two_tensors(), path));
  CHECK(names_in(folder.path()) == std::vector<std::string>{"model.safetensors"});
  check_equal(open(path), two_tensors());
}

TEST_CASE("save: an index that cannot be read is removed alone, for its shards are not known") {
  const test::TempFolder folder;
  const fs::path path = folder.path() / "model.safetensors";
  folder.write("model.safetensors.index.json", std::string_view("{ half an ind"));
  folder.write("model-00001-of-00002.safetensors", std::string_view("anything"));
  const SaveReport report = save(two_tensors(), path);
  CHECK(report.removed == std::vector<std::string>{path.string() + ".index.json"});
  CHECK(names_in(folder.path()) == std::vector<std::string>{"model-00001-of-00002.safetensors", "model.safetensors"});
}

TEST_CASE("save: files of killed saves of the same name are removed, others stay") {
  const test::TempFolder folder;
  folder.write(".model.safetensors.heft-0123456789abcdef", std::string_view("dead"));
  folder.write(".model-00001-of-00009.safetensors.heft-0123456789abcdef", std::string_view("dead"));
  folder.write(".tokenizer.json.heft-0123456789abcdef", std::string_view("of another name"));
  static_cast<void>(save(two_tensors(), folder.path() / "model.safetensors"));
  CHECK(names_in(folder.path()) ==
        std::vector<std::string>{".tokenizer.json.heft-0123456789abcdef", "model.safetensors"});
}

TEST_CASE("save: a file larger than RLIMIT_FSIZE is an Error before anything is written, and no signal") {
  for (const char* name : {"model.safetensors", "model.npz", "model.gguf"})
    for (const std::uint64_t shard_bytes : {0, 8000}) {
      if (shard_bytes != 0 && std::string_view(name) != "model.safetensors") continue;
      CAPTURE(name);
      const test::TempFolder folder;
      // Shards: the first fits.
      const std::vector<SaveItem> items = {SaveItem(numbered("a", Shape{4})), SaveItem(numbered("big", Shape{3000}))};
      const LowLimit limit(RLIMIT_FSIZE, 10'000);
      bool progressed = false;
      SaveOptions options;
      options.shard_bytes = shard_bytes;
      options.progress = [&](const Progress&) { progressed = true; };
      const Error error = test::thrown_by([&] { return save(items, folder.path() / name, options); });
      CHECK(error.code() == ErrorCode::io);
      CHECK(error.os_error() == EFBIG);
      CHECK(error.path() == (folder.path() / name).string());
      CHECK(error.message().find("RLIMIT_FSIZE is 10000") != std::string::npos);
      CHECK_FALSE(progressed);
      CHECK(names_in(folder.path()).empty());
    }
}

TEST_CASE("save: more shards than descriptors are written") {
  const test::TempFolder folder;
  std::vector<SaveItem> items;
  for (int i = 0; i < 200; ++i) items.emplace_back(numbered("t" + std::to_string(1000 + i), Shape{4}));
  {
    const LowLimit limit(RLIMIT_NOFILE, 100);
    static_cast<void>(save(items, folder.path() / "model.safetensors", {.shard_bytes = 16}));
  }
  CHECK(names_in(folder.path()).size() == 201);
  check_equal(open(folder.path()), items);
}

TEST_CASE("save: shards written before a failure are removed, however many have their names already") {
  const test::TempFolder folder;
  std::vector<SaveItem> items;
  for (int i = 0; i < 100; ++i) items.emplace_back(numbered("t" + std::to_string(1000 + i), Shape{4}));
  SaveOptions options{.shard_bytes = 16};
  std::size_t named = 0;
  options.progress = [&](const Progress& progress) {
    named = std::max(named, names_in(folder.path()).size());
    if (progress.bytes_done > 90 * 16) throw std::runtime_error("enough");
  };
  CHECK_THROWS_WITH(static_cast<void>(save(items, folder.path() / "model.safetensors", options)), "enough");
  CHECK(named > 10);
  CHECK(names_in(folder.path()).empty());
}
