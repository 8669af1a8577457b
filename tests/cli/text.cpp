#include "cli/text.hpp"

#include <array>
#include <limits>

#include <doctest/doctest.h>

#include "heft/error.hpp"

using namespace heft::cli;

TEST_CASE("text: formats and parses sizes in bytes") {
  CHECK(human_bytes(0) == "0 B");
  CHECK(human_bytes(999) == "999 B");
  CHECK(human_bytes(1000) == "1.00 KB");
  CHECK(human_bytes(999'999) == "1.00 MB");
  CHECK(human_bytes(2'471'645'608) == "2.47 GB");
  CHECK(bytes_from("5GB") == 5'000'000'000);
  CHECK(bytes_from("512 MiB") == 512u << 20);
  CHECK(bytes_from("1.5kb") == 1500);
  CHECK(bytes_from("17") == 17);
  for (const char* bad : {"", "GB", "-1", "5 parsecs", "1e99", "nan"})
    CHECK_THROWS_AS(static_cast<void>(bytes_from(bad)), heft::Error);
}

TEST_CASE("text: JSON strings are valid JSON whatever the bytes") {
  CHECK(json_text("plain é") == "\"plain é\"");
  CHECK(json_text("a\"b\\c\n\x01\x7f") == R"("a\"b\\c\n\u0001\u007f")");
  CHECK(json_text("\xff\xc3") == "\"\uFFFD\uFFFD\"");
  CHECK(json_text("\xC2\x9B"
                  "2J\xE2\x80\xAE\xD8\x9C") == R"("\u009b2J\u202e\u061c")");
}

TEST_CASE("text: JSON numbers keep their value and are spelled as reals") {
  CHECK(json_number(1.0) == "1.0");
  CHECK(json_number(0.1F) == "0.1");
  CHECK(json_number(1e300) == "1e+300");
  CHECK(json_number(-std::numeric_limits<double>::infinity()) == "\"-inf\"");
}

TEST_CASE("text: a table is aligned and shortens its first column") {
  const std::vector<std::vector<std::string>> rows = {{"a.very.long.name.of.a.tensor", "f32", "12"},
                                                      {"b", "bf16", "3"}};
  constexpr std::array<Column, 3> columns = {{{}, {}, {true}}};
  CHECK(table(columns, rows, 0) == "a.very.long.name.of.a.tensor  f32   12\nb                             bf16   3\n");
  const std::string narrow = table(columns, rows, 30);
  CHECK(narrow.find("a.very.lo..of.a.tensor") == std::string::npos);
  CHECK(narrow.substr(0, narrow.find('\n')).size() <= 30);
  CHECK(narrow.find("..") != std::string::npos);
}

TEST_CASE("text: integers of any length in decimal") {
  const auto of = [](std::initializer_list<int> bytes) {
    std::vector<std::byte> number;
    for (const int byte : bytes) number.push_back(static_cast<std::byte>(byte));
    return decimal(number);
  };
  CHECK(of({}) == "0");
  CHECK(of({0}) == "0");
  CHECK(of({0x7F}) == "127");
  CHECK(of({0x80}) == "-128");
  CHECK(of({0xFF, 0xFF}) == "-1");
  CHECK(of({0, 0, 0, 0, 0, 0, 0, 0, 1}) == "18446744073709551616");
  CHECK(of({0, 0, 0, 0, 0, 0, 0, 0, 0xFF}) == "-18446744073709551616");
}
