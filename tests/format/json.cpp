#include <random>

#include <fmt/format.h>
#include <simdjson.h>

#include "format/json/reader.hpp"
#include "format/reading.hpp"

namespace heft {
namespace {

namespace json = format::json;

Bytes bytes_of(std::string_view text) { return Bytes::copy_of(std::as_bytes(std::span(text))); }

// Reads a text whole, or gives what is wrong with it.
std::optional<Error> refusal(std::string_view text, const Limits& limits = {}) {
  try {
    json::Document document(bytes_of(text), 0, limits);
    document.members([](const json::Key&, json::Value& value) { value.skip("value"); });
    return std::nullopt;
  } catch (const Error& error) {
    return error;
  }
}

// The only member of `{"x": TEXT}`, read by `read`.
template <class Read>
auto value_of(std::string_view text, Read read) {
  const Limits limits;
  json::Document document(bytes_of(fmt::format("{{\"x\":{}}}", text)), 0, limits);
  std::optional<decltype(read(std::declval<json::Value&>()))> result;
  document.members([&](const json::Key&, json::Value& value) { result = read(value); });
  return *result;
}

std::string text_of(std::string_view text) {
  return value_of(text, [](json::Value& value) { return std::string(value.text("x")); });
}

TEST_CASE("json: decodes escapes of strings at any place in a word of eight") {
  for (std::size_t lead = 0; lead < 20; ++lead) {
    CAPTURE(lead);
    const std::string a(lead, 'a');
    CHECK(text_of("\"" + a + "\"") == a);
    CHECK(text_of("\"" + a + "\\\"\\\\\\/\\b\\f\\n\\r\\t" + a + "\"") == a + "\"\\/\b\f\n\r\t" + a);
    CHECK(text_of("\"" + a + "\\u0041\\u00e9\\u20AC\\ud83d\\uDE00" + a + "\"") ==
          a + "A\xC3\xA9\xE2\x82\xAC\xF0\x9F\x98\x80" + a);
    CHECK(text_of("\"" + a + "\\u0000\"") == a + std::string(1, '\0'));
    CHECK(text_of("\"" + a + "\xC3\xA9\x7F~ !#[]\"") == a + "\xC3\xA9\x7F~ !#[]");
    CHECK(refusal("{\"" + a + "\x1F\":1}"));
    CHECK(refusal("{\"" + a + "\xC3\":1}"));
    CHECK(refusal("{\"" + a + "\xED\xA0\x80\":1}"));
    CHECK(refusal("{\"" + a + "\\x\":1}"));
    CHECK(refusal("{\"" + a + "\\u12\":1}"));
    CHECK(refusal("{\"" + a + "\\u12G4\":1}"));
    CHECK(refusal("{\"" + a + "\\u+123\":1}"));
    CHECK(refusal("{\"" + a + "\\u-123\":1}"));
    CHECK(refusal("{\"" + a + "\\ud83d\":1}"));
    CHECK(refusal("{\"" + a + "\\ud83d\\n\":1}"));
    CHECK(refusal("{\"" + a + "\\ud83d\\u0041\":1}"));
    CHECK(refusal("{\"" + a + "\\ude00\":1}"));
  }
}

TEST_CASE("json: integers are exact to 64 bits, whatever their number of digits") {
  const auto natural = [](std::string_view text) {
    return value_of(text, [](json::Value& value) { return value.unsigned_integer("x"); });
  };
  std::uint64_t number = 0;
  for (int digit = 1; digit <= 20; ++digit) {
    number = number * 10 + static_cast<std::uint64_t>(digit % 10);
    CHECK(natural(std::to_string(number)) == number);
    CHECK(natural(fmt::format(" {} ", number)) == number);
  }
  CHECK(natural("0") == 0);
  CHECK(natural("18446744073709551615") == ~0ULL);
  CHECK(natural("9999999999999999999") == 9999999999999999999ULL);
  for (const char* text : {"18446744073709551616",
                           "99999999999999999999",
                           "100000000000000000000",
                           "184467440737095516150",
                           "00",
                           "01",
                           "000000001",
                           "-0",
                           "-1",
                           "+1",
                           "1.0",
                           "1e0",
                           "1x",
                           "1:2",
                           "0x1",
                           "12345678x",
                           "",
                           "\"1\"",
                           "null",
                           "[1]"}) {
    CAPTURE(std::string(text));
    CHECK_THROWS_AS(natural(text), Error);
  }
}

TEST_CASE("json: numbers have the most exact type") {
  const auto number = [](std::string_view text) {
    return value_of(text, [](json::Value& value) { return value.number("x"); });
  };
  CHECK(number("-9223372036854775808") == json::Number(std::int64_t{INT64_MIN}));
  CHECK(number("9223372036854775808") == json::Number(std::uint64_t{1} << 63));
  CHECK(number("18446744073709551616") == json::Number(18446744073709551616.0));
  CHECK(number("6.89e11") == json::Number(6.89e11));
  CHECK(number("-0.5") == json::Number(-0.5));
  CHECK(number("1E+2") == json::Number(100.0));
  for (const char* text : {"1e999", ".5", "1.", "1.e1", "1e", "1e+", "--1", "-", "01.5", "-01", "1_000", "Infinity",
                           "-Infinity", "NaN", "1.5.5"}) {
    CAPTURE(std::string(text));
    CHECK_THROWS_AS(number(text), Error);
  }
}

TEST_CASE("json: reads everything that the grammar allows") {
  for (const char* text : {"{}", " { } ", "\t\r\n{\"a\":1}\n", "{\"a\":[],\"b\":{},\"c\":[{}],\"d\":[[1,2],[3]]}",
                           "{\"a\":true,\"b\":false,\"c\":null}", "{\"a\" : 1 , \"b\" : [ 1 , 2 ] }", "{\"\":\"\"}",
                           "{\"a\":1,\"a\":2}"}) {
    CAPTURE(std::string(text));
    CHECK_FALSE(refusal(text));
  }
}

TEST_CASE("json: refuses everything else, with its offset") {
  struct Row {
    const char* text;
    std::size_t offset;
  };
  for (const Row& row : {Row{"", 0},
                         {"  ", 2},
                         {"[]", 0},
                         {"1", 0},
                         {"\"a\"", 0},
                         {"{", 1},
                         {"{\"a\"", 4},
                         {"{\"a\":", 5},
                         {"{\"a\":1", 6},
                         {"{\"a\":1,", 7},
                         {"{\"a\":1,}", 7},
                         {"{,}", 1},
                         {"{\"a\"}", 4},
                         {"{\"a\",1}", 4},
                         {"{a:1}", 1},
                         {"{'a':1}", 1},
                         {"{\"a\":1 \"b\":2}", 7},
                         {"{\"a\":[1,]}", 8},
                         {"{\"a\":[,1]}", 6},
                         {"{\"a\":[1 2]}", 8},
                         {"{\"a\":[1}}", 7},
                         {"{\"a\":{\"b\":1]}", 11},
                         {"{\"a\":tru}", 5},
                         {"{\"a\":truee}", 5},
                         {"{\"a\":nul}", 5},
                         {"{\"a\":True}", 5},
                         {"{\"a\":undefined}", 5},
                         {"{}{}", 2},
                         {"{}}", 2},
                         {"{} x", 3},
                         {"{}//", 2},
                         {"{/**/}", 1},
                         {"\xEF\xBB\xBF{}", 0},
                         {"\v{}", 0}}) {
    CAPTURE(std::string(row.text));
    const auto error = refusal(row.text);
    REQUIRE(error);
    CAPTURE(std::string(error->what()));
    CHECK(error->code() == ErrorCode::corrupt);
    REQUIRE(error->offset());
    CHECK(*error->offset() == row.offset);
  }
}

TEST_CASE("json: bounds the nesting of lists and objects before the stack overflows") {
  const auto nested = [](std::size_t depth) {
    return "{\"a\":" + std::string(depth - 1, '[') + std::string(depth - 1, ']') + "}";
  };
  Limits limits;
  limits.json_depth = 5;
  CHECK_FALSE(refusal(nested(5), limits));
  const auto error = refusal(nested(6), limits);
  REQUIRE(error);
  CHECK(error->code() == ErrorCode::limit_exceeded);
  limits.json_depth = ~0ULL;
  CHECK(refusal(nested(1'000'000), limits));
}

// Returns true if simdjson, an independent parser, accepts a text. It differs by intent in half surrogate pairs,
// numbers beyond 64 bits and byte order marks; the texts below contain none of these.
bool judge(const std::string& text) {
  simdjson::dom::parser parser;
  simdjson::dom::element root;
  return parser.parse(text).get(root) == simdjson::SUCCESS && root.is_object();
}

TEST_CASE("json: accepts and refuses mangled texts as another parser does") {
  const std::string seeds[] = {
      R"({"__metadata__":{"format":"pt"},"a.b":{"dtype":"F32","shape":[2,3],"data_offsets":[0,24]}})",
      R"({ "a" : [ true , false , null , -1.5e3 , "x\"\\\u00e9" , { } , [ ] ] , "b" : "\/\b\f" })",
      "{\"\xC3\xA9\":\"\xF0\x9F\x98\x80\",\"t\":0,\"u\":[[],[{}]]}",
  };
  const std::string letters = "{}[]:,\"\\ 0127.eE+-tfnu\n\t\x1F\x80\xC3/a";
  std::mt19937 random(7);
  std::size_t valid = 0;
  for (int round = 0; round < 60'000; ++round) {
    std::string text = seeds[random() % std::size(seeds)];
    for (auto changes = random() % 3 + 1; changes > 0; --changes) {
      const std::size_t at = random() % text.size();
      const char letter = letters[random() % letters.size()];
      switch (random() % 4) {
        case 0: text[at] = letter; break;
        case 1: text.insert(at, 1, letter); break;
        case 2: text.erase(at, 1); break;
        default: text.insert(at, text.substr(random() % text.size(), random() % 8)); break;
      }
    }
    CAPTURE(text);
    const bool accepted = !refusal(text);
    CHECK(accepted == judge(text));
    valid += accepted ? 1 : 0;
  }
  CHECK(valid > 1000);
}

}  // namespace
}  // namespace heft
