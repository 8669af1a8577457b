// record/glob.hpp: patterns as shells write them, matched in time linear in the name.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace heft::record {

/// A compiled glob: `*` is any run of characters, `?` one, `[abc]` `[!a-z]` a class, `{a,b}` alternatives, which may
/// nest; a backslash quotes. A character is a code point of UTF-8, or a byte that is part of none.
///
/// All states that the name so far can have led to are followed at once, so a name of n characters takes n steps for
/// each state of the pattern at most, whatever it is. Const members may be called from several threads.
class Glob {
 public:
  /// Throws Error{out_of_range} with the reason for an unclosed class, brace or backslash, and for a range that runs
  /// backwards.
  explicit Glob(std::string_view pattern);

  /// True when the whole name matches. Throws std::bad_alloc for patterns of more than some hundred characters only.
  [[nodiscard]] bool matches(std::string_view name) const;

 private:
  class Compiler;
  class States;

  // A state: what it takes to get from it to the next one, which is the one behind it if nothing else is said.
  struct State {
    enum class Kind : std::uint8_t { character, any, set, run, fork, jump, matched };
    Kind kind = Kind::matched;
    bool negated = false;       // set
    char32_t character = 0;     // character
    std::uint32_t target = 0;   // jump, fork: the other next state
    std::uint32_t first = 0;    // set: its ranges are [first, last) of ranges_
    std::uint32_t last = 0;
  };
  struct Range {
    char32_t first = 0;
    char32_t last = 0;
  };

  [[nodiscard]] bool accepts(const State& state, char32_t character) const noexcept;

  std::string prefix_;  // that all names which match begin with
  std::vector<State> states_;
  std::vector<Range> ranges_;
};

}  // namespace heft::record
