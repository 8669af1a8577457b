#include "format/archive/zip_directory.hpp"

#include <doctest/doctest.h>

#include <functional>
#include <string>
#include <vector>

#include "format/archive/inflate.hpp"
#include "format/catalog.hpp"
#include "heft/error.hpp"
#include "support/zip_builder.hpp"

using namespace heft;
using heft::test::little;
using heft::test::ZipBuilder;
using heft::test::ZipRecord;

namespace {

core::MemoryInput input_of(const std::string& file) {
  return core::MemoryInput(Bytes::copy_of(std::as_bytes(std::span(file))));
}

std::string text_of(const Bytes& bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), static_cast<std::size_t>(bytes.size_bytes())};
}

/// Reads everything in the archive: directory, local headers, contents.
std::vector<std::string> contents(const std::string& file, const Limits& limits = {}) {
  const core::MemoryInput input = input_of(file);
  format::ZipDirectory zip = format::read_zip(input, limits);
  std::vector<std::uint32_t> all;
  for (std::uint32_t i = 0; i < zip.entries.size(); ++i) all.push_back(i);
  format::locate(input, zip, all);
  std::vector<std::string> out;
  for (const format::ZipEntry& entry : zip.entries)
    out.push_back(
        text_of(format::read_entry(input, entry, limits.inflated_bytes, "inflated_bytes", limits.inflate_ratio)));
  return out;
}

ZipBuilder two_records() {
  ZipBuilder zip;
  zip.add({.name = "archive/data.pkl", .content = "the first record", .alignment = 64});
  zip.add({.name = "archive/data/0", .content = std::string(300, 'x'), .deflate = true, .alignment = 64});
  zip.add("archive/empty", "");
  return zip;
}

}  // namespace

TEST_CASE("zip: records stored, deflated and empty are read") {
  const auto read = contents(two_records().build());
  CHECK(read == std::vector<std::string>{"the first record", std::string(300, 'x'), ""});
}

TEST_CASE("zip: finds exact names only") {
  const format::ZipDirectory zip = format::read_zip(input_of(two_records().build()), {});
  CHECK(zip.find("archive/data/0") == 1);
  CHECK(zip.find("archive/DATA/0") == format::none);
  CHECK(zip.find("archive/data/1") == format::none);
  CHECK(zip.find("") == format::none);
  CHECK(format::common_folder(zip) == "archive");
}

TEST_CASE("zip: sizes and offsets in zip64 extra fields are read, with and without a zip64 end record") {
  for (const bool zip64_end : {true, false}) {
    ZipBuilder zip;
    zip.zip64_end = zip64_end;
    zip.add({.name = "a/b", .content = "wide", .zip64 = true}).add({.name = "a/c", .content = "also", .zip64 = true});
    CHECK(contents(zip.build()) == std::vector<std::string>{"wide", "also"});
  }
}

TEST_CASE("zip: a comment is legal") {
  ZipBuilder zip = two_records();
  zip.comment = "made by hand";
  CHECK(contents(zip.build()).size() == 3);
}

TEST_CASE("zip: saturated fields of the end record defer to the zip64 record") {
  ZipBuilder zip = two_records();
  zip.count = 0xFFFF;
  zip.directory_size = 0xFFFFFFFF;
  zip.directory_begin = 0xFFFFFFFF;
  CHECK(contents(zip.build()).size() == 3);
}

namespace {

struct Hostile {
  const char* what;
  std::function<std::string()> make;
  ErrorCode code;
  const char* words;
};

std::string with(ZipRecord record) {
  ZipBuilder zip;
  zip.add("a/first", "first").add(std::move(record)).add("a/last", "last");
  return zip.build();
}

std::string ending(const std::function<void(ZipBuilder&)>& change) {
  ZipBuilder zip = two_records();
  change(zip);
  return zip.build();
}

const std::vector<Hostile> hostile = {
    {"an empty file", [] { return std::string(); }, ErrorCode::corrupt, "end record"},
    {"no end record", [] { return std::string(100, 'x'); }, ErrorCode::corrupt, "no zip end record"},
    {"bytes after the end record", [] { return two_records().build() + "x"; }, ErrorCode::corrupt, "no zip end record"},
    {"bytes before the first record", [] { return "x" + two_records().build(); }, ErrorCode::corrupt, ""},
    {"a second end record in the comment",
     [] { return ending([](ZipBuilder& zip) { zip.comment = "PK\x05\x06" + std::string(18, '\0'); }); },
     ErrorCode::ambiguous, "two zip end records"},
    {"a gap after the directory", [] { return ending([](ZipBuilder& zip) { zip.gap = "gap"; }); }, ErrorCode::corrupt,
     "directory to end"},
    {"a count of the end record that lies", [] { return ending([](ZipBuilder& zip) { zip.count = 7; }); },
     ErrorCode::ambiguous, "zip entries"},
    {"a zip64 count too low",
     [] {
       return ending([](ZipBuilder& zip) {
         zip.zip64_count = 2;
         zip.count = 0xFFFF;
       });
     },
     ErrorCode::ambiguous, "expected 2 zip entries"},
    {"a zip64 count too high",
     [] {
       return ending([](ZipBuilder& zip) {
         zip.zip64_count = 4;
         zip.count = 0xFFFF;
       });
     },
     ErrorCode::corrupt, "do not fit"},
    {"a zip64 count beyond reason",
     [] {
       return ending([](ZipBuilder& zip) {
         zip.zip64_count = ~std::uint64_t{0};
         zip.count = 0xFFFF;
       });
     },
     ErrorCode::limit_exceeded, "zip_entries"},
    {"a zip64 count that cannot fit",
     [] {
       return ending([](ZipBuilder& zip) {
         zip.zip64_count = 1000;
         zip.count = 0xFFFF;
       });
     },
     ErrorCode::corrupt, "do not fit"},
    {"a directory past the end",
     [] {
       return ending([](ZipBuilder& zip) {
         zip.zip64_begin = 1u << 30;
         zip.directory_begin = 0xFFFFFFFF;
       });
     },
     ErrorCode::corrupt, "zip directory"},
    {"a directory whose end wraps",
     [] {
       return ending([](ZipBuilder& zip) {
         zip.zip64_size = ~std::uint64_t{0};
         zip.directory_size = 0xFFFFFFFF;
       });
     },
     ErrorCode::corrupt, "zip directory"},
    {"two directory offsets", [] { return ending([](ZipBuilder& zip) { zip.directory_begin = 3; }); },
     ErrorCode::ambiguous, "offset of the zip directory"},
    {"several disks", [] { return ending([](ZipBuilder& zip) { zip.disk = 1; }); }, ErrorCode::unsupported,
     "several disks"},
    {"a duplicate name", [] { return with({.name = "a/first", .content = "evil"}); }, ErrorCode::ambiguous,
     "another record"},
    {"a name that differs in case only", [] { return with({.name = "a/FIRST", .content = "evil"}); },
     ErrorCode::ambiguous, "another record"},
    {"NUL in a name", [] { return with({.name = std::string("a/x\0y", 5), .content = "evil"}); }, ErrorCode::ambiguous,
     "NUL"},
    {"a backslash in a name", [] { return with({.name = "a\\x", .content = "evil"}); }, ErrorCode::ambiguous,
     "backslash"},
    {"a name that climbs", [] { return with({.name = "a/../../x", .content = "evil"}); }, ErrorCode::refused, "climbs"},
    {"an absolute name", [] { return with({.name = "/etc/passwd", .content = "evil"}); }, ErrorCode::refused,
     "absolute"},
    {"a name that is not UTF-8", [] { return with({.name = "a/\xff", .content = "evil"}); }, ErrorCode::corrupt,
     "UTF-8"},
    {"an empty name", [] { return with({.name = "", .content = "evil"}); }, ErrorCode::corrupt, "empty name"},
    {"a local name of its own", [] { return with({.name = "a/x", .content = "evil", .local_name = "a/y"}); },
     ErrorCode::ambiguous, "another name"},
    {"a local method of its own", [] { return with({.name = "a/x", .content = "evil", .local_method = 8}); },
     ErrorCode::ambiguous, "compression method"},
    {"local flags of their own", [] { return with({.name = "a/x", .content = "evil", .local_flags = 0}); },
     ErrorCode::ambiguous, "flags"},
    {"a local size of its own",
     [] { return with({.name = "a/x", .content = "evil", .descriptor = false, .local_size = 3}); },
     ErrorCode::ambiguous, "size"},
    {"an encrypted record", [] { return with({.name = "a/x", .content = "evil", .flags = 0x0809}); },
     ErrorCode::unsupported, "encrypted"},
    {"a patched record", [] { return with({.name = "a/x", .content = "evil", .flags = 0x0828}); },
     ErrorCode::unsupported, "patched"},
    {"an unknown method",
     [] { return with({.name = "a/x", .content = "evil", .local_method = 99, .central_method = 99}); },
     ErrorCode::unsupported, "method 99"},
    {"stored with two sizes", [] { return with({.name = "a/x", .content = "evil", .full_size = 400}); },
     ErrorCode::corrupt, "stored, yet"},
    {"data that reach into the next record",
     [] { return with({.name = "a/x", .content = "evil", .size = 20, .full_size = 20}); }, ErrorCode::ambiguous,
     "next record"},
    {"data that reach past the file",
     [] { return with({.name = "a/x", .content = "evil", .size = 1u << 30, .full_size = 1u << 30}); },
     ErrorCode::ambiguous, "reach past"},
    {"a size that wraps",
     [] {
       return with({.name = "a/x",
                    .content = "evil",
                    .size = ~std::uint64_t{0},
                    .full_size = ~std::uint64_t{0},
                    .zip64 = true});
     },
     ErrorCode::ambiguous, "reach past"},
    {"two entries over one record", [] { return with({.name = "a/x", .content = "evil", .header = 0}); },
     ErrorCode::ambiguous, "reach past"},
    {"a header past the data", [] { return with({.name = "a/x", .content = "evil", .header = 1u << 20}); },
     ErrorCode::corrupt, "past the data"},
    {"a header in the middle of data",
     [] { return with({.name = "a/x", .content = std::string(200, 'x'), .size = 1, .full_size = 1, .header = 80}); },
     ErrorCode::corrupt, "no local header"},
    {"a wrong CRC", [] { return with({.name = "a/x", .content = "evil", .crc32 = 1}); }, ErrorCode::corrupt, "CRC-32"},
    {"a deflated record that says too little",
     [] { return with({.name = "a/x", .content = std::string(99, 'e'), .deflate = true, .full_size = 98}); },
     ErrorCode::corrupt, "more"},
    {"a deflated record that says too much",
     [] { return with({.name = "a/x", .content = std::string(99, 'e'), .deflate = true, .full_size = 100}); },
     ErrorCode::corrupt, "holds 99"},
    {"a deflated record that cannot be",
     [] { return with({.name = "a/x", .content = std::string(99, 'e'), .deflate = true, .full_size = 100'000'000}); },
     ErrorCode::limit_exceeded, "inflate_ratio"},
};

}  // namespace

TEST_CASE("zip: refuses hostile archives, each with its reason") {
  for (const Hostile& row : hostile) {
    INFO(std::string(row.what));
    try {
      contents(row.make());
      FAIL_CHECK("was accepted");
    } catch (const Error& error) {
      INFO(std::string(error.what()));
      CHECK(name(error.code()) == name(row.code));
      CHECK(error.message().find(row.words) != std::string::npos);
    }
  }
}

TEST_CASE("zip: a CRC of 0 is not recorded") {
  CHECK(contents(with({.name = "a/x", .content = "unsigned", .crc32 = 0}))[1] == "unsigned");
}

TEST_CASE("zip: a record without a folder, or in another one, has no common folder") {
  const auto folder_of = [](const char* second) {
    ZipBuilder zip;
    zip.add("a/x", "").add(second, "");
    return std::string(format::common_folder(format::read_zip(input_of(zip.build()), {})));
  };
  CHECK(folder_of("a/y") == "a");
  CHECK_THROWS_WITH(folder_of("y"), doctest::Contains("in a folder"));
  CHECK_THROWS_WITH(folder_of("b/y"), doctest::Contains("folder of the first"));
  CHECK_THROWS_WITH(format::common_folder(format::read_zip(input_of(ZipBuilder().build()), {})),
                    doctest::Contains("empty"));
}

TEST_CASE("zip: errors name the limit that was reached") {
  const std::string file = two_records().build();
  Limits limits;
  limits.zip_entries = 2;
  CHECK_THROWS_WITH(contents(file, limits), doctest::Contains("zip_entries"));
  limits = {};
  limits.zip_directory_bytes = 100;
  CHECK_THROWS_WITH(contents(file, limits), doctest::Contains("zip_directory_bytes"));
  limits = {};
  limits.zip_name_bytes = 13;
  CHECK_THROWS_WITH(contents(file, limits), doctest::Contains("zip_name_bytes"));
  limits = {};
  limits.inflated_bytes = 299;
  CHECK_THROWS_WITH(contents(file, limits), doctest::Contains("inflated_bytes"));
  limits = {};
  limits.inflate_ratio = 2;
  CHECK_THROWS_WITH(contents(file, limits), doctest::Contains("inflate_ratio"));
}

TEST_CASE("zip: refuses every prefix") {
  const std::string file = two_records().build();
  for (std::size_t size = 0; size < file.size(); ++size) {
    CAPTURE(size);
    CHECK_THROWS_AS(contents(file.substr(0, size)), Error);
  }
}

TEST_CASE("zip: a flipped bit is refused or does not change the content") {
  const std::string file = two_records().build();
  const auto right = contents(file);
  for (std::size_t bit = 0; bit < file.size() * 8; ++bit) {
    std::string flipped = file;
    flipped[bit / 8] = static_cast<char>(flipped[bit / 8] ^ (1 << (bit % 8)));
    CAPTURE(bit);
    try {
      const auto read = contents(flipped);
      CHECK(read == right);
    } catch (const Error& error) {
      CHECK(!error.message().empty());
    }
  }
}

TEST_CASE("zip: names chosen to collide do not make reading slow") {
  ZipBuilder zip;
  for (int i = 0; i < 20000; ++i) zip.add("a/" + std::to_string(i), "");
  const format::ZipDirectory directory = format::read_zip(input_of(zip.build()), {});
  for (int i = 0; i < 20000; ++i) REQUIRE(directory.find("a/" + std::to_string(i)) == static_cast<std::uint32_t>(i));
}

TEST_CASE("inflate: malformed, short and long streams are refused") {
  const std::string stream = test::deflated("hello, hello, hello");
  const auto bytes = std::as_bytes(std::span(stream));
  CHECK(text_of(format::inflate(bytes, 19, 1032, "x")) == "hello, hello, hello");
  CHECK_THROWS_AS(format::inflate(bytes.first(3), 19, 1032, "x"), Error);
  CHECK_THROWS_AS(format::inflate(bytes, 18, 1032, "x"), Error);
  CHECK_THROWS_AS(format::inflate(bytes, 20, 1032, "x"), Error);
  CHECK_THROWS_AS(format::inflate({}, ~std::uint64_t{0}, 1032, "x"), Error);
  const std::string longer = stream + "x";
  CHECK_THROWS_WITH(format::inflate(std::as_bytes(std::span(longer)), 19, 1032, "x"), doctest::Contains("ends after"));
}
