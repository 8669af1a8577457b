// Every public call when memory runs out at its n-th allocation, once or from then on: std::bad_alloc or
// Error{out_of_memory}, nothing lost, and the same call succeeds afterwards. Here: values, opening and records.
#include <doctest/doctest.h>

#include <algorithm>
#include <array>
#include <filesystem>
#include <memory>
#include <stdexcept>
#include <string>
#include <vector>

#include "allocation_sweep.hpp"
#include "support/dcp_builder.hpp"
#include "support/pack_builder.hpp"
#include "support/pickle_builder.hpp"
#include "support/sources.hpp"
#include "support/temp_folder.hpp"
#include "support/torch_builder.hpp"

namespace {

using namespace heft;
using namespace heft::sweeps;

namespace fs = std::filesystem;

// The calls of every public header, with the sweep that covers them, or the reason for none.
struct Header {
  const char* file;
  const char* calls;
};
constexpr Header headers[] = {
    {"adapter.hpp", "adapters and filters"},
    {"bind.hpp", "structs: bind(), try_bind(), fields_of()"},
    {"bind_log.hpp", "structs: what bind() calls"},
    {"bind_options.hpp", "values only"},
    {"bind_report.hpp", "structs: to_string()"},
    {"bindable.hpp", "concepts only"},
    {"bytes.hpp", "values: copy_of(); the rest shares an owner"},
    {"checkpoint.hpp", "opening; records and views; freshness(); checksums"},
    {"completion.hpp", "allocates nothing but the Error of one that is dropped"},
    {"destination.hpp", "materialize: one in host memory and one on a device; the caller's own code otherwise"},
    {"dtype.hpp", "allocates nothing but the text of an Error: element_bytes() in values"},
    {"element.hpp", "allocates nothing: values and constants"},
    {"error.hpp", "values: with_path(), with_tensor()"},
    {"export.hpp", "a macro only"},
    {"field.hpp", "structs: what describe() calls"},
    {"field_reader.hpp", "structs: what bind() calls"},
    {"field_writer.hpp", "structs: what fields_of() and save() call"},
    {"heft.hpp", "includes the others"},
    {"index_iterator.hpp", "allocates nothing: the elements are made by the range"},
    {"limits.hpp", "values only"},
    {"load_stats.hpp", "materialize, stream: LoadStats is made by each; names of enumerators allocate nothing"},
    {"materialize.hpp", "materialize"},
    {"plan.hpp", "plans"},
    {"read_options.hpp", "values only"},
    {"record.hpp", "records and views; numbers()"},
    {"remap.hpp",
     "remap() by Indices; the rules of a Remapping, and 're:' patterns, in expressions: they are RE2's, which loses "
     "blocks "
     "when an allocation throws, so that those are not counted there"},
    {"save.hpp", "saving"},
    {"shape.hpp", "values: more dims than lie inline"},
    {"slice.hpp", "allocates nothing: a Slice shares an owner; as<T>() in records and views"},
    {"source.hpp", "the caller's own code; what read() of one allocates is opening's"},
    {"storage.hpp", "opening: folder_storage(); the caller's own code otherwise"},
    {"stream.hpp", "stream"},
    {"tensor.hpp", "tensors"},
    {"tensor_view.hpp", "records and views; pieces"},
    {"weights.hpp", "tensors"},
    {"workers.hpp", "workers"},
};

}  // namespace

TEST_CASE("allocations: each public header has its calls swept, or a reason why not") {
  std::vector<std::string> there;
  for (const auto& entry : fs::directory_iterator(test::source_root() / "include/heft"))
    if (entry.path().extension() == ".hpp") there.push_back(entry.path().filename().string());
  std::ranges::sort(there);
  std::vector<std::string> listed;
  for (const Header& header : headers) listed.emplace_back(header.file);
  CHECK(there == listed);
}

TEST_CASE("allocations: values: bytes, shapes and errors") {
  Tally tally("values");
  const std::vector<std::int64_t> many(12, 1);
  const std::array<std::byte, 100> some{};
  tally.add("Bytes::copy_of", [&] { static_cast<void>(Bytes::copy_of(some).subrange(10, 20)); });
  tally.add(
      "Bytes::subrange beyond", [&] { static_cast<void>(Bytes(some, nullptr).subrange(90, 20)); },
      expected(ErrorCode::out_of_range));
  tally.add("Shape", [&] {
    Shape shape{std::span<const std::int64_t>(many)};
    Shape copy = shape;
    copy = shape;
    static_cast<void>(Strides::contiguous(copy) == Strides::contiguous(shape));
    static_cast<void>(to_string(shape) + to_string(copy));
    static_cast<void>(bytes_for(DType::f32, shape));
  });
  tally.add(
      "element_bytes of a block", [&] { static_cast<void>(element_bytes(DType::q4_k)); },
      outcome([] { static_cast<void>(element_bytes(DType::q4_k)); }));
  tally.add(
      "Error",
      [&] {
        const Error error(ErrorCode::io, "a message that is longer than a short text", {.offset = 7, .os_error = 5});
        throw error.with_path("/a/path/that/is/longer/than/a/short/text")
            .with_tensor("a.name.that.is.longer.than.a.short.text");
      },
      expected(ErrorCode::io));
}

TEST_CASE("allocations: freshness of a file, a folder, and what was replaced or is gone") {
  const test::TempFolder folder;
  const Checkpoint one = open(folder.write("small.safetensors", small_model()));
  fs::create_directory(folder.path() / "shards");
  static_cast<void>(save(one, folder.path() / "shards", {.shard_bytes = 20}));
  const Checkpoint shards = open(folder.path() / "shards");
  const Checkpoint replaced = open(folder.write("replaced.safetensors", small_model()));
  fs::rename(folder.write("other.safetensors", small_model()), folder.path() / "replaced.safetensors");
  const Checkpoint gone = open(folder.write("gone.safetensors", small_model()));
  fs::remove(folder.path() / "gone.safetensors");
  Tally tally("freshness");
  const auto is = [](const Checkpoint& checkpoint, Freshness freshness) {
    return [&checkpoint, freshness] {
      if (checkpoint.freshness() != freshness) throw std::logic_error("another freshness");
    };
  };
  tally.add("opened now", [&] {
    if (open(folder.path() / "shards").freshness() != Freshness::same) throw std::logic_error("another freshness");
  });
  tally.add("same", is(one, Freshness::same));
  tally.add("same, of shards", is(shards, Freshness::same));
  tally.add("replaced", is(replaced, Freshness::replaced));
  tally.add("gone", is(gone, Freshness::gone));
}

TEST_CASE("allocations: lists of numbers, of every format that has them") {
  const test::TempFolder folder;
  std::string numbers;
  for (int i = 0; i < 100; ++i) numbers += test::pickle::integer(i);
  const fs::path torch = folder.write(
      "lists.pt", test::pickle::torch_file(test::pickle::dict({test::pickle::text("list"), "](" + numbers + "e"})));
  std::vector<std::string> items;
  for (int i = 0; i < 100; ++i) items.push_back(test::pack::real32(0.5F));
  namespace pack = test::pack;
  const std::string record = pack::map({pack::text("metadata"), pack::map({pack::text("float"), pack::text("f32")}),
                                        pack::text("item"), pack::map({pack::text("list"), pack::list(items)})});
  const fs::path burn = folder.write("lists.mpk", record);
  Tally tally("numbers");
  for (const fs::path& path : {torch, burn}) {
    const Checkpoint checkpoint = open(path);
    const Record list = checkpoint.root()["list"];
    tally.add(
        "numbers()", [&] { static_cast<void>(list.numbers().read<float>(0)); },
        outcome([&] { static_cast<void>(list.numbers().read<float>(0)); }));
    tally.add("numbers(), materialized", [&] { static_cast<void>(materialize(list.numbers())); });
    tally.add("open, numbers()", [&] { static_cast<void>(open(path).root()["list"].numbers().size_bytes()); });
    tally.add("each number", [&] { walk(list); });
    tally.add("a path", [&] { static_cast<void>(list.child(3).path()); });
  }
  const Checkpoint checkpoint = open(torch);
  tally.add("no list", [&] { static_cast<void>(checkpoint.root().numbers()); }, expected(ErrorCode::type_mismatch));
}

TEST_CASE("allocations: opening a file of any format, good or bad, fails with out of memory and nothing else") {
  const test::TempFolder folder;
  Tally tally("open");
  for (const char* format : {"safetensors", "zip", "legacy", "pickle", "tar", "gguf", "npy", "npz", "ctranslate2",
                             "msgpack", "burnpack", "index_json"}) {
    std::size_t count = 0;
    std::vector<fs::path> files;
    for (const auto& entry : fs::directory_iterator(test::source_root() / "tests/fuzz/corpus" / format))
      files.push_back(entry.path());
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
  const auto storage = folder_storage(folder.path() / "shards");
  tally.add("a storage", [&] {
    const Checkpoint checkpoint = open(folder_storage(folder.path() / "shards"), "");
    if (checkpoint.freshness() != Freshness::same) throw std::logic_error("another freshness");
    static_cast<void>(storage->list());
  });
  const std::string whole = test::content_of(folder.path() / "small.safetensors");
  tally.add("bytes", [&] { static_cast<void>(open(Bytes(std::as_bytes(std::span(whole)), nullptr))); });
  const auto map = std::make_shared<test::MapStorage>();
  map->add("m.safetensors", whole);
  map->opened.reserve(1u << 16);  // which records calls, and is not to allocate
  tally.add("a storage of the caller's, and a load of requests", [&] {
    const Checkpoint checkpoint = open(map, "m.safetensors");
    LoadPlan plan;
    for (const TensorView& tensor : checkpoint.tensors()) plan.add(tensor);
    static_cast<void>(materialize(plan));
  });
  tally.add("an index", [&] { static_cast<void>(open(folder.path() / "shards/model.safetensors.index.json")); });
  tally.add("nothing", [&] { static_cast<void>(open(folder.path() / "nothing")); }, expected(ErrorCode::not_found));
  const std::string torch = test::TorchBuilder()
                                .tensor("w", "FloatStorage", {8, 8}, test::pattern(256))
                                .value("step", test::pickled_int(3))
                                .build();
  const fs::path path = folder.write("model.pt", torch);
  tally.add("a PyTorch file", [&] { static_cast<void>(open(path)); });
  test::DcpBuilder()
      .tensor("w", {2, 2})
      .chunk({0, 0}, {1, 2}, std::string(8, 'a'))
      .chunk({1, 0}, {1, 2}, std::string(8, 'b'))
      .value("step", "K\x01")
      .write(folder, "distributed");
  tally.add("a distributed checkpoint", [&] { walk(open(folder.path() / "distributed").root()); });
  folder.write("hub/models--acme--tiny/snapshots/aaaa/model.safetensors", small_model());
  folder.write("hub/models--acme--tiny/refs/main", "aaaa");
  tally.add("a hub's cache", [&] { static_cast<void>(open("acme/tiny", {.hub_cache = folder.path() / "hub"})); });
  tally.add(
      "a PyTorch file, by a key",
      [&] { static_cast<void>(open(path, {.torch = {.top_level_key = "w", .strict_globals = true}})); },
      outcome([&] { static_cast<void>(open(path, {.torch = {.top_level_key = "w", .strict_globals = true}})); }));
  tally.add("a PyTorch file, read", [&] { static_cast<void>(open(path, {.access = Access::read})); });
}

TEST_CASE("allocations: records, names, metadata, views and plans") {
  const test::TempFolder folder;
  const Checkpoint small = open(folder.write("small.safetensors", small_model()));
  const fs::path path = folder.path() / "small.safetensors";
  Tally tally("records and views");
  tally.add("tree", [&] { walk(open(path).root()); });
  tally.add("lookups",
            [&] { static_cast<void>(small.root()["model"]["layers"][0]["norm"]["weight"].tensor().as<float>()); });
  tally.add(
      "a key that is not there", [&] { static_cast<void>(small.root()["model"]["layer"]); },
      expected(ErrorCode::not_found));
  tally.add("metadata", [&] { walk(open(path).metadata()); });
  tally.add("tensor", [&] { static_cast<void>(small.tensor("eight_dims")); });
  tally.add("find", [&] { static_cast<void>(small.find("eight_dims")); });
  tally.add(
      "a tensor that is not there", [&] { static_cast<void>(small.tensor("model.layers.0.norm.weigth")); },
      expected(ErrorCode::not_found));
  tally.add("glob", [&] {
    for (const TensorView& view : small.tensors("model.layers.{0,[1-9]}.*.?eight")) static_cast<void>(view.bytes());
  });
  tally.add(
      "a glob that does not compile", [&] { static_cast<void>(small.tensors("{a")); },
      expected(ErrorCode::out_of_range));
  tally.add("renumbered", [&] { static_cast<void>(remap(small, {}, Indices::contiguous, {"none.*"}).root()); });
  tally.add("views", [&] {
    const TensorView view = small.tensor("eight_dims");
    static_cast<void>(view.transpose(1, 3).slice(1, 0, 1).renamed("another name that is not short"));
    static_cast<void>(view.reshape(Shape{2, 1, 2, 1, 2, 1, 2}).read<float>(0, 0, 1, 0, 1, 0, 1));
    static_cast<void>(view.shard(1, 1, 2).size_bytes());
  });
  tally.add("checksums", [&] { static_cast<void>(small.verify_checksums()); });
  tally.add("totals", [&] { static_cast<void>(open(path).root().tensor_bytes()); });
  tally.add("paths", [&] { static_cast<void>(small.root()["model"]["layers"][0]["norm"].path()); });
  tally.add("plan", [&] {
    const LoadPlan plan = plan_of(small);
    static_cast<void>(plan.estimate().host_bytes);
  });
  const Record root = remap(small, {}, Indices::contiguous).root()["model"];
  tally.add("bind", [&] {
    Network network;
    static_cast<void>(bind(root, network));
  });
}

TEST_CASE("allocations: inflated records") {
  const test::TempFolder folder;
  const fs::path path = folder.write(
      "deflated.pt",
      test::TorchBuilder().tensor("w", "FloatStorage", {64, 64}, test::pattern(64 * 64 * 4)).deflate().build());
  Tally tally("inflated");
  tally.add("bytes", [&] { static_cast<void>(open(path).tensor("w").bytes()); });
  tally.add("materialize", [&] { static_cast<void>(materialize(open(path).tensor("w"), DType::f16)); });
  tally.add("checksums", [&] { static_cast<void>(open(path).verify_checksums()); });
}
