// Saving as npz and GGUF, and which format a path asks for.
#include <doctest/doctest.h>

#include <filesystem>
#include <string>
#include <variant>
#include <vector>

#include "format/gguf/writer.hpp"
#include "format/numpy/npz_writer.hpp"
#include "heft/adapter.hpp"
#include "heft/save.hpp"
#include "materialize/save_support.hpp"
#include "support/gguf_builder.hpp"
#include "support/safetensors_builder.hpp"
#include "support/temp_folder.hpp"
#include "support/thrown.hpp"

using namespace heft;
using test::check_equal;
using test::GgufBuilder;
using test::GgufValue;
using test::in_memory;
using test::names_in;
using test::numbered;
using test::TempFolder;
using test::thrown_by;

namespace {

namespace fs = std::filesystem;

constexpr const char* suffixes[] = {".safetensors", ".npz", ".gguf"};

void check_round_trip(const std::vector<SaveItem>& items, const std::string& suffix) {
  CAPTURE(suffix);
  const TempFolder folder;
  const fs::path path = folder.path() / ("model" + suffix);
  const SaveReport report = save(items, path);
  const Checkpoint saved = open(path);
  check_equal(saved, items);
  CHECK(saved.verify_checksums().empty());
  CHECK(saved.notes().empty());
  REQUIRE(report.files.size() == 1);
  CHECK(report.files[0].size_bytes == fs::file_size(path));
  CHECK(names_in(folder.path()) == std::vector<std::string>{"model" + suffix});
}

// Every dtype that the format takes.
template <class Takes>
std::vector<SaveItem> of_dtypes(Takes takes) {
  std::vector<SaveItem> items;
  for (const DTypeInfo& type : dtypes()) {
    try {
      const std::vector<format::TensorDeclaration> alone = {{"a", type.dtype, Shape{3, 512}}};
      static_cast<void>(takes(alone));
      items.emplace_back(in_memory("m." + std::string(type.name), type.dtype, Shape{3, 512}));
    } catch (const Error&) {
      continue;
    }
  }
  return items;
}

struct Gelu {
  TensorView scale;
  void describe(auto& f) { f("scale", scale); }
};
struct Glu {
  TensorView gate;
  void describe(auto& f) { f("gate", gate); }
};
struct Small {
  std::vector<TensorView> weights;
  std::variant<Gelu, Glu> activation;
  std::string note;
  std::int64_t steps = 0;
  void describe(auto& f) {
    f("weights", weights);
    f("activation", activation).tag("kind", {"gelu", "glu"});
    f("note", note);
    f("steps", steps);
  }
};

Checkpoint saved_as(const Checkpoint& source, const fs::path& path, const SaveOptions& options = {}) {
  static_cast<void>(save(source, path, options));
  return open(path);
}

}  // namespace

TEST_CASE("save: every dtype that npz and GGUF have comes back bit for bit, blocks too") {
  const std::vector<SaveItem> npz = of_dtypes([](const auto& alone) { return format::npz_file_plan(alone); });
  CHECK(npz.size() == 14);
  check_round_trip(npz, ".npz");
  const std::vector<SaveItem> gguf = of_dtypes([](const auto& alone) { return format::gguf_file_plan(alone, {}); });
  CHECK(gguf.size() == 35);
  check_round_trip(gguf, ".gguf");
}

TEST_CASE("save: views, scalars, empty and converted tensors come back from every format") {
  const TensorView base = numbered("base", Shape{6, 8});
  const TensorView pieces = TensorView::over_pieces("pieces", Shape{12, 8},
                                                    {{base, Dims{0, 0}}, {numbered("other", Shape{6, 8}), Dims{6, 0}}});
  const std::vector<SaveItem> items = {SaveItem(base),
                                       SaveItem(base.transpose(0, 1).renamed("turned")),
                                       SaveItem(base.slice(1, 2, 5).renamed("columns")),
                                       SaveItem(pieces),
                                       SaveItem(in_memory("scalar", DType::f32, Shape{})),
                                       SaveItem(in_memory("empty", DType::f16, Shape{3, 0, 2})),
                                       SaveItem(base.renamed("half"), DType::f16),
                                       SaveItem(base.transpose(0, 1).renamed("wide"), DType::f64)};
  for (const char* suffix : suffixes) check_round_trip(items, suffix);
}

TEST_CASE("save: tensors larger than the buffers are written in parts, and a checksum runs over all of them") {
  const TensorView large = numbered("large", Shape{3, 1500, 2000});  // 36 MB
  const std::vector<SaveItem> items = {SaveItem(large), SaveItem(large.renamed("wide"), DType::f64),
                                       SaveItem(in_memory("bytes", DType::i8, Shape{40'000'000})),
                                       SaveItem(in_memory("small", DType::i8, Shape{3}))};
  check_round_trip(items, ".npz");
  check_round_trip(items, ".gguf");
  check_round_trip({SaveItem(in_memory("blocks", DType::q4_k, Shape{512, 65536})),
                    SaveItem(in_memory("rows", DType::q6_k, Shape{100, 256}))},
                   ".gguf");
}

TEST_CASE(
    "save: quantized blocks are refused where only their values can be kept, and their values are kept when asked") {
  const TempFolder folder;
  const std::vector<SaveItem> blocks = {SaveItem(in_memory("w", DType::q8_0, Shape{2, 64}))};
  const Error error = thrown_by([&] { return save(blocks, folder.path() / "a.npz"); });
  CHECK(error.code() == ErrorCode::unsupported);
  CHECK(error.tensor() == "w");
  CHECK(names_in(folder.path()).empty());
  std::string payload;
  for (int block = 0; block < 4; ++block)
    payload += std::string("\x00\x3c", 2) + std::string(32, '\x05');  // scale 1, every element 5
  const TensorView fives =
      TensorView::over("w", DType::q8_0, Shape{2, 64}, Bytes::copy_of(std::as_bytes(std::span(payload))));
  check_round_trip({SaveItem(fives, DType::f32)}, ".npz");
}

TEST_CASE("save: GGUF metadata is kept with its types, arrays of strings and nested arrays too") {
  GgufBuilder builder;
  builder.alignment(256).text("general.architecture", "llama");
  builder.pair("u8", GgufValue::u8, builder.number(std::uint8_t{200}))
      .pair("i8", GgufValue::i8, builder.number(std::int8_t{-100}));
  builder.pair("u16", GgufValue::u16, builder.number(std::uint16_t{60000}))
      .pair("i16", GgufValue::i16, builder.number(std::int16_t{-30000}));
  builder.pair("u32", GgufValue::u32, builder.number(std::uint32_t{4000000000}))
      .pair("i32", GgufValue::i32, builder.number(std::int32_t{-2000000000}));
  builder.pair("u64", GgufValue::u64, builder.number(UINT64_MAX))
      .pair("i64", GgufValue::i64, builder.number(INT64_MIN));
  builder.pair("f32", GgufValue::f32, builder.number(0.1f)).pair("f64", GgufValue::f64, builder.number(0.1));
  builder.pair("true", GgufValue::boolean, "\x01").pair("false", GgufValue::boolean, std::string(1, '\0'));
  builder.pair("tokens", GgufValue::array,
               builder.array_head(GgufValue::string, 3) + builder.string("<s>") + builder.string("") +
                   builder.string("\xff\xfe"));
  builder.pair("scores", GgufValue::array,
               builder.array_head(GgufValue::f32, 2) + builder.number(1.5f) + builder.number(-2.5f));
  builder.pair("nested", GgufValue::array,
               builder.array_head(GgufValue::array, 2) + builder.array_head(GgufValue::u8, 2) + "ab" +
                   builder.array_head(GgufValue::i16, 1) + builder.number(std::int16_t{-1}));
  builder.tensor("w", {4}, 0, std::string(16, 'w'));
  const TempFolder folder;
  const Checkpoint source = open(folder.write("a.gguf", builder.build()));
  const SaveReport report = save(source, folder.path() / "b.gguf");
  CHECK(report.notes.empty());
  // All that is in the file is in the copy, in the same order: the heads are the same bytes.
  const std::string head = builder.head();
  CHECK((test::content_of(folder.path() / "b.gguf").substr(0, head.size()) == head));
  CHECK(open(folder.path() / "b.gguf").tensor("w").offset() % 256 == 0);
}

TEST_CASE("save: metadata that is true of the source only is left out of a GGUF, with a note") {
  GgufBuilder builder;
  builder.text("general.architecture", "llama")
      .pair("general.file_type", GgufValue::u32, builder.number(std::uint32_t{0}));
  builder.pair("split.no", GgufValue::u16, builder.number(std::uint16_t{0}))
      .pair("split.count", GgufValue::u16, builder.number(std::uint16_t{1}));
  builder.pair("split.tensors.count", GgufValue::i32, builder.number(std::int32_t{1}));
  builder.tensor("w", {4}, 0, std::string(16, 'w'));
  const TempFolder folder;
  const Checkpoint source = open(folder.write("a.gguf", builder.build()));
  const SaveReport same = save(source, folder.path() / "same.gguf");
  REQUIRE(same.notes.size() == 1);
  CHECK(same.notes[0].starts_with("split.no"));
  CHECK(open(folder.path() / "same.gguf").metadata().size() == 2);

  const SaveReport half = save(std::vector<SaveItem>{{source.tensor("w"), DType::f16}}, folder.path() / "half.gguf",
                               {.keep_metadata = source.metadata()});
  CHECK(half.notes.size() == 2);
  CHECK_FALSE(open(folder.path() / "half.gguf").metadata().find("general.file_type").has_value());
}

TEST_CASE("save: metadata without types get GGUF's, and what has no type is counted") {
  const TempFolder folder;
  const fs::path source = folder.write(
      "a.safetensors", test::SafetensorsBuilder().metadata("format", "pt").add("w", "F32", {1}, "abcd").build());
  SaveOptions options;
  options.metadata = {{"general.architecture", "llama"}, {"format", "new"}};
  const Record metadata = saved_as(open(source), folder.path() / "a.gguf", options).metadata();
  CHECK(metadata.size() == 2);
  CHECK(metadata["format"].text() == "new");
  CHECK(metadata["general.architecture"].text() == "llama");

  // A tree of tensors is no metadata that a GGUF could hold.
  const Checkpoint tree = open(source);
  const SaveReport report =
      save(std::vector<SaveItem>{SaveItem(tree.tensor("w"))}, folder.path() / "b.gguf", {.keep_metadata = tree.root()});
  CHECK(report.notes == std::vector<std::string>{"1 metadata value is not kept: GGUF has no type for it"});
}

TEST_CASE("save: npz has no metadata: what was kept is counted, what is added is refused") {
  const TempFolder folder;
  const Checkpoint source = open(folder.write(
      "a.safetensors", test::SafetensorsBuilder().metadata("format", "pt").add("w", "F32", {1}, "abcd").build()));
  CHECK(save(source, folder.path() / "a.npz").notes ==
        std::vector<std::string>{"1 metadata value is not kept: npz has none"});
  SaveOptions options;
  options.metadata = {{"by", "heft"}};
  CHECK(thrown_by([&] { return save(source, folder.path() / "b.npz", options); }).code() == ErrorCode::unsupported);
  CHECK_FALSE(fs::exists(folder.path() / "b.npz"));
}

TEST_CASE("save: a file of any format may be replaced while the views being saved map it, and keeps its permissions") {
  const TempFolder folder;
  const std::vector<SaveItem> items = {SaveItem(numbered("b", Shape{5})), SaveItem(numbered("a", Shape{2, 3}))};
  for (const char* suffix : suffixes) {
    CAPTURE(suffix);
    const fs::path path = folder.path() / (std::string("model") + suffix);
    static_cast<void>(save(items, path));
    fs::permissions(path, fs::perms{0600});
    const Checkpoint before = open(path);
    const Slice<float> view = before.tensor("b").as<float>();
    check_equal(saved_as(before, path), items);
    CHECK(view[4] == 4);
    CHECK(fs::status(path).permissions() == fs::perms{0600});
  }
}

TEST_CASE("save: a struct comes back from every format that has texts, and npz is refused since it has none") {
  const TempFolder folder;
  const Small before{{numbered("", Shape{2, 3}), numbered("", Shape{4})}, Glu{numbered("", Shape{1})}, "a note", -7};
  for (const char* suffix : {".safetensors", ".gguf"}) {
    CAPTURE(suffix);
    const fs::path path = folder.path() / (std::string("small") + suffix);
    static_cast<void>(save(before, path));
    Small after;
    CHECK(bind(open(path), after, {.strict = Strict::yes}).ok());
    CHECK(after.weights.size() == 2);
    CHECK(after.weights[1].read<float>(3) == 3);
    CHECK(after.activation.index() == 1);
    CHECK(after.note == "a note");
    CHECK(after.steps == -7);
  }
  const Error error = thrown_by([&] { return save(before, folder.path() / "small.npz"); });
  CHECK(error.code() == ErrorCode::unsupported);
  CHECK(error.message() == "npz has no metadata to hold 'activation.kind'");
}

TEST_CASE("save: only safetensors can have shards, and the refusal names it") {
  const TempFolder folder;
  const std::vector<SaveItem> items = {SaveItem(numbered("a", Shape{4})), SaveItem(numbered("b", Shape{4}))};
  for (const char* name : {"a.npz", "a.gguf"}) {
    CAPTURE(name);
    const Error error = thrown_by([&] { return save(items, folder.path() / name, {.shard_bytes = 16}); });
    CHECK(error.code() == ErrorCode::unsupported);
    CHECK(error.message().find("safetensors only") != std::string::npos);
  }
  CHECK(names_in(folder.path()).empty());
}

TEST_CASE("save: the path selects the format, unless the caller does; a folder and an index select safetensors") {
  const TempFolder folder;
  const std::vector<SaveItem> items = {SaveItem(numbered("a", Shape{4}))};
  const auto refused = [&](const char* name) {
    return thrown_by([&] { return save(items, folder.path() / name); }).code();
  };
  CHECK(refused("model.pt") == ErrorCode::unsupported);
  CHECK(refused("model.npy") == ErrorCode::unsupported);
  CHECK(refused("model") == ErrorCode::unsupported);
  static_cast<void>(save(items, folder.path() / "weights", {.format = "gguf"}));
  check_equal(open(folder.path() / "weights"), items);
  fs::remove(folder.path() / "weights");

  static_cast<void>(save(items, folder.path()));
  CHECK(names_in(folder.path()) == std::vector<std::string>{"model.safetensors"});
  static_cast<void>(save(items, folder.path() / "model.safetensors.index.json"));
  CHECK(names_in(folder.path()) ==
        std::vector<std::string>{"model-00001-of-00001.safetensors", "model.safetensors.index.json"});
  check_equal(open(folder.path()), items);
  CHECK(refused("none/") == ErrorCode::not_found);
  fs::create_directory(folder.path() / "folder.npz");
  CHECK(refused("folder.npz") == ErrorCode::refused);
}
