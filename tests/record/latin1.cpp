// Arrays whose bytes a pickle spells as text: views of them, decoded where they are asked for.
#include <doctest/doctest.h>

#include <cstring>
#include <random>
#include <string>

#include "heft/checkpoint.hpp"
#include "record/support.hpp"
#include "support/numpy_pickles.hpp"
#include "support/pickle_builder.hpp"
#include "support/temp_folder.hpp"
#include "support/thrown.hpp"

using namespace heft;
using namespace heft::test::pickle;
using test::TempFolder;

namespace {

constexpr std::size_t array_bytes = 300'000;  // several blocks of text

std::string noise() {
  std::mt19937 random(11);
  std::string bytes(array_bytes, '\0');
  for (char& byte : bytes) byte = static_cast<char>(random());
  // Runs of small numbers, too, so that blocks differ in how many bytes they stand for.
  std::memset(bytes.data() + 100'000, 7, 90'000);
  return bytes;
}

/// {"a": array of u8} whose bytes are spelled as `utf8`.
std::string pickle_of(const std::string& utf8) {
  return dict({text("a"), numpy_array({static_cast<int>(array_bytes)}, numpy_dtype("u1", "|"), encoded(utf8))});
}

std::string text_of(const Bytes& bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), static_cast<std::size_t>(bytes.size_bytes())};
}

std::string zip_of(const std::string& object, bool deflate) {
  test::ZipBuilder zip;
  zip.add({.name = "archive/data.pkl", .content = proto() + object + ".", .deflate = deflate});
  return zip.add("archive/version", "3\n").build();
}

}  // namespace

TEST_CASE("latin1: reads any part of an array spelled as text, in any order") {
  const std::string expected = noise();
  const TempFolder folder;
  const std::string files[] = {zip_of(pickle_of(latin1_text(expected)), false),
                               zip_of(pickle_of(latin1_text(expected)), true),
                               proto() + pickle_of(latin1_text(expected)) + "."};
  for (const std::string& file : files)
    for (const Access access : {Access::map, Access::read}) {
      const auto path = folder.write("model.pt", file);
      const TensorView whole = open(path, {.access = access}).tensor("a");
      CHECK(whole.dtype() == DType::u8);
      std::mt19937 random(3);
      for (int round = 0; round < 40; ++round) {
        const auto begin = static_cast<std::int64_t>(random() % array_bytes);
        const auto end =
            begin + static_cast<std::int64_t>(random() % (array_bytes - static_cast<std::size_t>(begin) + 1));
        CHECK(text_of(whole.slice(0, begin, end).bytes()) ==
              expected.substr(static_cast<std::size_t>(begin), static_cast<std::size_t>(end - begin)));
      }
      CHECK(text_of(whole.bytes()) == expected);
      CHECK(whole.read<std::uint8_t>(array_bytes - 1) == static_cast<std::uint8_t>(expected.back()));
    }
}

TEST_CASE("latin1: text that does not spell the array's bytes is corrupt when they are asked for") {
  const std::string good = latin1_text(noise());
  const TempFolder folder;
  std::string strange = good;
  const std::size_t at = good.find(std::string(100, '\x07')) + 50;
  strange.replace(at, 3, "\xE2\x82\xAC");  // a character that is no byte, where three were
  const std::pair<std::string, const char*> wrong[] = {{strange, "not a byte"},
                                                       {good + "x", "before the text"},
                                                       {good.substr(0, at) + good.substr(at + 1), "after the text"}};
  for (const auto& [utf8, words] : wrong) {
    const Checkpoint opened = open(folder.write("model.pkl", proto() + pickle_of(utf8) + "."));
    CHECK(opened.tensor("a").slice(0, 0, 10).bytes().size_bytes() == 10);
    const Error error = test::thrown_by([&] { return opened.tensor("a").bytes(); });
    CHECK(error.code() == ErrorCode::corrupt);
    CHECK(error.tensor() == "a");
    CHECK(error.offset().has_value());
    CHECK_MESSAGE(std::string(error.what()).find(words) != std::string::npos, std::string(error.what()));
  }
}

TEST_CASE("latin1: opening does not read the text") {
  const TempFolder folder;
  // The array declares 300,000 bytes, and they are there; what stands in them is no text at all, and is not read.
  std::string utf8 = latin1_text(std::string(array_bytes, 'x'));
  std::memset(utf8.data() + 5'000, '\xFF', 200'000);
  const Checkpoint opened = open(folder.write("model.pkl", proto() + pickle_of(utf8) + "."));
  CHECK(opened.table_bytes() < 64'000);
  CHECK(text_of(opened.tensor("a").slice(0, 0, 3).bytes()) == "xxx");
}
