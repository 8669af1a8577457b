// The values of calls in a PyTorch pickle: known ones, opaque ones, refusals.
#include "format/torch/objects.hpp"

#include <doctest/doctest.h>

#include <string>
#include <vector>

#include "format/formats.hpp"
#include "heft/error.hpp"
#include "support/catalog_checks.hpp"
#include "support/pickle_builder.hpp"
#include "support/safetensors_builder.hpp"
#include "support/thrown.hpp"
#include "torch_reading.hpp"

using namespace heft;
using namespace heft::test;
using namespace heft::test::pickle;

namespace {

const std::string floats = packed<float>({1, 2, 3, 4});

/// A file whose object is that pickle, with two storages of 16 bytes.
std::string file_of(const std::string& object) { return torch_file(object, {floats, floats}); }

std::string vector_of(int count, std::string_view key = "0", std::string_view type = "FloatStorage") {
  return tensor(key, 16 / (type == "FloatStorage" ? 4 : type == "DoubleStorage" ? 8 : 1), 0, {count}, {1}, type);
}

std::string text_of(const format::Node* node) {
  REQUIRE(node != nullptr);
  return {node->text, node->count};
}

/// _rebuild_qtensor of a 4x4 tensor with that quantizer.
std::string quantized(const std::string& quantizer) {
  return call("torch._utils", "_rebuild_qtensor",
              {storage("QInt8Storage", "0", 16), integer(0), integers({4, 4}), integers({4, 1}), quantizer, "\x89",
               call("collections", "OrderedDict", {})});
}

std::string by_channel(int scales, int zero_points, int axis) {
  return tuple(
      {global("torch", "per_channel_affine"), vector_of(scales, "1"), vector_of(zero_points, "1"), integer(axis)});
}

}  // namespace

TEST_CASE("torch objects: an object of unknown class keeps its tensors and its name") {
  const std::string net =
      dict({text("net"), object("my.models", "Net", dict({text("w"), vector_of(4), text("depth"), integer(3)}))});
  const std::string file = file_of(net);
  const format::Catalog catalog = open_bytes(file);
  CHECK(elements_of(catalog, tensor_of(catalog, "net.state.w"), file) == floats);
  CHECK(text_of(value_of(catalog, "net.class")) == "my.models.Net");
  CHECK(value_of(catalog, "net.state.depth")->integer == 3);
  const Error error = thrown_by([&] { return open_bytes(file, {.torch = {.strict_globals = true}}); });
  CHECK(error.code() == ErrorCode::refused);
  CHECK(error.message().find("my.models.Net") != std::string::npos);
}

TEST_CASE("torch objects: strict_globals lists every unknown name once, and accepts PyTorch's") {
  const std::string evil = list(
      {call("os", "system", {text("x")}), call("os", "system", {text("y")}), call("builtins", "eval", {text("z")})});
  const std::string message =
      thrown_by([&] { return open_bytes(file_of(evil), {.torch = {.strict_globals = true}}); }).message();
  CHECK(message.find("os.system, builtins.eval") != std::string::npos);
  CHECK(message.find("os.system", message.find("os.system") + 1) == std::string::npos);
  for (const auto& [module, name] : {std::pair{"torch.sparse", "FloatTensor"},
                                     {"torch.cuda.sparse", "HalfTensor"},
                                     {"torch", "bits1x8"},
                                     {"torch", "uint7"},
                                     {"torch.cuda", "ByteStorage"},
                                     {"torch", "per_channel_affine_float_qparams"}}) {
    INFO(std::string(name));
    CHECK_NOTHROW(
        static_cast<void>(open_bytes(file_of(list({global(module, name)})), {.torch = {.strict_globals = true}})));
  }
  CHECK_THROWS_AS(static_cast<void>(open_bytes(file_of(list({global("torch.sparse", "anything")})),
                                               {.torch = {.strict_globals = true}})),
                  Error);
}

TEST_CASE("torch objects: a list that holds itself and a tensor is walked once") {
  const std::string cycle = std::string("]q\x01") +
                            "h\x01"
                            "a" +
                            vector_of(4) + "a";
  const format::Catalog catalog = open_bytes(file_of(cycle));
  REQUIRE(catalog.tensors.size() == 1);
  CHECK(catalog.tensors[0].name == "1");
}

TEST_CASE("torch objects: a few lists that expand to more tensors than memory holds reach a limit at once") {
  std::string bomb = list({vector_of(4), vector_of(4)});
  for (int level = 0; level < 60; ++level)
    bomb +=
        "q\x01"
        "0]h\x01"
        "ah\x01"
        "a";  // each list holds the one before it twice
  const Error error = thrown_by([&] { return open_bytes(file_of(bomb)); });
  CHECK(error.code() == ErrorCode::limit_exceeded);
  CHECK(error.message().find("tensors") != std::string::npos);
}

TEST_CASE("torch objects: the same bomb without a tensor is one value that is shared") {
  std::string bomb = list({integer(1)});
  for (int level = 0; level < 60; ++level)
    bomb +=
        "q\x01"
        "0]h\x01"
        "ah\x01"
        "a";
  const format::Catalog catalog = open_bytes(file_of(dict({text("x"), bomb})));
  CHECK(catalog.values.size() == 1);
  CHECK(catalog.nodes.size() < 200);
}

TEST_CASE("torch objects: quantized tensors are their integers beside their parameters") {
  const format::Catalog whole =
      open_bytes(file_of(dict({text("q"), quantized(tuple({global("torch", "per_tensor_affine"),
                                                           std::string("G\x3f\xe0\0\0\0\0\0\0", 9), integer(3)}))})));
  CHECK(tensor_of(whole, "q.int_repr").dtype == DType::qi8);
  CHECK(value_of(whole, "q.scale")->real == 0.5);
  CHECK(value_of(whole, "q.zero_point")->integer == 3);
  const format::Catalog channels = open_bytes(file_of(dict({text("q"), quantized(by_channel(4, 4, 0))})));
  CHECK(channels.tensors.size() == 3);
  CHECK(value_of(channels, "q.axis")->integer == 0);
  for (const std::string& wrong :
       {by_channel(3, 4, 0), by_channel(4, 3, 1), by_channel(4, 4, 2), by_channel(4, 4, -1),
        tuple({global("torch", "per_channel_affine"), integer(1), vector_of(4, "1"), integer(0)})})
    CHECK(thrown_by([&] { return open_bytes(file_of(dict({text("q"), quantized(wrong)}))); }).code() ==
          ErrorCode::corrupt);
}

TEST_CASE("torch objects: a storage of four-bit integers is counted in bytes, as PyTorch does, or in elements") {
  const auto file = [](int count) {
    return file_of(
        call("torch._utils", "_rebuild_tensor_v2",
             {storage("QUInt4x2Storage", "0", count), integer(0), integers({8, 4}), integers({4, 1}), "\x89", "N"}));
  };
  for (const int count : {16, 32, 31}) {
    INFO(count);
    CHECK(elements_of(open_bytes(file(count)), open_bytes(file(count)).tensors.at(0), file(count)) == floats);
  }
  for (const int count : {15, 17, 30, 33})
    CHECK(thrown_by([&] { return open_bytes(file(count)); }).code() == ErrorCode::corrupt);
}

TEST_CASE("torch objects: sparse, nested and meta tensors are their parts") {
  const std::string coo = call("torch._utils", "_rebuild_sparse_tensor",
                               {call("torch.serialization", "_get_layout", {text("torch.sparse_coo")}),
                                tuple({vector_of(4), vector_of(4, "1"), integers({9}), "\x88"})});
  const std::string ragged = call("torch._utils", "_rebuild_nested_tensor",
                                  {vector_of(4), vector_of(2, "1"), vector_of(2, "1"), vector_of(1, "1")});
  const std::string shapeless = call("torch._utils", "_rebuild_meta_tensor_no_storage",
                                     {global("torch", "float16"), integers({1000, 1000}), integers({1000, 1}), "\x89"});
  const format::Catalog catalog = open_bytes(file_of(dict({text("s"), coo, text("n"), ragged, text("m"), shapeless})));
  CHECK(text_of(value_of(catalog, "s.layout")) == "torch.sparse_coo");
  CHECK(value_of(catalog, "s.is_coalesced")->integer == 1);
  CHECK(tensor_of(catalog, "s.values").dtype == DType::f32);
  for (const char* part : {"n.buffer", "n.sizes", "n.strides", "n.offsets"})
    CHECK(tensor_of(catalog, part).dtype == DType::f32);
  CHECK((tensor_of(catalog, "m").flags & format::no_data) != 0);
  CHECK(tensor_of(catalog, "m").size == 0);
}

TEST_CASE("torch objects: refuses items and state on complete values") {
  struct Row {
    const char* what;
    std::string object;
    const char* words;
  };
  const std::string one = dict({text("a"), integer(1)});
  const std::vector<Row> rows = {
      {"items on a tensor", vector_of(4) + "(" + text("a") + integer(1) + "u", "tensor"},
      {"a state on a tensor", vector_of(4) + one + "b", "tensor"},
      {"list items on an OrderedDict", call("collections", "OrderedDict", {}) + integer(1) + "a", "list items"},
      {"an offset of text",
       call("torch._utils", "_rebuild_tensor_v2",
            {storage("FloatStorage", "0", 4), text("0"), integers({1}), integers({1}), "\x89", "N"}),
       "offset"},
      {"a tensor of a text",
       call("torch._utils", "_rebuild_tensor_v2", {text("0"), integer(0), integers({1}), integers({1}), "\x89", "N"}),
       "expected a storage"},
      {"a tensor of nothing", call("torch._utils", "_rebuild_tensor_v2", {}), "arguments"},
      {"a storage id that is a text", text("0") + "Q", "persistent id"},
      {"two counts for one storage", list({vector_of(4), tensor("0", 3, 0, {3}, {1})}), "12 bytes, found 16"}};
  for (const Row& row : rows) {
    INFO(std::string(row.what));
    const Error error = thrown_by([&] { return open_bytes(file_of(row.object)); });
    INFO(std::string(error.what()));
    CHECK(error.code() == ErrorCode::corrupt);
    CHECK(error.message().find(row.words) != std::string::npos);
  }
}

TEST_CASE("torch objects: a faulty tensor deep in a pickle is named by its path") {
  const std::string bad = tensor("0", 4, 3, {2}, {1});
  const Error error = thrown_by(
      [&] { return open_bytes(file_of(dict({text("model"), dict({text("layers"), list({vector_of(4), bad})})}))); });
  CHECK(error.tensor() == "model.layers.1");
}

TEST_CASE("torch objects: refuses equal names from dotted and nested keys") {
  CHECK(thrown_by([&] {
          return open_bytes(file_of(dict({text("a.b"), vector_of(4), text("a"), dict({text("b"), vector_of(4)})})));
        }).code() == ErrorCode::ambiguous);
  CHECK(thrown_by([&] {
          return open_bytes(file_of(dict({text("1"), vector_of(4), integer(1), vector_of(4)})));
        }).code() == ErrorCode::ambiguous);
  CHECK(thrown_by([&] { return open_bytes(file_of(dict({text("a"), vector_of(4), text("a"), integer(1)}))); }).code() ==
        ErrorCode::ambiguous);
}

TEST_CASE("torch objects: bytes in every encoding keep their kind") {
  const format::Catalog catalog = open_bytes(
      torch_file(dict({text("array"), std::string("\x96\x03\0\0\0\0\0\0\0abc", 12), text("bytes"), bytes("xyz"),
                       text("old"), call("_codecs", "encode", {text("h\xc3\xa9"), text("latin1")})})));
  CHECK(catalog.detail_of(*value_of(catalog, "array")) == "bytearray");
  CHECK(text_of(value_of(catalog, "array")) == "abc");
  CHECK(catalog.detail_of(*value_of(catalog, "bytes")) == "");
  CHECK(text_of(value_of(catalog, "old")) == "h\xe9");
  CHECK(thrown_by([&] { return open_bytes(torch_file(std::string("}\x96\0\0\0\0\0\0\0\0N", 11) + "s")); })
            .message()
            .find("hashable") != std::string::npos);
}

TEST_CASE("torch objects: top_level_key works in a bare pickle too, and its errors list the keys") {
  const std::string pickle =
      proto(4) + dict({text("state"), dict({text("epoch"), integer(1)}), text("n"), integer(2)}) + ".";
  const format::Catalog inner = open_bytes(pickle, {.torch = {.top_level_key = "state"}});
  REQUIRE(inner.values.size() == 1);
  CHECK(inner.values[0].name == "epoch");
  CHECK(thrown_by([&] { return open_bytes(pickle, {.torch = {.top_level_key = "n"}}); }).code() ==
        ErrorCode::type_mismatch);
  CHECK(thrown_by([&] { return open_bytes(pickle, {.torch = {.top_level_key = "none"}}); }).code() ==
        ErrorCode::not_found);
}
