#include "record/pattern.hpp"

#include <doctest/doctest.h>

#include <string>

#include "support/thrown.hpp"

using namespace heft;
using record::Pattern;
using test::thrown_by;

TEST_CASE("pattern: globs match whole names") {
  struct Row {
    std::string_view pattern, name;
    bool matches;
  };
  static constexpr Row rows[] = {
      {"*.q_proj.weight", "model.layers.0.self_attn.q_proj.weight", true},
      {"*.q_proj.weight", "q_proj.weight", false},
      {"model.*", "model.", true},
      {"model", "model.x", false},
      {"", "", true},
      {"", "x", false},
      {"a?c", "abc", true},
      {"a?c",
       "a\xC3\xA9"
       "c",
       true},
      {"a?c", "ac", false},
      {"a?c", "a\nc", true},
      {"layers.[0-3].*", "layers.2.w", true},
      {"layers.[0-3].*", "layers.4.w", false},
      {"[!ab]x", "cx", true},
      {"[!ab]x", "ax", false},
      {"[]]", "]", true},
      {"[a\\-z]", "-", true},
      {"[a\\-z]", "m", false},
      {"[^a]", "b", true},
      {"{q,k,v}_proj", "k_proj", true},
      {"{q,k,v}_proj", "o_proj", false},
      {"{a,{b,c}d}", "cd", true},
      {"a,b", "a,b", true},
      {"a}b", "a}b", true},
      {"a\\*b", "a*b", true},
      {"a\\*b", "axb", false},
      {"a.b", "axb", false},
      {"a+(b)|c$^", "a+(b)|c$^", true},
      {"*", "", true},
      {"**a**", "xxayy", true},
      {"*a*b", "xaybzb", true},
      {"*a*b", "xaybz", false},
      {"{a*,*b}c", "a.bc", true},
      {"{,a}{,b}", "", true},
      {"{,a}{,b}", "ab", true},
      {"{,a}{,b}", "ba", false},
      {"x{a,{b*,?}d}y", "xb.dy", true},
      {"x{a,{b*,?}d}y", "xcdy", true},
      {"x{a,{b*,?}d}y", "xccdy", false},
      {"{*}", "anything", true},
      {"?", "\xFF", true},
      {"?", "\xC3", true},
      {"??", "\xC3\x28", true},
      {"\xC3\xA9*", "\xC3\xA9t\xC3\xA9", true},
      {"[\xC3\xA0-\xC3\xAF]t", "\xC3\xA9t", true},
      {"[\xC3\xA0-\xC3\xAF]t", "et", false},
      {"[!\xC3\xA9]", "\xC3\xA9", false},
      {"[a-]", "-", true},
      {"[--0]", ".", true},
      {"[!]]", "]", false},
      {"[[]", "[", true},
      {"\\{a\\}", "{a}", true},
      {"re:.*\\.(q|k)_proj\\.weight", "l.0.k_proj.weight", true},
      {"re:q_proj", "l.q_proj", false},
  };
  for (const Row& row : rows) {
    INFO(row.pattern, " on ", row.name);
    CHECK(Pattern(row.pattern).matches(row.name) == row.matches);
  }
}

TEST_CASE("pattern: reports why a pattern does not compile") {
  for (const std::string_view pattern :
       {"[abc", "{a,b", "{a,{b}", "[]", "[!]", "[z-a]", "a\\", "re:(", "re:(?=x)", "re:(a)\\1"}) {
    INFO(pattern);
    const Error error = thrown_by([&] { Pattern compiled(pattern); });
    CHECK(error.code() == ErrorCode::out_of_range);
    CHECK(error.message().find("pattern '") == 0);
  }
}

TEST_CASE("pattern: globs and the regular expressions that mean the same agree on all short names") {
  struct Row {
    std::string_view glob, expression;
  };
  static constexpr Row rows[] = {
      {"*a?b*", "re:(?s).*a.b.*"},
      {"{a,ab}{b,}*", "re:(?s)(a|ab)(b|).*"},
      {"[!a]*[ab]", "re:(?s)[^a].*[ab]"},
      {"{a*,{b,*c}a}b", "re:(?s)(a.*|(b|.*c)a)b"},
      {"*{aa,bb,c?}*", "re:(?s).*(aa|bb|c.).*"},
      {"{{a,b},*}c", "re:(?s)((a|b)|.*)c"},
  };
  for (const Row& row : rows) {
    const Pattern glob(row.glob);
    const Pattern expression(row.expression);
    std::size_t matches = 0;
    for (std::size_t length = 0, names = 1; length <= 7; ++length, names *= 3)
      for (std::size_t number = 0; number < names; ++number) {
        std::string name;
        for (std::size_t rest = number; name.size() < length; rest /= 3) name += static_cast<char>('a' + rest % 3);
        INFO(row.glob, " on ", name);
        REQUIRE(glob.matches(name) == expression.matches(name));
        matches += glob.matches(name);
      }
    CHECK(matches > 10);
  }
}

TEST_CASE("pattern: a glob of many stars and alternatives takes no longer than its states for each character") {
  std::string pattern;
  for (int i = 0; i < 100; ++i) pattern += "*{a,aa}";
  const std::string name(3'000, 'a');
  CHECK(Pattern(pattern).matches(name));
  CHECK_FALSE(Pattern(pattern + "b").matches(name));
}
