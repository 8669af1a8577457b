#include "heft/bind.hpp"

#include <doctest/doctest.h>

#include <array>
#include <limits>
#include <map>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "heft/remap.hpp"
#include "record/support.hpp"
#include "support/gguf_builder.hpp"
#include "support/safetensors_builder.hpp"
#include "support/temp_folder.hpp"
#include "support/thrown.hpp"
#include "support/torch_builder.hpp"

using namespace heft;
using test::checkpoint_of;
using test::SafetensorsBuilder;
using test::TempFolder;
using test::thrown_by;

namespace {

struct Linear {
  TensorView weight;
  std::optional<TensorView> bias;
  template <class Fields>
  void describe(Fields& f) {
    f("weight", weight);
    f("bias", bias);
  }
};

struct Norm {
  Slice<float> gamma;
  template <class Fields>
  void describe(Fields& f) {
    f("gamma", gamma).alias("weight").alias("scale");
  }
};

struct Block {
  Norm norm;
  Linear up;
  Linear down;
  template <class Fields>
  void describe(Fields& f) {
    f("norm", norm);
    f("up", up);
    f("down", down);
  }
};

struct Model {
  std::vector<Block> layers;
  std::int64_t steps = 0;
  template <class Fields>
  void describe(Fields& f) {
    f("layers", layers);
    f("steps", steps).default_value(-1);
  }
};

SafetensorsBuilder model_builder(int layers, int step = 1) {
  SafetensorsBuilder builder;
  for (int i = 0; i < layers; ++i) {
    const std::string layer = "model.layers." + std::to_string(i * step) + ".";
    builder.add(layer + "norm.weight", "F32", {2}, test::packed<float>({static_cast<float>(i), 1}));
    builder.add(layer + "up.weight", "F32", {4, 2}, test::packed<float>(std::vector<float>(8, 2)));
    builder.add(layer + "down.weight", "F32", {2, 4}, test::packed<float>(std::vector<float>(8, 3)));
    if (i == 0) builder.add(layer + "down.bias", "BF16", {2}, "abcd");
  }
  return builder;
}

Checkpoint opened(const SafetensorsBuilder& builder) {
  const TempFolder folder;
  return open(folder.write("m.safetensors", builder.build()));
}

// Binds one field "x" of type T.
template <class T>
struct One {
  T x{};
  template <class Fields>
  void describe(Fields& f) {
    f("x", x);
  }
};

template <class T>
std::pair<BindReport, T> bind_one(const Checkpoint& from, const BindOptions& options = {}, T before = {}) {
  One<T> one{std::move(before)};
  BindReport report = try_bind(from.root(), one, options);
  return {std::move(report), std::move(one.x)};
}

template <class T>
ErrorCode code_of(const Checkpoint& from, const BindOptions& options = {}) {
  const auto [report, value] = bind_one<T>(from, options);
  REQUIRE(!report.ok());
  return report.errors.front().code;
}

Checkpoint scalar(std::string_view dtype, std::string_view payload, const std::vector<std::int64_t>& shape = {}) {
  return opened(SafetensorsBuilder().add("x", dtype, shape, payload));
}

}  // namespace

namespace {

struct Settings {
  std::uint8_t layers = 0;
  float rate = 0;
  std::string arch;
  std::vector<int> sizes;
  void describe(auto& f) {
    f("layers", layers);
    f("rate", rate);
    f("arch", arch);
    f("sizes", sizes);
  }
};

struct Single {
  float x = 0;
  void describe(auto& f) { f("x", x).from_integer(); }
};

struct Tied {
  TensorView embedding;
  TensorView head;
  void describe(auto& f) {
    f("embedding", embedding);
    f("head", head);
  }
};

}  // namespace

TEST_CASE("bind: a struct of structs is filled with views, and outlives the checkpoint") {
  Model model;
  {
    const Checkpoint checkpoint = opened(model_builder(3));
    const BindReport report = bind(checkpoint.root()["model"], model);
    CHECK(report.ok());
    CHECK(report.applied.size() == 10);
    CHECK(report.applied[0] == "model.layers.0.norm.weight");
    CHECK(report.missing.empty());
    CHECK(report.unused.empty());
  }
  REQUIRE(model.layers.size() == 3);
  CHECK(model.layers[2].norm.gamma[0] == 2);
  CHECK(model.layers[1].up.weight.shape() == Shape{4, 2});
  CHECK(model.layers[0].down.bias->dtype() == DType::bf16);
  CHECK(!model.layers[1].down.bias);
  CHECK(model.steps == -1);
}

TEST_CASE("bind: a missing key is reported with its full path and the nearest keys, and nothing is changed") {
  const Checkpoint checkpoint = opened(SafetensorsBuilder()
                                           .add("layers.0.norm.weight", "F32", {1}, "abcd")
                                           .add("layers.0.upp.weight", "F32", {1}, "abcd")
                                           .add("layers.0.down.weight", "F32", {1}, "abcd"));
  Model model;
  model.layers.resize(7);
  const Error error = thrown_by([&] { return bind(checkpoint, model); });
  CHECK(error.code() == ErrorCode::not_found);
  CHECK(error.tensor() == "layers.0.up");
  CHECK(error.path().ends_with("m.safetensors"));
  CHECK(error.message() == "missing (did you mean 'upp'?)");
  CHECK(model.layers.size() == 7);
  const BindReport report = try_bind(checkpoint.root(), model);
  CHECK(report.missing == std::vector<std::string>{"layers.0.up"});
  CHECK(report.unused == std::vector<std::string>{"layers.0.upp.weight"});
  CHECK(report.to_string().find("1 missing:\n  layers.0.up") != std::string::npos);
  CHECK(report.to_string().find("1 errors:\n  layers.0.up: missing (did you mean 'upp'?)") != std::string::npos);
}

TEST_CASE("bind: a report contains the number and the first ten entries of each list") {
  std::vector<std::string> names;
  for (int i = 10; i < 25; ++i) names.push_back("k" + std::to_string(i));
  One<TensorView> one;
  const BindReport report = try_bind(checkpoint_of(names).root(), one);
  CHECK(report.to_string().starts_with("failed: 0 applied\n1 missing:\n  x\n15 unused:\n  k10\n"));
  CHECK(report.to_string().find("\n  k19\n  ...\n1 errors:\n  x: missing") != std::string::npos);
  CHECK(report.to_string().find("k20") == std::string::npos);
}

TEST_CASE("bind: a report shows a similar unused name for a missing one") {
  Settings settings;
  const BindReport report =
      try_bind(checkpoint_of({"layerz", "other"}).root(), settings, {.missing = Missing::use_default});
  CHECK(report.ok());
  CHECK(report.to_string() ==
        "ok: 0 applied\n4 missing:\n  layers (did you mean 'layerz'?)\n  rate\n  arch\n  sizes\n2 unused:\n  layerz\n  "
        "other");
}

TEST_CASE("bind: two fields that read one storage get views of the same bytes") {
  Tied tied;
  // As PyTorch ties weights: one storage, two tensors.
  const TempFolder folder;
  const std::string shared = test::pickled_tensor("0", "FloatStorage", {2, 2});
  const Checkpoint checkpoint =
      open(folder.write("m.pt", test::TorchBuilder()
                                    .tensor("embedding", "FloatStorage", {2, 2}, std::string(16, 'x'))
                                    .value("head", shared)
                                    .build()));
  CHECK(bind(checkpoint, tied, {.strict = Strict::yes}).applied.size() == 2);
  CHECK(tied.head.shares_storage_with(tied.embedding));
  const Bytes head = tied.head.bytes();
  const Bytes embedding = tied.embedding.bytes();
  CHECK(head.data() == embedding.data());
}

TEST_CASE("bind: a null, as PyTorch writes an absent parameter, is an empty optional and not a tensor") {
  const TempFolder folder;
  const test::TorchBuilder builder =
      test::TorchBuilder().tensor("x.weight", "FloatStorage", {1}, "abcd").value("x.bias", "N");
  const Checkpoint checkpoint = open(folder.write("m.pt", builder.build()));
  const auto [report, linear] = bind_one<Linear>(checkpoint, {.strict = Strict::yes});
  CHECK(report.ok());
  CHECK_FALSE(linear.bias.has_value());
  CHECK(code_of<TensorView>(open(folder.write("n.pt", test::TorchBuilder().value("x", "N").build()))) ==
        ErrorCode::type_mismatch);
}

TEST_CASE("bind: binds a record with lists shared a million times, and bounds the walk over it") {
  // x = [a, a], a = [b, b], ... 20 deep: few objects, a million paths
  std::string pickle = test::pickled_int(1);
  for (int depth = 0; depth < 20; ++depth)
    pickle = "](" + pickle + "q" + static_cast<char>(depth) + "h" + static_cast<char>(depth) + "e";
  const TempFolder folder;
  test::ZipBuilder zip;
  zip.add("archive/data.pkl", "\x80\x02" + test::pickled_dict({{"x", pickle}}) + ".").add("archive/version", "3\n");
  OpenOptions options;
  options.limits.record_visits = 10'000;
  const Checkpoint bomb = open(folder.write("m.pt", zip.build()), options);
  One<Record> one;
  CHECK(bind(bomb, one).ok());
  CHECK(thrown_by([&] { return fields_of(one); }).code() == ErrorCode::limit_exceeded);
  One<std::optional<TensorView>> other;
  CHECK_FALSE(try_bind(bomb.root(), other).ok());
}

TEST_CASE("bind: unused keys are reported, and refused in strict mode") {
  const Checkpoint checkpoint = checkpoint_of({"x", "y", "z.a", "z.b"});
  const auto [report, x] = bind_one<TensorView>(checkpoint);
  CHECK(report.ok());
  CHECK(report.unused == std::vector<std::string>{"y", "z.a", "z.b"});
  const auto [strict, same] = bind_one<TensorView>(checkpoint, {.strict = Strict::yes});
  CHECK(strict.errors.size() == 3);
  One<TensorView> one;
  CHECK(thrown_by([&] { return bind(checkpoint, one, {.strict = Strict::yes}); }).message() ==
        "no field wants this key (and 2 more)");
}

TEST_CASE("bind: a key under an alias is used; two names at once are ambiguous") {
  One<Norm> norm;
  const Checkpoint scale = opened(SafetensorsBuilder().add("x.scale", "F32", {1}, "abcd"));
  CHECK(bind(scale, norm).unused.empty());
  CHECK(norm.x.gamma.size() == 1);
  const Checkpoint both =
      opened(SafetensorsBuilder().add("x.scale", "F32", {1}, "abcd").add("x.gamma", "F32", {1}, "abcd"));
  CHECK(code_of<Norm>(both) == ErrorCode::ambiguous);
}

TEST_CASE("bind: a typed slice requires its dtype, an untyped view accepts any") {
  const Checkpoint checkpoint = checkpoint_of({"x"});
  CHECK(bind_one<TensorView>(checkpoint).first.ok());
  CHECK(bind_one<Slice<std::uint8_t>>(checkpoint).second.size() == 1);
  CHECK(code_of<Slice<float>>(checkpoint) == ErrorCode::type_mismatch);
  CHECK(code_of<std::string>(checkpoint) == ErrorCode::type_mismatch);
  CHECK(code_of<Norm>(checkpoint) == ErrorCode::type_mismatch);
}

TEST_CASE("bind: numbers come from tensors of one element, of the same kind and in range") {
  const Checkpoint i64 = scalar("I64", test::packed<std::int64_t>({300}));
  CHECK(bind_one<std::int64_t>(i64).second == 300);
  CHECK(bind_one<std::uint16_t>(i64).second == 300);
  CHECK(code_of<std::uint8_t>(i64) == ErrorCode::out_of_range);
  CHECK(code_of<double>(i64) == ErrorCode::type_mismatch);
  CHECK(code_of<bool>(i64) == ErrorCode::type_mismatch);
  const Checkpoint minus = scalar("I8", test::packed<std::int8_t>({-128}), {1, 1});
  CHECK(bind_one<std::int8_t>(minus).second == -128);
  CHECK(code_of<unsigned>(minus) == ErrorCode::out_of_range);
  CHECK(bind_one<std::int64_t>(scalar("I64", test::packed<std::int64_t>({INT64_MIN}))).second == INT64_MIN);
  CHECK(bind_one<std::uint64_t>(scalar("U64", test::packed<std::uint64_t>({UINT64_MAX}))).second == UINT64_MAX);
  CHECK(code_of<std::int64_t>(scalar("U64", test::packed<std::uint64_t>({UINT64_MAX}))) == ErrorCode::out_of_range);
  CHECK(bind_one<float>(scalar("F64", test::packed<double>({0.1}))).second == 0.1f);
  CHECK(code_of<float>(scalar("F64", test::packed<double>({1e300}))) == ErrorCode::out_of_range);
  CHECK(bind_one<double>(scalar("F16", test::packed<std::uint16_t>({0x3C00}))).second == 1.0);
  CHECK(code_of<int>(scalar("F32", test::packed<float>({1}))) == ErrorCode::type_mismatch);
  CHECK(bind_one<bool>(scalar("BOOL", "\x02")).second);
  CHECK(code_of<int>(scalar("I32", test::packed<std::int32_t>({1, 2}), {2})) == ErrorCode::type_mismatch);
  CHECK(code_of<float>(scalar("C64", test::packed<float>({1, 2}))) == ErrorCode::type_mismatch);
}

TEST_CASE("bind: a failed bind does not change the value") {
  const auto [report, value] =
      bind_one<std::uint8_t>(scalar("I64", test::packed<std::int64_t>({300})), {}, std::uint8_t{7});
  CHECK(!report.ok());
  CHECK(value == 7);
}

namespace {

struct Demanding {
  TensorView x;
  double rate = 0;
  template <class Fields>
  void describe(Fields& f) {
    f("x", x)
        .shape({2, 3})
        .dtype(DType::f32)
        .adapter([](const TensorView& view) { return view.transpose(0, 1); },
                 [](const TensorView& view) { return view.transpose(0, 1); });
    f("rate", rate).from_integer().default_value(0.5);
  }
};

}  // namespace

TEST_CASE("bind: shape and dtype are checked after the field's adapter") {
  Demanding demanding;
  const auto try_shape = [&](std::vector<std::int64_t> shape, std::string_view dtype = "F32") {
    return try_bind(opened(SafetensorsBuilder().add("x", dtype, shape, std::string(24, 'x'))).root(), demanding);
  };
  CHECK(try_shape({3, 2}).ok());
  CHECK(demanding.x.strides() == Strides{1, 2});
  CHECK(demanding.rate == 0.5);
  const BindReport report = try_shape({2, 3});
  REQUIRE(report.errors.size() == 1);
  CHECK(report.errors[0].path == "x");
  CHECK(report.errors[0].message == "expected shape [2, 3], found [3, 2]");
  CHECK(try_shape({3, 2}, "I32").errors[0].code == ErrorCode::type_mismatch);
  CHECK(try_shape({6}).errors[0].code == ErrorCode::out_of_range);
}

TEST_CASE("bind: a real accepts an integer only on request and if exact") {
  Demanding demanding;
  const auto builder = [](std::int64_t rate) {
    return SafetensorsBuilder()
        .add("x", "F32", {3, 2}, std::string(24, 'x'))
        .add("rate", "I64", {}, test::packed<std::int64_t>({rate}));
  };
  CHECK(try_bind(opened(builder(3)).root(), demanding).ok());
  CHECK(demanding.rate == 3.0);
  CHECK(!try_bind(opened(builder((std::int64_t{1} << 53) + 1)).root(), demanding).ok());
  CHECK(try_bind(opened(builder(std::int64_t{1} << 60)).root(), demanding).ok());  // exact, however large
  CHECK(demanding.rate == 0x1p60);
  CHECK(try_bind(opened(builder(INT64_MIN)).root(), demanding).ok());
  CHECK(demanding.rate == -0x1p63);
}

TEST_CASE("bind: a float accepts an integer only if it is exact in a float") {
  Single single;
  CHECK(try_bind(scalar("I64", test::packed<std::int64_t>({1 << 25})).root(), single).ok());
  CHECK(single.x == 0x1p25f);
  CHECK(!try_bind(scalar("I64", test::packed<std::int64_t>({(1 << 25) + 1})).root(), single).ok());
  CHECK(!try_bind(scalar("U64", test::packed<std::uint64_t>({UINT64_MAX})).root(), single).ok());
}

TEST_CASE("bind: arrays require their length, vectors accept any, and gaps are accepted if they are closed") {
  const Checkpoint three = checkpoint_of({"x.0", "x.1", "x.2"});
  CHECK(bind_one<std::array<TensorView, 3>>(three).first.ok());
  CHECK(code_of<std::array<TensorView, 2>>(three) == ErrorCode::out_of_range);
  CHECK(bind_one<std::vector<TensorView>>(three).second.size() == 3);
  const Checkpoint gaps = checkpoint_of({"x.2", "x.10", "x.0"});
  CHECK(code_of<std::vector<TensorView>>(gaps) == ErrorCode::type_mismatch);
  const auto [report, closed] = bind_one<std::vector<TensorView>>(gaps, {.gaps = Gaps::close});
  CHECK(report.ok());
  CHECK(report.applied == std::vector<std::string>{"x.0", "x.2", "x.10"});
  CHECK(closed[2].name() == "x.10");
  CHECK(code_of<std::vector<TensorView>>(checkpoint_of({"x.0", "x.00"}), {.gaps = Gaps::close}) ==
        ErrorCode::ambiguous);
  CHECK(code_of<std::vector<TensorView>>(checkpoint_of({"x.0", "x.a"}), {.gaps = Gaps::close}) ==
        ErrorCode::type_mismatch);
  CHECK(code_of<std::vector<TensorView>>(checkpoint_of({"x"})) == ErrorCode::type_mismatch);
}

TEST_CASE("bind: maps take all children by their keys") {
  const auto [report, map] = bind_one<std::map<std::string, TensorView>>(checkpoint_of({"x.a", "x.b"}));
  CHECK(report.ok());
  CHECK(map.size() == 2);
  CHECK(map.at("b").name() == "x.b");
}

TEST_CASE("bind: missing containers and numbers are empty on request; tensors and structs never") {
  const Checkpoint checkpoint = checkpoint_of({"y"});
  const BindOptions lenient{.missing = Missing::use_default};
  CHECK(code_of<std::vector<TensorView>>(checkpoint) == ErrorCode::not_found);
  const auto [report, list] = bind_one<std::vector<TensorView>>(checkpoint, lenient, std::vector<TensorView>(3));
  CHECK(report.ok());
  CHECK(report.missing == std::vector<std::string>{"x"});
  CHECK(list.empty());
  CHECK(bind_one<int>(checkpoint, lenient, 5).second == 0);
  CHECK(bind_one<std::string>(checkpoint, lenient, "before").second.empty());
  CHECK(code_of<TensorView>(checkpoint, lenient) == ErrorCode::not_found);
  CHECK(code_of<Norm>(checkpoint, lenient) == ErrorCode::not_found);
  CHECK(code_of<std::array<int, 2>>(checkpoint, lenient) == ErrorCode::not_found);
  CHECK(!bind_one<std::optional<TensorView>>(checkpoint, {}, TensorView()).second);
}

TEST_CASE("bind: a record field is the subtree") {
  const auto [report, record] = bind_one<Record>(checkpoint_of({"x.a.b", "x.c"}));
  CHECK(report.ok());
  CHECK(report.unused.empty());
  CHECK(record.tensor_count() == 2);
  CHECK(record["a"]["b"].path() == "x.a.b");
}

namespace {

struct Gelu {
  TensorView a;
  template <class Fields>
  void describe(Fields& f) {
    f("a", a);
  }
};
struct Glu {
  TensorView a;
  TensorView b;
  template <class Fields>
  void describe(Fields& f) {
    f("a", a);
    f("b", b);
  }
};
struct Fitting {
  std::variant<Glu, Gelu> x;
  template <class Fields>
  void describe(Fields& f) {
    f("x", x).untagged();
  }
};
struct Tagged {
  std::variant<Glu, Gelu> x;
  template <class Fields>
  void describe(Fields& f) {
    f("x", x).tag("kind", {"glu", "gelu"});
  }
};

}  // namespace

TEST_CASE("bind: untagged uses the first matching alternative, and drops errors of the others") {
  Fitting fitting;
  const BindReport glu = bind(checkpoint_of({"x.a", "x.b"}), fitting);
  CHECK(fitting.x.index() == 0);
  CHECK(glu.applied.size() == 2);
  const BindReport gelu = bind(checkpoint_of({"x.a"}), fitting);
  CHECK(fitting.x.index() == 1);
  CHECK(gelu.applied == std::vector<std::string>{"x.a"});
  CHECK(gelu.missing.empty());
  CHECK(try_bind(checkpoint_of({"x.c"}).root(), fitting).errors.size() == 1);
}

TEST_CASE("bind: a tag selects the alternative, from the metadata if the tree has no text") {
  Tagged tagged;
  const auto with_kind = [](std::string_view kind) {
    return opened(SafetensorsBuilder().metadata("x.kind", kind).add("x.a", "U8", {1}, "x"));
  };
  CHECK(bind(with_kind("gelu"), tagged).ok());
  CHECK(tagged.x.index() == 1);
  CHECK(try_bind(with_kind("glu").root(), tagged).errors[0].path == "x.b");
  CHECK(try_bind(with_kind("relu").root(), tagged).errors[0].code == ErrorCode::out_of_range);
  CHECK(try_bind(checkpoint_of({"x.a"}).root(), tagged).errors[0].code == ErrorCode::not_found);
  CHECK(code_of<std::variant<Glu, Gelu>>(checkpoint_of({"x.a"})) == ErrorCode::out_of_range);
}

TEST_CASE("bind: texts come from metadata if the tree has none") {
  const Checkpoint checkpoint = opened(SafetensorsBuilder().metadata("x", "hello").add("y", "U8", {1}, "x"));
  CHECK(bind_one<std::string>(checkpoint).second == "hello");
}

namespace {

struct Layer {
  TensorView up;
  Slice<float> gamma;
  void describe(auto& f) {
    f("fc.weight", up);
    f("ln.gamma", gamma);
  }
};

struct Net {
  std::vector<Layer> net;
  void describe(auto& f) { f("layers", net); }
};

}  // namespace

TEST_CASE("bind: remapped and adapted checkpoints fill the same struct") {
  SafetensorsBuilder builder;
  builder.add("net.0.fc.weight", "F32", {2, 4}, std::string(32, 'x'))
      .add("net.0.ln.weight", "F32", {2}, std::string(8, 'y'));
  builder.add("net.3.fc.weight", "F32", {2, 4}, std::string(32, 'x'))
      .add("net.3.ln.weight", "F32", {2}, std::string(8, 'y'));
  builder.add("head.weight", "F32", {1}, "abcd");
  const Checkpoint mapped = remap(opened(builder), Remapping().add("^net\\.", "layers."), Indices::contiguous);
  const ModuleKinds kinds = ModuleKinds().add("*.fc", ModuleKind::linear).add("*.ln", ModuleKind::layer_norm);
  const Checkpoint adapted = adapt(mapped, pytorch_to_row_major_linear(kinds), Filter().matching("layers.*"));
  Net net;
  const BindReport report = bind(adapted, net);
  REQUIRE(net.net.size() == 2);
  CHECK(net.net[1].up.shape() == Shape{4, 2});
  CHECK(net.net[1].gamma.size() == 2);
  CHECK(report.skipped == std::vector<std::string>{"head.weight"});
  CHECK(report.unused.empty());
}

TEST_CASE("fields_of: returns a struct's tensors under its names, from which it binds again") {
  Model model;
  bind(opened(model_builder(2)).root()["model"], model);
  model.steps = 42;
  const FieldList fields = fields_of(model);
  REQUIRE(fields.tensors.size() == 8);
  CHECK(fields.tensors[0].name() == "layers.0.norm.gamma");
  CHECK(fields.tensors[0].shape() == Shape{2});
  CHECK(fields.tensors[7].name() == "steps");
  CHECK(fields.tensors[7].read<std::int64_t>() == 42);
  SafetensorsBuilder builder;
  static const std::map<DType, std::string> names{{DType::f32, "F32"}, {DType::bf16, "BF16"}, {DType::i64, "I64"}};
  for (const TensorView& view : fields.tensors) {
    const Bytes bytes = view.bytes();
    builder.add(view.name(), names.at(view.dtype()), {view.shape().begin(), view.shape().end()},
                {reinterpret_cast<const char*>(bytes.data()), bytes.size_bytes()});
  }
  Model again;
  CHECK(bind(opened(builder), again, {.strict = Strict::yes}).ok());
  CHECK(again.layers.size() == 2);
  CHECK(again.steps == 42);
  CHECK(again.layers[0].down.bias->read<bf16>(1).bits == model.layers[0].down.bias->read<bf16>(1).bits);
}

TEST_CASE("fields_of: texts and tags are metadata, writing adapters turn views back, unset views are refused") {
  Tagged tagged;
  tagged.x = Gelu{test::counting({1})};
  const FieldList fields = fields_of(tagged, "m");
  CHECK(fields.metadata == std::vector<std::pair<std::string, std::string>>{{"m.x.kind", "gelu"}});
  CHECK(fields.tensors[0].name() == "m.x.a");
  Demanding demanding;
  demanding.x = test::counting({2, 3});
  CHECK(fields_of(demanding).tensors[0].shape() == Shape{3, 2});
  CHECK(thrown_by([] { return fields_of(Gelu{}); }).code() == ErrorCode::out_of_range);
}

TEST_CASE("bind: metadata of GGUF and other trees bind as numbers, texts and lists") {
  test::GgufBuilder builder;
  builder.pair("layers", test::GgufValue::u32, builder.number(std::uint32_t{7}));
  builder.pair("rate", test::GgufValue::f32, builder.number(0.5f));
  builder.text("arch", "llama");
  builder.pair(
      "sizes", test::GgufValue::array,
      builder.array_head(test::GgufValue::i32, 2) + builder.number(std::int32_t{1}) + builder.number(std::int32_t{2}));
  const TempFolder folder;
  const Checkpoint checkpoint = open(folder.write("m.gguf", builder.build()));
  Settings settings;
  const BindReport report = bind(checkpoint.metadata(), settings, {.strict = Strict::yes});
  CHECK(settings.layers == 7);
  CHECK(settings.rate == 0.5f);
  CHECK(settings.arch == "llama");
  CHECK(settings.sizes == std::vector<int>{1, 2});
  CHECK(report.applied.size() == 5);
}
