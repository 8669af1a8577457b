// open() of storages, of sources and of bytes: what the caller keeps behind the public interfaces opens as a folder on
// disk does.
#include "heft/storage.hpp"

#include <doctest/doctest.h>
#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cstddef>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "heft/checkpoint.hpp"
#include "heft/error.hpp"
#include "support/fixtures.hpp"
#include "support/safetensors_builder.hpp"
#include "support/sources.hpp"
#include "support/temp_folder.hpp"
#include "support/thrown.hpp"
#include "support/torch_builder.hpp"

using namespace heft;
using test::MapStorage;
using test::TempFolder;
using test::TextSource;
using test::thrown_by;
namespace fs = std::filesystem;

namespace {

constexpr const char* index_name = "model.safetensors.index.json";
constexpr const char* first_name = "model-00001-of-00002.safetensors";
constexpr const char* second_name = "model-00002-of-00002.safetensors";

std::string shard(const std::string& name, char fill) {
  return test::SafetensorsBuilder().add(name, "U8", {4}, std::string(4, fill)).build();
}

std::string index_text() {
  return std::string(R"({"weight_map":{"a":")") + first_name + R"(","b":")" + second_name + R"("}})";
}

// Two shards and their index.
std::shared_ptr<MapStorage> sharded_model() {
  auto storage = std::make_shared<MapStorage>();
  storage->add(first_name, shard("a", 'x'));
  storage->add(second_name, shard("b", 'y'));
  storage->add(index_name, index_text());
  return storage;
}

Bytes bytes_of(const std::string& text) { return Bytes::copy_of(std::as_bytes(std::span(text))); }

std::string text_of(const TensorView& view) {
  const Bytes bytes = view.bytes();
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size_bytes()};
}

// Checks that both have the same tensors in the same order: names, dtypes, shapes, bytes.
void check_same(const Checkpoint& found, const Checkpoint& expected) {
  REQUIRE(found.tensors().size() == expected.tensors().size());
  for (std::size_t number = 0; number < expected.tensors().size(); ++number) {
    const TensorView a = found.tensors()[number];
    const TensorView b = expected.tensors()[number];
    CAPTURE(b.name());
    CHECK(a.name() == b.name());
    CHECK(a.dtype_name() == b.dtype_name());
    CHECK(a.shape() == b.shape());
    CHECK(a.has_data() == b.has_data());
    if (!b.has_data() || b.size_bytes() == 0 || !b.is_contiguous()) continue;
    const Bytes left = a.bytes();
    const Bytes right = b.bytes();
    CHECK(std::ranges::equal(left.span(), right.span()));
  }
}

}  // namespace

TEST_CASE("storage: a sharded model in a map is opened by its index, as a folder, and by '.'") {
  const auto storage = sharded_model();
  for (const char* name : {index_name, "", "."}) {
    CAPTURE(name);
    const Checkpoint checkpoint = open(storage, name);
    CHECK(checkpoint.shards().size() == 2);
    CHECK(text_of(checkpoint.tensor("a")) == "xxxx");
    CHECK(text_of(checkpoint.tensor("b")) == "yyyy");
    CHECK(checkpoint.notes().empty());
    CHECK(checkpoint.shards()[1].path == std::string("map/") + second_name);
  }
  CHECK(open(storage, index_name).path() == std::string("map/") + index_name);
  CHECK(open(storage, "").path() == "map");
}

TEST_CASE("storage: the checkpoint keeps the storage, and its views keep their sources") {
  auto storage = sharded_model();
  const std::weak_ptr<const MapStorage> watched = storage;
  const std::weak_ptr<const TextSource> source = storage->files[first_name];
  TensorView view = [&] {
    const Checkpoint checkpoint = open(std::move(storage), "");
    CHECK_FALSE(watched.expired());
    CHECK(checkpoint.freshness() == Freshness::same);
    return checkpoint.tensor("a");
  }();
  CHECK_FALSE(source.expired());
  CHECK(text_of(view) == "xxxx");
  view = TensorView();
  CHECK(source.expired());
  CHECK(watched.expired());
}

TEST_CASE("storage: a storage that does not list its files opens those that are named") {
  const auto storage = sharded_model();
  storage->lists = false;
  const Checkpoint checkpoint = open(storage, index_name);
  CHECK(text_of(checkpoint.tensor("b")) == "yyyy");
  REQUIRE(checkpoint.notes().size() == 1);
  CHECK(checkpoint.notes()[0].find("cannot be listed") != std::string::npos);
  const Error error = thrown_by([&] { return open(storage, ""); });
  CHECK(error.code() == ErrorCode::unsupported);
  CHECK(error.path() == "map");
}

TEST_CASE("storage: a missing shard is counted, whether files are listed or not") {
  const auto storage = sharded_model();
  storage->files.erase(second_name);
  SUBCASE("listed") {}
  SUBCASE("not listed") { storage->lists = false; }
  const Error error = thrown_by([&] { return open(storage, index_name); });
  CHECK(error.code() == ErrorCode::not_found);
  CHECK(error.message().find("1 of the 2 shards") != std::string::npos);
}

TEST_CASE("storage: names that are not plain never reach it") {
  const auto storage = sharded_model();
  for (const char* name : {"..", "a/b", "a\\b", "a\nb"}) {
    CAPTURE(name);
    CHECK(thrown_by([&] { return open(storage, name); }).code() == ErrorCode::refused);
  }
  storage->add("leaves.safetensors.index.json", R"({"weight_map":{"a":"../a.safetensors"}})");
  CHECK(thrown_by([&] { return open(storage, "leaves.safetensors.index.json"); }).code() == ErrorCode::refused);
  CHECK(storage->opened == std::vector<std::string>{"leaves.safetensors.index.json"});
}

TEST_CASE("storage: a folder inside is opened by its name") {
  auto storage = std::make_shared<MapStorage>();
  storage->folders["llama"] = sharded_model();
  CHECK(text_of(open(storage, "llama").tensor("a")) == "xxxx");
  CHECK(thrown_by([&] { return open(storage, "bert"); }).code() == ErrorCode::not_found);
}

TEST_CASE("storage: a folder of numbered parts, and one with several candidates, are as on disk") {
  auto storage = sharded_model();
  storage->files.erase(index_name);
  CHECK(open(storage, "").tensors().size() == 2);
  storage->add("other.safetensors", shard("c", 'z'));
  const Error error = thrown_by([&] { return open(storage, ""); });
  CHECK(error.code() == ErrorCode::ambiguous);
  CHECK(error.path() == "map");
}

TEST_CASE("storage: an empty storage, and one without weights, are not_found") {
  auto storage = std::make_shared<MapStorage>();
  CHECK(thrown_by([&] { return open(storage, ""); }).code() == ErrorCode::not_found);
  storage->add("readme.txt", "hello");
  const Error error = thrown_by([&] { return open(storage, ""); });
  CHECK(error.code() == ErrorCode::not_found);
  CHECK(error.message().find("readme.txt") != std::string::npos);
}

TEST_CASE("storage: null is out_of_range, and errors of the storage pass through") {
  CHECK(thrown_by([] { return open(std::shared_ptr<const Storage>(), "a"); }).code() == ErrorCode::out_of_range);
  struct Failing : MapStorage {
    [[nodiscard]] std::vector<std::string> list() const override { throw Error(ErrorCode::io, "the bucket is locked"); }
  };
  const Error error = thrown_by([] { return open(std::make_shared<Failing>(), ""); });
  CHECK(error.code() == ErrorCode::io);
  CHECK(error.message() == "the bucket is locked");
  CHECK(error.path() == "map");
}

TEST_CASE("storage: a parse error names the source's path") {
  auto storage = std::make_shared<MapStorage>();
  storage->add("m.safetensors", test::safetensors_file(R"({"a":{"dtype":"U8","shape":[4],"data_offsets":[0,5]}})"));
  const Error error = thrown_by([&] { return open(storage, "m.safetensors"); });
  CHECK(error.code() == ErrorCode::corrupt);
  CHECK(error.path() == "map/m.safetensors");
}

TEST_CASE("storage: freshness() compares identity_now() with what was opened") {
  const auto storage = sharded_model();
  const Checkpoint checkpoint = open(storage, "");
  CHECK(checkpoint.freshness() == Freshness::same);
  SUBCASE("another version") {
    std::const_pointer_cast<TextSource>(storage->files[second_name])->set_version_now("2");
    CHECK(checkpoint.freshness() == Freshness::modified);
  }
  SUBCASE("another object") {
    auto other = std::make_shared<TextSource>("map/other", shard("b", 'z'));
    storage->files[second_name] = other;
    CHECK(checkpoint.freshness() == Freshness::replaced);
  }
  SUBCASE("gone") {
    storage->files.erase(index_name);
    CHECK(checkpoint.freshness() == Freshness::gone);
  }
}

TEST_CASE("storage: sources without an identity are never compared") {
  const auto storage = sharded_model();
  for (const auto& [name, file] : storage->files) std::const_pointer_cast<TextSource>(file)->set_identity({});
  for (const auto& [name, file] : storage->files) std::const_pointer_cast<TextSource>(file)->set_version_now("");
  const Checkpoint checkpoint = open(storage, "");
  storage->files.clear();
  CHECK(checkpoint.freshness() == Freshness::same);
}

TEST_CASE("storage: a source that changes while its headers are read is changed_on_disk") {
  const auto storage = std::make_shared<MapStorage>();
  auto source = std::make_shared<TextSource>("map/m.safetensors", shard("a", 'x'));
  source->before_read = [raw = source.get()](std::uint64_t) { raw->set_version_now("2"); };
  storage->files["m.safetensors"] = source;
  const Error error = thrown_by([&] { return open(storage, "m.safetensors"); });
  CHECK(error.code() == ErrorCode::changed_on_disk);
  CHECK(error.path() == "map/m.safetensors");
}

TEST_CASE("storage: a view of a source that has changed is changed_on_disk") {
  const auto storage = sharded_model();
  const Checkpoint checkpoint = open(storage, "");
  const TensorView view = checkpoint.tensor("a");
  std::const_pointer_cast<TextSource>(storage->files[first_name])->set_version_now("2");
  CHECK(thrown_by([&] { return view.bytes(); }).code() == ErrorCode::changed_on_disk);
  CHECK(thrown_by([&] { return view.read<std::uint8_t>(0); }).code() == ErrorCode::changed_on_disk);
}

TEST_CASE("storage: the headers of a file take few reads, as each is a round trip") {
  const auto storage = std::make_shared<MapStorage>();
  test::SafetensorsBuilder safetensors;
  test::TorchBuilder torch;
  for (int i = 0; i < 300; ++i) {
    safetensors.add("w" + std::to_string(i), "U8", {100}, std::string(100, 'x'));
    torch.tensor("w" + std::to_string(i), "FloatStorage", {100}, std::string(400, 'x'));
  }
  storage->add("m.safetensors", safetensors.build());
  storage->add("m.pt", torch.build());
  for (const char* name : {"m.safetensors", "m.pt"}) {
    CAPTURE(name);
    CHECK(open(storage, name).tensors().size() == 300);
    CHECK(storage->files[name]->reads <= 3);
  }
}

TEST_CASE("storage: views of a source in memory point into it") {
  const auto storage = std::make_shared<MapStorage>();
  auto source = std::make_shared<TextSource>("map/m.safetensors", shard("a", 'x'));
  source->able.mapped = std::as_bytes(std::span(source->bytes()));
  storage->files["m.safetensors"] = source;
  const Bytes bytes = open(storage, "m.safetensors").tensor("a").bytes();
  CHECK(bytes.data() == reinterpret_cast<const std::byte*>(source->bytes().data() + source->bytes().size() - 4));
  CHECK(source->reads == 0);
}

TEST_CASE("storage: a source with a descriptor is a file, mapped or read") {
  const TempFolder folder;
  const fs::path path = folder.write("m.safetensors", shard("a", 'x'));
  const int descriptor = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
  REQUIRE(descriptor >= 0);
  const auto storage = std::make_shared<MapStorage>();
  auto source = std::make_shared<TextSource>("map/m.safetensors", shard("a", 'x'));
  source->able.file_descriptor = descriptor;
  storage->files["m.safetensors"] = source;
  {
    const Checkpoint mapped = open(storage, "m.safetensors");
    const TensorView view = mapped.tensor("a");
    const Bytes once = view.bytes();
    const Bytes again = view.bytes();
    CHECK(once.data() == again.data());
    CHECK(text_of(view) == "xxxx");
    CHECK(source->reads == 0);
    CHECK(mapped.shards()[0].path == "map/m.safetensors");
    const TensorView read = open(storage, "m.safetensors", {.access = Access::read}).tensor("a");
    CHECK(text_of(read) == "xxxx");
    folder.write("m.safetensors", shard("a", 'y'));
    CHECK(thrown_by([&] { return read.bytes(); }).code() == ErrorCode::changed_on_disk);
  }
  folder.write("m.safetensors", shard("a", 'x') + "x");
  const Error error = thrown_by([&] { return open(storage, "m.safetensors"); });
  CHECK(error.code() == ErrorCode::out_of_range);
  CHECK(error.path() == "map/m.safetensors");
  ::close(descriptor);
}

TEST_CASE("storage: capabilities that contradict each other are out_of_range") {
  const auto storage = std::make_shared<MapStorage>();
  auto source = std::make_shared<TextSource>("map/m.safetensors", shard("a", 'x'));
  storage->files["m.safetensors"] = source;
  SUBCASE("a part is mapped") { source->able.mapped = std::as_bytes(std::span(source->bytes())).first(8); }
  SUBCASE("no request in flight") { source->able.max_in_flight = 0; }
  SUBCASE("tiny requests") { source->able.preferred_request_bytes = 4095; }
  const Error error = thrown_by([&] { return open(storage, "m.safetensors"); });
  CHECK(error.code() == ErrorCode::out_of_range);
  CHECK(error.path() == "map/m.safetensors");
}

TEST_CASE("storage: folder_storage() opens what its path opens, and holds the folder") {
  const TempFolder folder;
  folder.write("m/" + std::string(first_name), shard("a", 'x'));
  folder.write("m/" + std::string(second_name), shard("b", 'y'));
  folder.write("m/" + std::string(index_name), index_text());
  const auto storage = folder_storage(folder.path() / "m");
  const Checkpoint checkpoint = open(storage, "");
  check_same(checkpoint, open(folder.path() / "m"));
  CHECK(text_of(open(folder_storage(folder.path()), "m").tensor("b")) == "yyyy");
  const auto source = storage->open(first_name);
  CHECK(source->identity() == storage->identity_now(first_name));
  CHECK(source->capabilities().file_descriptor >= 0);
  CHECK(storage->identity_now("absent").empty());
  CHECK(storage->list().size() == 3);
  CHECK(thrown_by([&] { return storage->open("../m"); }).code() == ErrorCode::refused);
  CHECK(thrown_by([&] { return storage->folder("absent"); }).code() == ErrorCode::not_found);
  folder.write("m/" + std::string(first_name), shard("a", 'z'));
  CHECK(thrown_by([&] { source->check_unchanged(); }).code() == ErrorCode::changed_on_disk);
  CHECK(source->identity() != storage->identity_now(first_name));
  CHECK(checkpoint.freshness() == Freshness::modified);
}

TEST_CASE("storage: a storage that stands on folder_storage() loads through it") {
  struct Renamed : MapStorage {
    std::shared_ptr<const Storage> below;
    [[nodiscard]] std::shared_ptr<const ByteSource> open(std::string_view) const override {
      return below->open("real.safetensors");
    }
  };
  const TempFolder folder;
  folder.write("real.safetensors", shard("a", 'x'));
  auto storage = std::make_shared<Renamed>();
  storage->below = folder_storage(folder.path());
  CHECK(text_of(open(storage, "any.safetensors").tensor("a")) == "xxxx");
}

TEST_CASE("bytes: a whole file in memory is opened, and views point into it") {
  const Bytes bytes = bytes_of(shard("a", 'x'));
  const Checkpoint checkpoint = open(bytes);
  const Bytes found = checkpoint.tensor("a").bytes();
  CHECK(found.data() == bytes.data() + bytes.size_bytes() - 4);
  CHECK(found.owner() == bytes.owner());
  CHECK(checkpoint.freshness() == Freshness::same);
  CHECK(checkpoint.path() == "bytes in memory");
  CHECK(checkpoint.shards()[0].path == "bytes in memory");
}

TEST_CASE("bytes: a file that names other files is unsupported") {
  CHECK(thrown_by([] { return open(bytes_of(index_text())); }).code() == ErrorCode::unsupported);
}

TEST_CASE("bytes: empty and unknown bytes are errors, whose path is 'bytes in memory'") {
  const Error error = thrown_by([] { return open(bytes_of("neither this nor that")); });
  CHECK(error.code() == ErrorCode::unrecognized);
  CHECK(error.path() == "bytes in memory");
  CHECK_THROWS_AS(static_cast<void>(open(Bytes())), Error);
}

TEST_CASE("bytes: every fixture opens from memory and from a storage as from its file") {
  const auto root = test::fixtures("");
  if (!root) return;
  std::size_t opened = 0;
  for (const auto& entry : fs::recursive_directory_iterator(*root)) {
    if (!entry.is_regular_file() || entry.file_size() > (64u << 20)) continue;
    const std::string name = entry.path().filename().string();
    CAPTURE(entry.path().string());
    std::optional<Checkpoint> expected;
    try {
      expected = open(entry.path());
    } catch (const Error&) {
      continue;
    }
    const std::string content = test::content_of(entry.path());
    auto storage = std::make_shared<MapStorage>();
    storage->add(name, content);
    if (expected->shards().size() > 1) {
      for (const auto& other : fs::directory_iterator(entry.path().parent_path()))
        if (other.is_regular_file()) storage->add(other.path().filename().string(), test::content_of(other.path()));
    } else {
      check_same(open(bytes_of(content)), *expected);
    }
    check_same(open(storage, name), *expected);
    ++opened;
  }
  CHECK(opened > 100);
}
