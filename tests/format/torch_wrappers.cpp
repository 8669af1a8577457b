// Tensor subclasses that wrap tensors, and NumPy's arrays, in PyTorch's pickles.
#include <doctest/doctest.h>

#include <algorithm>
#include <optional>
#include <string>
#include <vector>

#include "format/formats.hpp"
#include "format/pickle/latin1.hpp"
#include "support/catalog_checks.hpp"
#include "support/numpy_pickles.hpp"
#include "support/pickle_builder.hpp"
#include "support/thrown.hpp"

using namespace heft;
using namespace heft::format;
using namespace heft::test::pickle;
using test::read_bytes;

namespace {

std::vector<std::string> names_of(const Catalog& catalog) {
  std::vector<std::string> names;
  for (const TensorEntry& tensor : catalog.tensors) names.emplace_back(tensor.name);
  std::sort(names.begin(), names.end());
  return names;
}

const TensorEntry& named(const Catalog& catalog, std::string_view name) {
  const auto found = std::ranges::find(catalog.tensors, name, &TensorEntry::name);
  REQUIRE(found != catalog.tensors.end());
  return *found;
}

/// torch._tensor._rebuild_from_type_v2(_rebuild_wrapper_subclass, class, (class, dtype, size, ...), state)
std::string wrapper(const std::string& type, const std::vector<int>& size, const std::string& state) {
  const std::string arguments =
      tuple({type, global("torch", "bfloat16"), integers(size), integers({1}), integer(0), "N", "N", "\x89"});
  return call("torch._tensor", "_rebuild_from_type_v2",
              {global("torch._utils", "_rebuild_wrapper_subclass"), type, arguments, state});
}

std::string dtensor(const std::vector<int>& size, const std::string& local,
                    const std::vector<std::string>& placements) {
  const std::string mesh = object("torch.distributed.device_mesh", "DeviceMesh",
                                  dict({text("mesh"), tensor("9", 2, 0, {2}, {1}, "LongStorage")}));
  const std::string spec = object("torch.distributed.tensor._dtensor_spec", "DTensorSpec",
                                  dict({text("mesh"), mesh, text("placements"), tuple(placements)}));
  return wrapper(global("torch.distributed.tensor", "DTensor"), size,
                 tuple({"N", dict({text("_local_tensor"), local, text("_spec"), spec})}));
}

std::string shard(int dim) {
  return object("torch.distributed.tensor.placement_types", "Shard", dict({text("dim"), integer(dim)}));
}
std::string replicate() { return global("torch.distributed.tensor.placement_types", "Replicate") + ")\x81"; }
std::string partial() {
  return object("torch.distributed.tensor.placement_types", "Partial", dict({text("reduce_op"), text("sum")}));
}

/// A file whose storages are "0" and, for meshes, "9".
Catalog read_with_mesh(const std::string& object) {
  test::ZipBuilder zip;
  zip.add({.name = "archive/data.pkl", .content = proto() + object + "."});
  zip.add({.name = "archive/data/0", .content = std::string(16, 'x')});
  zip.add({.name = "archive/data/9", .content = std::string(16, 'm')});
  const std::string file = zip.add("archive/version", "3\n").build();
  Catalog catalog = read_bytes(torch_zip_format, file);
  test::SoundCatalog(catalog, file.size()).check();
  return catalog;
}

/// The array's bytes, be they the file's or a member's.
std::string payload(const Catalog& catalog, const TensorEntry& entry, const std::string& file) {
  if (entry.member == none) return file.substr(entry.begin, entry.size);
  const Member& member = catalog.members.at(entry.member);
  if (!member.is_latin1) {
    const auto bytes = member.made.span().subspan(entry.begin, entry.size);
    return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
  }
  std::string decoded(member.full_size, '\0');
  const Latin1Progress done = decode_latin1(std::as_bytes(std::span(file)).subspan(member.begin, member.size),
                                            std::as_writable_bytes(std::span(decoded)));
  CHECK(done.read == member.size);
  CHECK(done.written == member.full_size);
  return decoded.substr(entry.begin, entry.size);
}

}  // namespace

TEST_CASE("wrappers: names the tensors of a subclass by its fields, at any depth") {
  const std::string type = global("mylib.quant", "Two");
  const std::string inner =
      wrapper(type, {2}, dict({text("q"), tensor("0", 4, 0, {2}, {1}), text("s"), tensor("0", 4, 2, {1}, {1})}));
  const Catalog catalog =
      read_with_mesh(dict({text("lin.weight"), wrapper(type, {2, 2},
                                                       dict({text("qdata"), tensor("0", 4, 0, {2, 2}, {2, 1}),
                                                             text("inner"), inner, text("block"), integer(32)}))}));
  CHECK(names_of(catalog) == std::vector<std::string>{"lin.weight.inner.q", "lin.weight.inner.s", "lin.weight.qdata"});
  CHECK(std::ranges::find(catalog.values, "lin.weight.block", &Value::name) != catalog.values.end());
  CHECK(std::ranges::find(catalog.values, "lin.weight.class", &Value::name) != catalog.values.end());
  CHECK(catalog.notes.empty());
}

TEST_CASE("wrappers: a whole DTensor keeps its name, and its mesh is not a weight") {
  const std::string local = tensor("0", 4, 0, {2, 2}, {2, 1});
  for (const auto& placements :
       {std::vector{replicate()}, std::vector{shard(0)}, std::vector{replicate(), replicate()}}) {
    const Catalog catalog =
        read_with_mesh(dict({text("w"), dtensor({2, 2}, local, placements), text("v"), tensor("0", 4, 0, {1}, {1})}));
    CHECK(names_of(catalog) == std::vector<std::string>{"v", "w"});
    CHECK(catalog.notes.empty());
  }
}

TEST_CASE("wrappers: a part of a DTensor is named as one, with a note") {
  const std::string local = tensor("0", 4, 0, {2, 2}, {2, 1});
  for (const auto& [size, placements] : {std::pair{std::vector{4, 2}, std::vector{shard(0)}},
                                         {std::vector{2, 2}, std::vector{partial()}},
                                         {std::vector{2, 4}, std::vector{replicate(), shard(1)}}}) {
    const Catalog catalog = read_with_mesh(dict({text("w"), dtensor(size, local, placements)}));
    CHECK(names_of(catalog) == std::vector<std::string>{"w._local_tensor"});
    REQUIRE(catalog.notes.size() == 1);
    CHECK(catalog.notes[0].find("'w' is a shard") != std::string::npos);
  }
}

TEST_CASE("wrappers: a mesh alone has no weights") {
  const Catalog catalog = read_with_mesh(dict({text("mesh"),
                                               object("torch.distributed.device_mesh", "DeviceMesh",
                                                      dict({text("mesh"), tensor("9", 2, 0, {2}, {1}, "LongStorage")})),
                                               text("v"), tensor("0", 4, 0, {1}, {1})}));
  CHECK(names_of(catalog) == std::vector<std::string>{"v"});
}

TEST_CASE("numpy in pickles: arrays of protocol 2, short and long, are tensors") {
  std::string bytes(20'000, '\0');
  for (std::size_t i = 0; i < bytes.size(); ++i) bytes[i] = static_cast<char>(i * 7);
  const std::string object =
      dict({text("short"), numpy_array({2, 3}, numpy_dtype("f4"), spelled_bytes(bytes.substr(0, 24))), text("long"),
            numpy_array({5'000}, numpy_dtype("f4"), spelled_bytes(bytes)), text("columns"),
            numpy_array({2, 2}, numpy_dtype("i2", ">"), spelled_bytes("abcdefgh"), true), text("bf"),
            numpy_array({4},
                        call("numpy", "dtype", {global("ml_dtypes", "bfloat16"), "\x89", "\x88"}) +
                            tuple({integer(3), text("<"), "N", "N", "N"}) + "b",
                        spelled_bytes("abcdefgh")),
            text("empty"), numpy_array({0, 2}, numpy_dtype("f8"), spelled_bytes("")), text("step"),
            call("numpy._core.multiarray", "scalar",
                 {numpy_dtype("i8"), spelled_bytes(std::string("\x07\0\0\0\0\0\0\0", 8))})});
  for (const bool deflate : {false, true}) {
    CAPTURE(deflate);
    test::ZipBuilder zip;
    zip.add({.name = "archive/data.pkl", .content = proto() + object + ".", .deflate = deflate});
    const std::string file = zip.add("archive/version", "3\n").build();
    const Catalog catalog = read_bytes(torch_zip_format, file);
    test::SoundCatalog(catalog, file.size()).check();
    CHECK(names_of(catalog) == std::vector<std::string>{"bf", "columns", "empty", "long", "short"});
    CHECK(named(catalog, "bf").dtype == DType::bf16);
    CHECK(payload(catalog, named(catalog, "short"), file) == bytes.substr(0, 24));
    CHECK(payload(catalog, named(catalog, "columns"), file) == "abcdefgh");
    CHECK((named(catalog, "columns").flags & swapped) != 0);
    CHECK((named(catalog, "columns").flags & strided) != 0);
    CHECK(named(catalog, "empty").size == 0);
    const Member& member = catalog.members.at(named(catalog, "long").member);
    CHECK(member.is_latin1);
    CHECK(member.full_size == bytes.size());
    CHECK((member.inside != none) == deflate);
    if (!deflate) CHECK(payload(catalog, named(catalog, "long"), file) == bytes);
    REQUIRE(catalog.values.size() == 1);
    CHECK(catalog.node(catalog.values[0].node).integer == 7);
  }
}

TEST_CASE("numpy in pickles: arrays without numbers are records, with one note that counts and names them") {
  const std::string structured =
      call("numpy", "dtype", {text("V8"), "\x89", "\x88"}) +
      tuple({integer(3), text("|"), "N", tuple({text("a")}), dict({text("a"), integer(0)}), integer(8)}) + "b";
  const std::string words = numpy_array({2}, numpy_dtype("U1"), spelled_bytes(std::string("a\0\0\0b\0\0\0", 8)));
  const std::string objects = numpy_array({2}, numpy_dtype("O8", "|"), list({text("x"), "N"}));
  const std::string numbers = numpy_array({2}, numpy_dtype("f4"), spelled_bytes("abcdefgh"));
  const Catalog mixed = read_bytes(
      torch_zip_format,
      torch_file(dict({text("w"), numbers, text("vocab"), words, text("config"), dict({text("layers"), objects}),
                       text("rows"), numpy_array({1}, structured, spelled_bytes("abcdefgh")), text("times"),
                       numpy_array({1}, numpy_dtype("M8"), spelled_bytes("abcdefgh"))})));
  CHECK(names_of(mixed) == std::vector<std::string>{"w"});
  REQUIRE(mixed.notes.size() == 1);
  CHECK(mixed.notes[0] ==
        "4 arrays of NumPy without numbers are records, not tensors: 'vocab' (<U1), "
        "'config.layers' (|O8), 'rows' (structured) and 1 more");
  CHECK(read_bytes(torch_zip_format, torch_file(dict({text("w"), numbers}))).notes.empty());
  const std::string pickled = proto() + dict({text("w"), words}) + ".";
  const Catalog one = read_bytes(pickle_format, pickled);
  REQUIRE(one.notes.size() == 1);
  CHECK(one.notes[0] == "1 array of NumPy without numbers is a record, not a tensor: 'w' (<U1)");
  // What is left out by the caller's choice is no loss.
  const std::string nested = torch_file(dict({text("vocab"), words, text("model"), dict({text("w"), numbers})}));
  CHECK(read_bytes(torch_zip_format, nested, {.torch = {.top_level_key = "model"}}).notes.empty());
}

TEST_CASE("pickles: refuses joblib's files by name, with one array or several") {
  const auto joblib_array = [](std::string_view type) {
    return object("joblib.numpy_pickle", type, dict({text("shape"), integers({2}), text("order"), text("C")}));
  };
  const std::string raw("\xF0\x9F\xFF\x01 raw bytes", 14);
  const std::string files[] = {
      proto(4) + joblib_array("NumpyArrayWrapper") + raw + ".",
      proto(3) + dict({text("a"), integer(1), text("w"), joblib_array("NumpyArrayWrapper") + raw}) + ".",
      proto(3) + joblib_array("NDArrayWrapper") + ".",
  };
  for (const std::string& file : files) {
    const Error error = test::thrown_by([&] { static_cast<void>(read_bytes(pickle_format, file)); });
    CHECK(error.code() == ErrorCode::unsupported);
    CHECK(error.message().find("a file of joblib") != std::string::npos);
    CHECK(error.message().find("load it with joblib") != std::string::npos);
  }
  CHECK_NOTHROW(static_cast<void>(read_bytes(
      pickle_format, proto() + dict({text("by"), text("joblib.numpy_pickle"), text("n"), integer(1)}) + ".")));
}

TEST_CASE("numpy in pickles: text that cannot be the array's bytes is corrupt at open") {
  for (const int count : {4'999, 10'001, 20'000}) {
    const Error error = test::thrown_by([&] {
      static_cast<void>(read_bytes(
          torch_zip_format, torch_file(dict({text("a"), numpy_array({count}, numpy_dtype("f4"),
                                                                    spelled_bytes(std::string(40'000 - 1, 'x')))}))));
    });
    CHECK(error.code() == ErrorCode::corrupt);
    CHECK(error.tensor() == "a");
  }
}

TEST_CASE("numpy in pickles: an array that two names share is one member") {
  const std::string long_array = numpy_array({5'000}, numpy_dtype("f4"), spelled_bytes(std::string(20'000, '\xFF')));
  const std::string object = "}(" + text("a") + long_array + "q\x01" + text("b") + "h\x01u";
  const Catalog catalog = read_bytes(torch_zip_format, torch_file(object));
  CHECK(catalog.tensors.size() == 2);
  CHECK(catalog.members.size() == 1);
}

TEST_CASE("pickles: long bytes that are not arrays are values") {
  const std::string bytes(9'000, '\xC3');
  const Catalog catalog =
      read_bytes(torch_zip_format,
                 torch_file(dict({text("raw"), spelled_bytes(bytes), text("plain"), test::pickle::bytes(bytes)})));
  REQUIRE(catalog.values.size() == 2);
  for (const Value& value : catalog.values) {
    const Node node = catalog.node(value.node);
    CHECK(node.kind == NodeKind::bytes);
    CHECK(std::string_view(node.text, node.count) == bytes);
  }
}

TEST_CASE("pickles: long bytes do not count as metadata") {
  Limits limits;
  limits.pickle_bytes = 4'000;
  const std::string file =
      torch_file(dict({text("a"), numpy_array({25'000}, numpy_dtype("f4"), spelled_bytes(std::string(100'000, 'x')))}));
  CHECK(read_bytes(
            pickle_format,
            proto() +
                dict({text("a"), numpy_array({25'000}, numpy_dtype("f4"), spelled_bytes(std::string(100'000, 'x')))}) +
                ".",
            {.limits = limits})
            .tensors.size() == 1);
  const std::string text_value = proto() + dict({text("a"), text(std::string(100'000, 'x'))}) + ".";
  CHECK(test::thrown_by([&] { static_cast<void>(read_bytes(pickle_format, text_value, {.limits = limits})); }).code() ==
        ErrorCode::limit_exceeded);
}

TEST_CASE("pickles: compares the checksum of a long pickle at open, unless arrays in it were skipped") {
  std::string texts;
  for (int i = 0; i < 60'000; ++i) texts += text("a text of twenty-odd bytes");
  const std::string long_list = proto() + "](" + texts + "e.";
  const std::string with_array =
      proto() +
      dict({text("t"), "](" + texts + "e", text("a"),
            numpy_array({5'000'000}, numpy_dtype("u1", "|"), spelled_bytes(std::string(5'000'000, 'x')))}) +
      ".";
  for (const std::string& content : {long_list, with_array}) {
    const bool has_array = content.size() > 5'000'000;
    const auto file = [&](std::optional<std::uint32_t> crc32) {
      test::ZipBuilder zip;
      zip.add({.name = "archive/data.pkl", .content = content, .crc32 = crc32});
      return zip.add("archive/version", "3\n").build();
    };
    CHECK(read_bytes(torch_zip_format, file({})).checksums.size() == (has_array ? 1 : 0));
    if (has_array) continue;
    const Error error = test::thrown_by([&] { static_cast<void>(read_bytes(torch_zip_format, file(7))); });
    CHECK(error.code() == ErrorCode::corrupt);
    CHECK(std::string(error.what()).find("CRC-32") != std::string::npos);
  }
}

TEST_CASE("pickles: the leaves keep the order of their dicts") {
  const Catalog catalog =
      read_with_mesh(dict({text("epoch"), integer(3), text("b"), tensor("9", 2, 0, {2}, {1}, "LongStorage"), text("lr"),
                           integer(1), text("a"), tensor("0", 4, 0, {4}, {1})}));
  REQUIRE(catalog.order.size() == 4);
  const auto name_of = [&](std::uint32_t leaf) {
    return (leaf & order_of_value) != 0 ? catalog.values.at(leaf & ~order_of_value).name
                                        : catalog.tensors.at(leaf).name;
  };
  CHECK(catalog.tensors[0].name == "a");  // by place
  const char* expected[] = {"epoch", "b", "lr", "a"};
  for (std::size_t i = 0; i < 4; ++i) CHECK(name_of(catalog.order[i]) == expected[i]);
}

TEST_CASE("latin1: decodes every byte, in pieces of any size, and stops at other characters") {
  std::string all, utf8;
  for (int i = 0; i < 512; ++i) all += static_cast<char>(i * 3);
  for (const char c : all) {
    const auto byte = static_cast<unsigned char>(c);
    if (byte < 0x80)
      utf8 += c;
    else
      utf8 += {static_cast<char>(0xC0 | byte >> 6), static_cast<char>(0x80 | (byte & 0x3F))};
  }
  const auto text = std::as_bytes(std::span(utf8));
  CHECK(count_latin1(text) == all.size());
  for (const std::size_t step : {1, 3, 8, 100, 512}) {
    std::string decoded;
    std::size_t at = 0;
    while (decoded.size() < all.size()) {
      std::string part(std::min(step, all.size() - decoded.size()), '\0');
      const Latin1Progress done = decode_latin1(text.subspan(at), std::as_writable_bytes(std::span(part)));
      REQUIRE(done.written == part.size());
      at += done.read;
      decoded += part;
    }
    CHECK(decoded == all);
  }
  for (const std::string_view wrong : {"ab\xC4\x80", "ab\xC2", "ab\x80", "ab\xC3 ", "ab\xFF"}) {
    std::string into(8, '\0');
    const Latin1Progress done = decode_latin1(std::as_bytes(std::span(wrong)), std::as_writable_bytes(std::span(into)));
    CHECK(done.read == 2);
    CHECK(done.written == 2);
  }
}
