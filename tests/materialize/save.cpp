#include "heft/save.hpp"

#include <doctest/doctest.h>

#include <algorithm>
#include <cerrno>
#include <filesystem>
#include <fstream>
#include <map>
#include <string>
#include <vector>

#include "format/safetensors/writer.hpp"
#include "materialize/save_support.hpp"
#include "save/pieces.hpp"
#include "support/fixtures.hpp"
#include "support/safetensors_builder.hpp"
#include "support/temp_folder.hpp"
#include "support/thrown.hpp"

using namespace heft;
using test::check_equal;
using test::in_memory;
using test::names_in;
using test::numbered;
using test::packed_bytes;

namespace {

namespace fs = std::filesystem;

void check_round_trip(const std::vector<SaveItem>& items) {
  const test::TempFolder folder;
  const fs::path path = folder.path() / "model.safetensors";
  const SaveReport report = save(items, path);
  check_equal(open(path), items);
  CHECK(report.tensors == items.size());
  REQUIRE(report.files.size() == 1);
  CHECK(report.files[0].path == path.string());
  CHECK(report.files[0].size_bytes == fs::file_size(path));
  CHECK(names_in(folder.path()) == std::vector<std::string>{"model.safetensors"});
}

std::uint64_t anonymous_bytes() {
  std::ifstream status("/proc/self/status");
  std::string word;
  while (status >> word)
    if (word == "RssAnon:") {
      std::uint64_t kib = 0;
      status >> kib;
      return kib << 10;
    }
  return 0;
}

}  // namespace

TEST_CASE("save: every dtype that safetensors has comes back bit for bit") {
  std::vector<SaveItem> items;
  for (const DTypeInfo& type : dtypes()) {
    const std::vector<format::TensorDeclaration> alone = {{"a", type.dtype, Shape{2, 8}}};
    try {
      static_cast<void>(format::safetensors_file_plan(alone, {}));
    } catch (const Error&) {
      continue;
    }
    items.emplace_back(in_memory("model." + std::string(type.name), type.dtype, Shape{2, 8}));
  }
  CHECK(items.size() == 22);
  check_round_trip(items);
}

TEST_CASE("save: scalars, empty tensors and a file without tensors come back") {
  check_round_trip({});
  check_round_trip({SaveItem(in_memory("scalar", DType::f32, Shape{})),
                    SaveItem(in_memory("empty", DType::bf16, Shape{3, 0, 2})),
                    SaveItem(in_memory("one", DType::u8, Shape{1})),
                    SaveItem(in_memory("deep", DType::i16, Shape{1, 2, 1, 2, 1, 2, 1, 2}))});
}

TEST_CASE("save: views are packed: transposed, sliced, broken into pieces") {
  const TensorView base = numbered("base", Shape{6, 8});
  const TensorView whole = TensorView::over_pieces("pieces", Shape{12, 8},
                                                   {{base, Dims{0, 0}}, {numbered("other", Shape{6, 8}), Dims{6, 0}}});
  check_round_trip({SaveItem(base), SaveItem(base.transpose(0, 1).renamed("transposed")),
                    SaveItem(base.slice(1, 2, 5).renamed("columns")), SaveItem(base.shard(0, 1, 3).renamed("rows")),
                    SaveItem(whole), SaveItem(whole.slice(0, 4, 9).renamed("across"))});
}

TEST_CASE("save: tensors are converted to the dtype asked for") {
  check_round_trip({SaveItem(numbered("a", Shape{5, 3}), DType::bf16), SaveItem(numbered("b", Shape{7}), DType::f16),
                    SaveItem(numbered("c", Shape{4, 4}).transpose(0, 1), DType::f64)});
}

TEST_CASE("save: tensors larger than the buffers are written in parts") {
  const TensorView large =
      numbered("large", Shape{3, 1500, 2000});  // 36 MB; one index of dim 0 does not fit a buffer after widening
  check_round_trip({SaveItem(large), SaveItem(large.renamed("wide"), DType::f64),
                    SaveItem(large.transpose(1, 2).renamed("turned"), DType::bf16),
                    SaveItem(in_memory("flat", DType::u8, Shape{40'000'000})),
                    SaveItem(in_memory("small", DType::u8, Shape{3}))});
}

TEST_CASE("save: pieces of a view follow each other in its order, whatever the shape") {
  const std::vector<SaveItem> items = {SaveItem(numbered("a", Shape{3, 5, 7})),
                                       SaveItem(numbered("turned", Shape{6, 4}).transpose(0, 1)),
                                       SaveItem(numbered("b", Shape{100})),
                                       SaveItem(numbered("c", Shape{})),
                                       SaveItem(numbered("d", Shape{0, 3})),
                                       SaveItem(numbered("e", Shape{1, 1, 64}), DType::bf16),
                                       SaveItem(in_memory("f", DType::f4_e2m1, Shape{3, 6})),
                                       SaveItem(in_memory("odd", DType::f4_e2m1, Shape{2, 3}))};
  for (const std::uint64_t most : {1u, 8u, 20u, 28u, 64u, 1000u})
    for (const SaveItem& item : items) {
      CAPTURE(most);
      CAPTURE(item.view.name());
      writer::ViewCutter cutter(item.view, item.dtype, most);
      std::string found;
      while (const std::optional<TensorView> piece = cutter.next()) {
        const std::string bytes = packed_bytes(*piece, item.dtype);
        CHECK(bytes.size() <= std::max<std::uint64_t>(most, 8));
        found += bytes;
      }
      CHECK((found == packed_bytes(item.view, item.dtype)));
    }
}

TEST_CASE("save: pieces are visited in the order in which their tensors were added, with offsets") {
  writer::Pieces pieces(Limits{});
  const std::vector<TensorView> views = {numbered("a", Shape{3, 5}), numbered("none", Shape{0, 3}),
                                         numbered("b", Shape{7}), numbered("c", Shape{25})};
  for (const TensorView& view : views) pieces.add(view, view.dtype(), 40);
  std::vector<std::string> found(views.size());
  std::size_t last = 0;
  std::size_t ended = 0;
  static_cast<void>(pieces.for_each({}, 100, [&](const writer::Pieces::Piece& piece) {
    CHECK(piece.tensor >= last);
    last = piece.tensor;
    CHECK(piece.offset == found[piece.tensor].size());
    const std::span<const std::byte> bytes = piece.values.bytes();
    found[piece.tensor].append(reinterpret_cast<const char*>(bytes.data()), bytes.size());
    CHECK(piece.is_last == (found[piece.tensor].size() == views[piece.tensor].size_bytes()));
    ended += piece.is_last;
  }));
  CHECK(ended == views.size());
  for (std::size_t i = 0; i < views.size(); ++i) CHECK((found[i] == packed_bytes(views[i], views[i].dtype())));
}

TEST_CASE("save: memory stays bounded however large a tensor is") {
  const test::TempFolder folder;
  constexpr std::uint64_t size = 192u << 20;
  const std::string head =
      test::safetensors_file(R"({"x":{"dtype":"F32","shape":[48,1048576],"data_offsets":[0,201326592]}})");
  const fs::path source = folder.write("source.safetensors", std::string_view(head));
  fs::resize_file(source, head.size() + size);
  const Checkpoint checkpoint = open(source);
  const std::uint64_t before = anonymous_bytes();
  std::uint64_t most = 0;
  std::uint64_t done = 0;
  SaveOptions options;
  options.progress = [&](const Progress& progress) {
    most = std::max(most, anonymous_bytes());
    CHECK(progress.bytes_done > done);
    done = progress.bytes_done;
    CHECK(progress.bytes_total == size);
  };
  static_cast<void>(save(checkpoint, folder.path() / "copy.safetensors", options));
  CHECK(done == size);
  MESSAGE("peak anonymous memory over the start: ", (most - before) >> 20, " MiB");
#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
  CHECK(most - before < 100u << 20);
#endif
}

TEST_CASE("save: metadata is kept and added to, and values without a text are noted") {
  const test::TempFolder folder;
  const fs::path source = folder.write(
      "a.safetensors",
      test::SafetensorsBuilder().metadata("format", "pt").metadata("k", "old").add("x", "U8", {1}, "x").build());
  const fs::path path = folder.path() / "b.safetensors";
  SaveOptions options;
  options.metadata = {{"k", "new"}, {"by", "heft"}};
  static_cast<void>(save(open(source), path, options));
  const Record metadata = open(path).metadata();
  CHECK(metadata.size() == 3);
  CHECK(metadata["format"].text() == "pt");
  CHECK(metadata["k"].text() == "new");
  CHECK(metadata["by"].text() == "heft");
}

TEST_CASE("save: a file may be replaced while the views being saved map it") {
  const test::TempFolder folder;
  const fs::path path =
      folder.write("a.safetensors",
                   test::SafetensorsBuilder().add("b", "U8", {5}, "hello").add("a", "F32", {2}, "01234567").build());
  fs::permissions(path, fs::perms{0600});
  const Checkpoint before = open(path);
  const Slice<std::uint8_t> view = before.tensor("b").as<std::uint8_t>();
  static_cast<void>(save(before, path));
  CHECK(view[0] == 'h');
  const Checkpoint after = open(path);
  check_equal(after, std::vector<SaveItem>{SaveItem(before.tensor("a")), SaveItem(before.tensor("b"))});
  CHECK(fs::status(path).permissions() == fs::perms{0600});
}

TEST_CASE("save: the tensors under a record are named from it, those of a load by their names") {
  const test::TempFolder folder;
  const fs::path source = folder.write("a.safetensors", test::SafetensorsBuilder()
                                                            .add("m.0.w", "U8", {1}, "w")
                                                            .add("m.0.b", "U8", {1}, "b")
                                                            .add("m.1.w", "U8", {1}, "v")
                                                            .build());
  const Checkpoint checkpoint = open(source);
  static_cast<void>(save(checkpoint.root()["m"], folder.path() / "list.safetensors"));
  CHECK(open(folder.path() / "list.safetensors").find("1.w").has_value());
  static_cast<void>(save(checkpoint.root()["m"][0], folder.path() / "one.safetensors"));
  const Checkpoint one = open(folder.path() / "one.safetensors");
  CHECK(one.tensors().size() == 2);
  CHECK(one.tensor("w").read<std::uint8_t>(0) == 'w');
  CHECK(test::thrown_by([&] { return save(checkpoint.root()["m"][0]["w"], folder.path() / "x.safetensors"); }).code() ==
        ErrorCode::type_mismatch);

  LoadPlan plan;
  plan.add(checkpoint.tensor("m.1.w"));
  static_cast<void>(save(materialize(plan), folder.path() / "load.safetensors"));
  CHECK(open(folder.path() / "load.safetensors").tensor("m.1.w").read<std::uint8_t>(0) == 'v');
}

TEST_CASE("save: tied weights are both written, and reported") {
  const test::TempFolder folder;
  const TensorView embed = numbered("embed", Shape{4, 2});
  const SaveReport report = save(std::vector<SaveItem>{SaveItem(embed), SaveItem(embed.slice(0, 0, 2).renamed("part")),
                                                       SaveItem(embed.renamed("head"))},
                                 folder.path() / "a.safetensors");
  CHECK(report.tied == std::vector<std::pair<std::string, std::string>>{{"head", "embed"}});
  CHECK(open(folder.path() / "a.safetensors").tensors().size() == 3);
}

TEST_CASE("save: refusals name the tensor and leave the folder as it was") {
  const test::TempFolder folder;
  const auto refused = [&](const std::vector<SaveItem>& items, const char* name = "a.safetensors",
                           std::uint64_t shard_bytes = 0) {
    const Error error =
        test::thrown_by([&] { return save(items, folder.path() / name, {.shard_bytes = shard_bytes}); });
    CHECK(names_in(folder.path()).empty());
    return error;
  };
  const TensorView x = numbered("x", Shape{2});
  CHECK(refused({SaveItem(in_memory("blk", DType::q8_0, Shape{32}))}).tensor() == "blk");
  CHECK(refused({SaveItem(x, DType::i32)}).code() == ErrorCode::unsupported);
  CHECK(refused({SaveItem(x), SaveItem(x)}).code() == ErrorCode::ambiguous);
  CHECK(refused({SaveItem(x), SaveItem(numbered("y", Shape{2})), SaveItem(x)}, "a.safetensors", 8).code() ==
        ErrorCode::ambiguous);
  CHECK(refused({SaveItem(x)}, "a.bin").code() == ErrorCode::unsupported);
  CHECK(refused({SaveItem(x)}, "none/a.safetensors").code() == ErrorCode::not_found);
}

TEST_CASE("save: a stop and a throwing progress end it, and the old file stays") {
  const test::TempFolder folder;
  const fs::path path = folder.write("a.safetensors", std::string_view("old"));
  const std::vector<SaveItem> items = {SaveItem(numbered("x", Shape{2}))};
  std::stop_source stop;
  stop.request_stop();
  SaveOptions options;
  options.stop = stop.get_token();
  CHECK(test::thrown_by([&] { return save(items, path, options); }).code() == ErrorCode::cancelled);
  options.stop = {};
  options.progress = [](const Progress&) { throw std::runtime_error("mine"); };
  CHECK_THROWS_WITH(static_cast<void>(save(items, path, options)), "mine");
  CHECK(test::content_of(path) == "old");
  CHECK(names_in(folder.path()).size() == 1);
}

TEST_CASE("save: shards follow the items' order and carry an index") {
  const test::TempFolder folder;
  const std::vector<SaveItem> items = {SaveItem(numbered("c", Shape{4})), SaveItem(numbered("a", Shape{4})),
                                       SaveItem(numbered("big", Shape{100})), SaveItem(numbered("d", Shape{1}))};
  const SaveReport report = save(items, folder.path() / "model.safetensors", {.shard_bytes = 40});
  CHECK(names_in(folder.path()) ==
        std::vector<std::string>{"model-00001-of-00003.safetensors", "model-00002-of-00003.safetensors",
                                 "model-00003-of-00003.safetensors", "model.safetensors.index.json"});
  REQUIRE(report.files.size() == 4);
  CHECK(report.files[0].tensors == 2);
  CHECK(report.files[1].tensors == 1);
  CHECK(report.files[3].path.ends_with(".index.json"));
  CHECK(report.tensor_bytes == 436);
  const Checkpoint whole = open(folder.path());
  CHECK(whole.notes().empty());
  check_equal(whole, items);
}

TEST_CASE("save: what fits one shard is one file, without an index") {
  const test::TempFolder folder;
  static_cast<void>(save(std::vector<SaveItem>{SaveItem(numbered("c", Shape{4}))}, folder.path() / "model.safetensors",
                         {.shard_bytes = 40}));
  CHECK(names_in(folder.path()) == std::vector<std::string>{"model.safetensors"});
}

TEST_CASE("save: new shards never take the names of old ones, and old files are removed when no index names them") {
  const test::TempFolder folder;
  const fs::path path = folder.path() / "model.safetensors";
  const std::vector<SaveItem> first = {SaveItem(numbered("a", Shape{4})), SaveItem(numbered("b", Shape{4}))};
  static_cast<void>(save(first, path));  // one file, which would hide an index
  static_cast<void>(save(first, path, {.shard_bytes = 16}));
  CHECK_FALSE(fs::exists(path));
  const Checkpoint old = open(folder.path());
  const std::vector<SaveItem> second = {SaveItem(old.tensor("b"), DType::bf16), SaveItem(old.tensor("a"), DType::bf16)};
  const SaveReport report = save(second, path, {.shard_bytes = 8});
  CHECK(report.removed.size() == 2);
  CHECK(names_in(folder.path()).size() == 3);
  CHECK_FALSE(fs::exists(folder.path() / "model-00001-of-00002.safetensors"));
  check_equal(open(folder.path()), second);
  check_equal(old, first);
}
