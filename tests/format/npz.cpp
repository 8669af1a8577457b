#include <doctest/doctest.h>

#include <vector>

#include "format/archive/inflate.hpp"
#include "format/formats.hpp"
#include "support/catalog_checks.hpp"
#include "support/fixtures.hpp"
#include "support/safetensors_builder.hpp"
#include "support/temp_folder.hpp"
#include "support/thrown.hpp"
#include "support/zip_builder.hpp"

using namespace heft;
using namespace heft::format;
using test::read_bytes;

namespace {

std::string npy(std::string_view descr, std::size_t count, std::string_view data) {
  std::string header =
      "{'descr': '" + std::string(descr) + "', 'fortran_order': False, 'shape': (" + std::to_string(count) + ",), }";
  header.resize(117, ' ');
  return "\x93NUMPY\x01" + std::string(1, '\0') + test::little(118, 2) + header + "\n" + std::string(data);
}

std::string zip_of(std::vector<test::ZipRecord> records) {
  test::ZipBuilder zip;
  zip.zip64_end = false;
  for (test::ZipRecord& record : records) zip.add(std::move(record));
  return zip.build();
}

const TensorEntry& tensor_of(const Catalog& catalog, std::string_view name) {
  for (const TensorEntry& tensor : catalog.tensors)
    if (tensor.name == name) return tensor;
  throw std::out_of_range(std::string(name));
}

/// The tensor's bytes: from the file, or from its member inflated here.
std::string payload(const Catalog& catalog, const TensorEntry& tensor, const std::string& file) {
  if (tensor.member == none) return file.substr(tensor.begin, tensor.size);
  const Member& member = catalog.members.at(tensor.member);
  const auto* deflated = reinterpret_cast<const std::byte*>(file.data()) + member.begin;
  std::string whole(member.full_size, '\0');
  inflate_into({deflated, member.size}, {reinterpret_cast<std::byte*>(whole.data()), whole.size()}, member.name);
  return whole.substr(tensor.begin, tensor.size);
}

bool matches(const std::string& file) {
  return npz_format.matches({reinterpret_cast<const std::byte*>(file.data()), std::min(file.size(), head_bytes)},
                            file.size());
}

}  // namespace

TEST_CASE("npz: maps stored arrays in place, and makes deflated ones members") {
  for (const bool deflate : {false, true}) {
    CAPTURE(deflate);
    const std::string file =
        zip_of({{.name = "x.npy", .content = npy("<f4", 2, "abcdefgh"), .deflate = deflate, .descriptor = false},
                {.name = "a/b.c.npy", .content = npy("<i2", 3, "123456"), .deflate = deflate},
                {.name = "readme", .content = "plain", .deflate = deflate}});
    CHECK(matches(file));
    const Catalog catalog = read_bytes(npz_format, file);
    test::SoundCatalog(catalog, file.size()).check();
    REQUIRE(catalog.tensors.size() == 3);
    CHECK(catalog.members.size() == (deflate ? 3 : 0));
    CHECK(tensor_of(catalog, "x").dtype == DType::f32);
    CHECK(payload(catalog, tensor_of(catalog, "x"), file) == "abcdefgh");
    CHECK(tensor_of(catalog, "a/b.c").dtype == DType::i16);
    CHECK(payload(catalog, tensor_of(catalog, "a/b.c"), file) == "123456");
    CHECK(tensor_of(catalog, "readme").dtype == DType::u8);
    CHECK(payload(catalog, tensor_of(catalog, "readme"), file) == "plain");
  }
}

TEST_CASE("npz: reads the head of a large deflated array from its first bytes, compressible or not") {
  for (const bool noise : {false, true}) {
    CAPTURE(noise);
    const std::string data = noise ? test::pattern(1u << 20) : std::string(1u << 20, 'x');
    const std::string file = zip_of({{.name = "x.npy", .content = npy("|u1", data.size(), data), .deflate = true}});
    const Catalog catalog = read_bytes(npz_format, file);
    CHECK(catalog.tensors.at(0).size == data.size());
    CHECK(payload(catalog, catalog.tensors[0], file) == data);
  }
}

TEST_CASE("npz: does not match other zips") {
  CHECK_FALSE(matches(zip_of({{.name = "archive/data.pkl", .content = "x"}})));
  CHECK_FALSE(matches(zip_of({})));
  CHECK_FALSE(matches("PK\x03\x04"));
}

TEST_CASE("npz: refuses hostile archives, each with its reason") {
  using enum ErrorCode;
  struct Hostile {
    const char* what;
    std::string bytes;
    ErrorCode code;
    const char* words;
  };
  const std::string array = npy("<f4", 2, "abcdefgh");
  const Hostile table[] = {
      {"a name twice", zip_of({{.name = "x.npy", .content = array}, {.name = "x.npy", .content = array}}), ambiguous,
       "x.npy"},
      {"a name twice, once without its ending",
       zip_of({{.name = "x.npy", .content = array}, {.name = "x", .content = array}}), ambiguous, "'x'"},
      {"an array of objects", zip_of({{.name = "x.npy", .content = npy("|O", 1, "pickle")}}), refused, "'x'"},
      {"a member that is no array", zip_of({{.name = "x.npy", .content = "no array at all"}}), corrupt, "NUMPY"},
      {"a deflated member that is no array", zip_of({{.name = "x.npy", .content = "no array at all", .deflate = true}}),
       corrupt, "NUMPY"},
      {"an empty member", zip_of({{.name = "x.npy", .content = ""}}), corrupt, "'x'"},
      {"an array longer than its member", zip_of({{.name = "x.npy", .content = npy("<f4", 3, "abcdefgh")}}), corrupt,
       "expected 12 bytes"},
      {"the same, deflated", zip_of({{.name = "x.npy", .content = npy("<f4", 3, "abcdefgh"), .deflate = true}}),
       corrupt, "expected 12 bytes"},
      {"a member that claims to inflate to 2^40 bytes",
       zip_of({{.name = "x.npy", .content = array, .deflate = true, .full_size = 1ull << 40}}), corrupt, "x"},
      {"a broken deflate stream",
       zip_of({{.name = "x.npy",
                .content = std::string(40, '\xFF'),
                .descriptor = false,
                .local_method = 8,
                .central_method = 8}}),
       corrupt, "deflate"},
      {"a name that climbs", zip_of({{.name = "../x.npy", .content = array}}), refused, ".."},
  };
  for (const Hostile& one : table) {
    CAPTURE(std::string(one.what));
    const Error error = test::thrown_by([&] { return read_bytes(npz_format, one.bytes); });
    CHECK(name(error.code()) == name(one.code));
    CHECK_MESSAGE(std::string_view(error.what()).find(one.words) != std::string_view::npos, std::string(error.what()));
  }
}

TEST_CASE("npz: an array of objects leaves the others readable, as a record without values, with a note") {
  for (const bool deflate : {false, true}) {
    CAPTURE(deflate);
    std::vector<test::ZipRecord> records{{.name = "w.npy", .content = npy("<f4", 2, "abcdefgh"), .deflate = deflate},
                                         {.name = "info.npy", .content = npy("|O", 1, "pickle"), .deflate = deflate}};
    const Catalog catalog = read_bytes(npz_format, zip_of(records));
    CHECK(catalog.tensors.size() == 1);
    REQUIRE(catalog.values.size() == 1);
    CHECK(catalog.values[0].name == "info");
    CHECK(catalog.node(catalog.values[0].node).kind == NodeKind::opaque);
    REQUIRE(catalog.notes.size() == 1);
    CHECK(catalog.notes[0].find("'info'") != std::string::npos);
    CHECK(catalog.notes[0].find("Python objects") != std::string::npos);
    for (int i = 0; i < 20; ++i)
      records.push_back({.name = std::to_string(i) + ".npy", .content = npy("|O", 1, "pickle")});
    const Catalog many = read_bytes(npz_format, zip_of(records));
    CHECK(many.values.size() == 21);
    CHECK(many.notes.size() == 9);
    CHECK(many.notes.back().find("13 more") != std::string::npos);
  }
}

TEST_CASE("npz: raw items take the dtype of their size that the caller names, and none that no array needs") {
  const std::string file = zip_of({{.name = "w.npy", .content = npy("<V2", 3, "abcdef")},
                                   {.name = "e.npy", .content = npy("|V1", 2, "ab"), .deflate = true},
                                   {.name = "x.npy", .content = npy("<f4", 2, "abcdefgh")}});
  const std::vector<DType> both = {DType::bf16, DType::f8_e4m3};
  const Catalog catalog = read_bytes(npz_format, file, {.numpy = {.raw_items = both}});
  CHECK(tensor_of(catalog, "w").dtype == DType::bf16);
  CHECK(tensor_of(catalog, "e").dtype == DType::f8_e4m3);
  CHECK(tensor_of(catalog, "x").dtype == DType::f32);
  CHECK(tensor_of(read_bytes(npz_format, file), "w").dtype == DType::unknown);
  const auto code_for = [&](std::vector<DType> dtypes) {
    return test::thrown_by([&] { static_cast<void>(read_bytes(npz_format, file, {.numpy = {.raw_items = dtypes}})); })
        .code();
  };
  CHECK(code_for({DType::bf16, DType::f16}) == ErrorCode::out_of_range);
  CHECK(code_for({DType::q4_0}) == ErrorCode::out_of_range);
  CHECK(code_for({DType::unknown}) == ErrorCode::out_of_range);
  CHECK(code_for({DType::f32}) == ErrorCode::type_mismatch);
}

TEST_CASE("npz: refuses every prefix, and no flipped bit reads outside the file") {
  const std::string file = zip_of({{.name = "x.npy", .content = npy("<f4", 2, "abcdefgh"), .descriptor = false},
                                   {.name = "y.npy", .content = npy("<i2", 3, "123456"), .deflate = true}});
  CHECK(test::readable_prefixes(npz_format, file) == 0);
  test::flip_every_bit(npz_format, file, file.size());
}

TEST_CASE("npz: numpy's archives have numpy's arrays, stored and deflated") {
  const auto folder = test::fixtures("numpy-1.24.2-output");
  if (!folder) return;
  const std::string stored = test::content_of(*folder / "stored.npz");
  const Catalog catalog = read_bytes(npz_format, stored);
  CHECK(matches(stored));
  CHECK(catalog.tensors.size() == 3);
  CHECK(payload(catalog, tensor_of(catalog, "x"), stored).substr(8, 8) == std::string("\x01\0\0\0\0\0\0\0", 8));
  CHECK(tensor_of(catalog, "w").dtype == DType::f32);
  CHECK(tensor_of(catalog, "a/b.c").dtype == DType::f64);
  const std::string deflated = test::content_of(*folder / "deflated.npz");
  const Catalog other = read_bytes(npz_format, deflated);
  CHECK(other.tensors.size() == 2);
  for (const char* name : {"x", "w"}) {
    CAPTURE(name);
    CHECK(payload(other, tensor_of(other, name), deflated) == payload(catalog, tensor_of(catalog, name), stored));
  }
}
