// record/pattern.hpp: which names a caller means: globs and regular expressions, both matched in time linear in the name.
//
// Regular expressions are RE2's, and RE2 ends the process, or worse, when the system has no memory left: globs go without it.
#pragma once

#include <memory>
#include <optional>
#include <string_view>

#include "record/glob.hpp"

namespace re2 {
class RE2;
}

namespace heft::record {

/// A compiled pattern. Const members may be called from several threads.
class Pattern {
 public:
  /// A glob (`*`, `?`, `[abc]`, `[!a-z]`, `{a,b}`, backslash quotes), or "re:" and a regular expression. Throws Error{out_of_range} with the
  /// reason when it does not compile.
  explicit Pattern(std::string_view pattern);
  ~Pattern();
  Pattern(Pattern&&) noexcept;
  Pattern& operator=(Pattern&&) noexcept;

  /// True when the whole name matches. Throws std::bad_alloc.
  [[nodiscard]] bool matches(std::string_view name) const;

 private:
  std::optional<Glob> glob_;
  std::unique_ptr<re2::RE2> expression_;  // where there is no glob
};

/// A regular expression that has compiled, or Error{out_of_range} with RE2's reason.
std::unique_ptr<re2::RE2> compile(std::string_view expression);

}  // namespace heft::record
