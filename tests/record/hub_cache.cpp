// The cache of huggingface_hub.
#include <filesystem>
#include <string>

#include "record/model_folder.hpp"

using namespace heft;
using test::check_words;
using test::error_of;
using test::has_note;
using test::model_of;
using test::TempFolder;

namespace {

namespace fs = std::filesystem;

// A snapshot whose model is a symlink into blobs, as the hub's library makes it.
void add_snapshot(const TempFolder& cache, const std::string& commit, const std::string& tensor) {
  cache.write("models--acme--tiny/blobs/" + commit, model_of({tensor}));
  const fs::path snapshot = cache.path() / "models--acme--tiny/snapshots" / commit;
  fs::create_directories(snapshot);
  fs::create_symlink("../../blobs/" + commit, snapshot / "model.safetensors");
}

std::string first_name(const Checkpoint& checkpoint) { return test::name_of(checkpoint.tensors()[0]); }

}  // namespace

TEST_CASE("hub cache: opens the snapshot of refs/main for a model's folder") {
  const TempFolder cache;
  add_snapshot(cache, "aaaa", "old");
  add_snapshot(cache, "bbbb", "new");
  cache.write("models--acme--tiny/refs/main", "bbbb");
  const Checkpoint checkpoint = open(cache.path() / "models--acme--tiny");
  CHECK(first_name(checkpoint) == "new");
  CHECK(has_note(checkpoint, {"of 2 snapshots", "bbbb"}));
  cache.write("models--acme--tiny/refs/main", "aaaa\n");
  CHECK(first_name(open(cache.path() / "models--acme--tiny")) == "old");
}

TEST_CASE("hub cache: without refs/main opens the only snapshot, and refuses several") {
  const TempFolder cache;
  add_snapshot(cache, "aaaa", "a");
  const fs::path model = cache.path() / "models--acme--tiny";
  CHECK(first_name(open(model)) == "a");
  CHECK(test::count_of_notes(open(model)) == 0);
  add_snapshot(cache, "bbbb", "b");
  const Error error = error_of(model);
  CHECK(error.code() == ErrorCode::ambiguous);
  check_words(error.what(), {"2 snapshots", "aaaa", "bbbb"});
}

TEST_CASE("hub cache: refs/main that leads nowhere, or out of the folder, is an error") {
  const TempFolder cache;
  add_snapshot(cache, "aaaa", "a");
  const fs::path model = cache.path() / "models--acme--tiny";
  cache.write("models--acme--tiny/refs/main", "cccc");
  CHECK(error_of(model).code() == ErrorCode::not_found);
  check_words(error_of(model).what(), {"cccc", "not there", "aaaa"});
  for (const std::string commit : {"../../elsewhere", "/etc", "..", ""}) {
    cache.write("models--acme--tiny/refs/main", commit);
    CHECK(error_of(model).code() == ErrorCode::refused);
  }
  fs::remove_all(model / "snapshots" / "aaaa");
  CHECK(error_of(model).code() == ErrorCode::not_found);
}

TEST_CASE("hub cache: a snapshot that was copied without symlinks holds their text, and is followed with a note") {
  const TempFolder cache;
  cache.write("models--acme--tiny/blobs/0123", model_of({"w"}));
  cache.write("models--acme--tiny/snapshots/aaaa/model.safetensors", "../../blobs/0123");
  const fs::path snapshot = cache.path() / "models--acme--tiny/snapshots/aaaa";
  for (const fs::path& path : {cache.path() / "models--acme--tiny", snapshot, snapshot / "model.safetensors"}) {
    const Checkpoint checkpoint = open(path);
    CHECK(first_name(checkpoint) == "w");
    CHECK(has_note(checkpoint, {"text of a symlink", "../../blobs/0123"}));
    CHECK(error_of(path, {.follow_symlinks = false}).code() == ErrorCode::refused);
  }
  cache.write("models--acme--tiny/snapshots/aaaa/model.safetensors", "../../blobs/4567");
  check_words(error_of(snapshot).what(), {"model.safetensors", "not there", "interrupted"});
  cache.write("models--acme--tiny/snapshots/aaaa/model.safetensors", "../../blobs/../../../../etc/passwd");
  CHECK(error_of(snapshot).code() == ErrorCode::refused);
  cache.write("elsewhere/model.safetensors", "../../blobs/0123");
  CHECK(error_of(cache.path() / "elsewhere").code() == ErrorCode::unrecognized);
}

TEST_CASE("hub cache: looks up a name of the hub if no such path exists") {
  const TempFolder cache;
  add_snapshot(cache, "aaaa", "a");
  const Checkpoint checkpoint = open("acme/tiny", {.hub_cache = cache.path()});
  CHECK(first_name(checkpoint) == "a");
  CHECK(checkpoint.path() == "acme/tiny");
  CHECK(has_note(checkpoint, {"acme/tiny", "cache"}));
  const Error unknown = error_of("acme/other", {.hub_cache = cache.path()});
  CHECK(unknown.code() == ErrorCode::not_found);
  check_words(unknown.what(), {"acme/other", "cache", cache.path().string()});
  CHECK(error_of("acme/tiny").code() == ErrorCode::not_found);
  for (const std::string path : {"../tiny", "acme/../tiny", "/acme/tiny", "acme/ti/ny", "acme--tiny/x"}) {
    CAPTURE(path);
    CHECK(error_of(path, {.hub_cache = cache.path()}).code() == ErrorCode::not_found);
  }
}

TEST_CASE("hub cache: the folder above lists its models") {
  const TempFolder cache;
  add_snapshot(cache, "aaaa", "a");
  const Error error = error_of(cache.path());
  CHECK(error.code() == ErrorCode::not_found);
  check_words(error.what(), {"cache of one model; open it", "models--acme--tiny"});
}
