// record/pattern.hpp: which names a caller means: globs and regular expressions, both run by RE2 in time linear in the name.
#pragma once

#include <memory>
#include <string>
#include <string_view>

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

  /// True when the whole name matches.
  [[nodiscard]] bool matches(std::string_view name) const noexcept;

 private:
  std::unique_ptr<re2::RE2> compiled_;
};

/// A regular expression that has compiled, or Error{out_of_range} with RE2's reason.
std::unique_ptr<re2::RE2> compile(std::string_view expression);

/// The regular expression that says what the glob says. Throws Error{out_of_range} for an unclosed class, brace or backslash.
std::string glob_to_regex(std::string_view glob);

}  // namespace heft::record
