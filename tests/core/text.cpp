#include "core/text.hpp"

#include <vector>

#include <doctest/doctest.h>

#include "core/utf8.hpp"

using namespace heft::core;

TEST_CASE("text: escapes controls of terminals and logs, keeps printable text") {
  CHECK(escaped("model.layers.0") == "model.layers.0");
  CHECK(escaped("é中𝄞") == "é中𝄞");
  CHECK(escaped(std::string_view("\0\x07\x7f", 3)) == "\\x00\\x07\\x7f");
  CHECK(escaped("a\\b'c\r\n\t") == "a\\\\b\\'c\\r\\n\\t");
  CHECK(escaped("\xC2\x85") == "\\u0085");      // NEL, a C1 control
  CHECK(escaped("\xE2\x80\xAE") == "\\u202e");  // right-to-left override
  CHECK(escaped("\xC0\xAF\xED\xA0\x80") == "\\xc0\\xaf\\xed\\xa0\\x80");
}

TEST_CASE("text: every code point that controls a terminal or the order of letters is escaped, and no other") {
  const auto bad = [](char32_t c) {
    return c < 0x20 || (c >= 0x7F && c < 0xA0) || c == 0x61C || c == 0x200E || c == 0x200F ||
           (c >= 0x2028 && c <= 0x202E) || (c >= 0x2066 && c <= 0x2069);
  };
  for (char32_t c = 0; c < 0x3000; ++c) CHECK_MESSAGE(is_printable(c) == !bad(c), static_cast<std::uint32_t>(c));
}

TEST_CASE("text: a message is made printable, printable characters are kept") {
  CHECK(printable("expected 'a\\b', found \"é\"") == "expected 'a\\b', found \"é\"");
  CHECK(printable("two\nlines\x1b[31m\xC2\x9B\xFF") == "two\\nlines\\x1b[31m\\u009b\\xff");
  CHECK(printable(std::string(100'000, 'x')).size() < 10'000);
  CHECK(printable(printable("\xE2\x81\xA6 a\t")) == printable("\xE2\x81\xA6 a\t"));
}

TEST_CASE("text: cuts by characters, never inside one") {
  CHECK(escaped("ééé", 2) == "éé...");
  CHECK(escaped("abc", 3) == "abc");
}

TEST_CASE("text: UTF-8 as Unicode defines it") {
  CHECK(is_utf8("plain text that is longer than eight bytes"));
  CHECK(is_utf8("é中𝄞"));
  CHECK(is_utf8(std::string_view("\0", 1)));
  for (const char* bad : {"\x80", "\xC0\xAF", "\xC3", "\xE0\x80\xAF", "\xED\xA0\x80", "\xF0\x80\x80\x80",
                          "\xF4\x90\x80\x80", "\xF5\x80\x80\x80", "12345678\xFF"})
    CHECK(!is_utf8(bad));
}

TEST_CASE("text: code points at every border of UTF-8's lengths are encoded as they are decoded") {
  for (const std::uint32_t code :
       {0x0u, 0x7Fu, 0x80u, 0x7FFu, 0x800u, 0xD7FFu, 0xE000u, 0xFFFFu, 0x10000u, 0x10FFFFu}) {
    std::string text;
    append_utf8(text, code);
    const CodePoint decoded = first_code_point(text);
    CHECK(decoded.value == code);
    CHECK(decoded.length == text.size());
  }
}

TEST_CASE("text: the article depends on the first letter") {
  CHECK(with_article("list") == "a list");
  CHECK(with_article("opaque record") == "an opaque record");
}

TEST_CASE("text: counts have a singular") {
  CHECK(counted(0, "tensor") == "0 tensors");
  CHECK(counted(1, "tensor") == "1 tensor");
  CHECK(counted(2, "metadata value") == "2 metadata values");
  CHECK(counted_are(1, "tensor") == "1 tensor is");
  CHECK(counted_are(12, "tensor") == "12 tensors are");
}

TEST_CASE("text: an arena does not move its strings") {
  Arena arena;
  std::vector<std::string_view> kept;
  std::vector<std::string> wanted;
  for (int i = 0; i < 20'000; ++i)
    wanted.push_back(std::string(static_cast<std::size_t>(i % 40), 'x') + std::to_string(i));
  wanted.push_back(std::string(1 << 20, 'y'));
  for (const std::string& text : wanted) kept.push_back(arena.store(text));
  for (std::size_t i = 0; i < wanted.size(); ++i) CHECK(kept[i] == wanted[i]);
  CHECK(arena.store("").empty());
  CHECK(arena.size_bytes() >= 1 << 20);
}
