// record/glob.hpp: shell patterns, matched in time linear in the length of the name.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace heft::record {

/// A compiled glob: `*` matches any run of characters, `?` one, `[abc]` `[!a-z]` a class, `{a,b}` alternatives, which
/// can nest; a backslash quotes. A character is a code point of UTF-8, or a byte that is not part of one.
///
/// The matcher follows all possible states at once, so a name of n characters takes at most n steps for each state of
/// the pattern. Const members are thread-safe.
class Glob {
 public:
  /// Throws Error{out_of_range} with the reason for an unclosed class, brace or backslash, and for a reversed range.
  explicit Glob(std::string_view pattern);

  /// Returns true if the whole name matches. Throws std::bad_alloc, but only for patterns of hundreds of characters.
  [[nodiscard]] bool matches(std::string_view name) const;

 private:
  class Compiler;
  class States;

  // A state and its condition for a transition. The next state is the following one, unless `target` is used.
  struct State {
    enum class Kind : std::uint8_t { character, any, set, run, fork, jump, matched };
    Kind kind = Kind::matched;
    bool negated = false;      // set
    char32_t character = 0;    // character
    std::uint32_t target = 0;  // jump, fork: the other next state
    std::uint32_t first = 0;   // set: its ranges are [first, last) of ranges_
    std::uint32_t last = 0;
  };
  struct Range {
    char32_t first = 0;
    char32_t last = 0;
  };

  [[nodiscard]] bool accepts(const State& state, char32_t character) const noexcept;

  std::string prefix_;  // the start of all names that match
  std::vector<State> states_;
  std::vector<Range> ranges_;
};

/// Throws Error{out_of_range} for a glob or an expression that does not compile.
[[noreturn]] void fail_pattern(std::string_view pattern, std::string_view why);

}  // namespace heft::record
