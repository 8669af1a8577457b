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
      {"a?c", "a\xC3\xA9" "c", true},
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
      {"re:.*\\.(q|k)_proj\\.weight", "l.0.k_proj.weight", true},
      {"re:q_proj", "l.q_proj", false},
  };
  for (const Row& row : rows) {
    INFO(row.pattern, " on ", row.name);
    CHECK(Pattern(row.pattern).matches(row.name) == row.matches);
  }
}

TEST_CASE("pattern: what does not compile says why") {
  for (const std::string_view pattern : {"[abc", "{a,b", "a\\", "re:(", "re:(?=x)", "re:(a)\\1"}) {
    INFO(pattern);
    const Error error = thrown_by([&] { Pattern compiled(pattern); });
    CHECK(error.code() == ErrorCode::out_of_range);
    CHECK(error.sentence().find("pattern '") == 0);
  }
}
