#include "heft/remap.hpp"

#include <algorithm>
#include <charconv>
#include <map>
#include <optional>
#include <unordered_map>
#include <utility>

#include <fmt/format.h>
#include <re2/re2.h>

#include "core/text.hpp"
#include "heft/error.hpp"
#include "record/derive.hpp"
#include "record/list_number.hpp"
#include "record/pattern.hpp"

namespace heft {
namespace {

// Returns true for characters of a group's name.
bool is_name(char c) noexcept {
  return (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || c == '_';
}

// Converts named groups in Rust's syntax (?<name>...), which RE2 supports only since 2023.
std::string with_re2_groups(std::string_view pattern) {
  std::string out;
  bool in_class = false;
  for (std::size_t i = 0; i < pattern.size(); ++i) {
    out += pattern[i];
    // An escaped parenthesis or bracket is a literal, and inside a class all are. "(?<=" and "(?<!", which look behind,
    // stay as they are: RE2 does not have them and reports so.
    if (pattern[i] == '\\' && i + 1 < pattern.size())
      out += pattern[++i];
    else if (pattern[i] == '[')
      in_class = true;
    else if (pattern[i] == ']')
      in_class = false;
    else if (!in_class && pattern.substr(i, 3) == "(?<" && i + 3 < pattern.size() && is_name(pattern[i + 3]))
      out += "?P", ++i;
  }
  return out;
}

// Returns the bytes of the UTF-8 character that starts with `lead`, to step over a whole character after an empty
// match.
std::size_t character_bytes(char lead) noexcept {
  const auto byte = static_cast<unsigned char>(lead);
  return byte < 0xC0 ? 1 : byte < 0xE0 ? 2 : byte < 0xF0 ? 3 : 4;
}

}  // namespace

// A compiled pattern and the parts of its replacement.
struct [[gnu::visibility("hidden")]] Remapping::Rule {
  struct Part {
    std::string literal;
    int group = -1;  // after the literal; -1: none
  };

  std::unique_ptr<re2::RE2> pattern;
  std::vector<Part> replacement;
  int groups = 1;  // groups of a match that the replacement uses, including the whole match

  Rule(std::string_view expression, std::string_view text) : pattern(record::compile(with_re2_groups(expression))) {
    replacement.emplace_back();
    for (std::size_t i = 0; i < text.size();) i = take(text, i);
  }

  [[nodiscard]] std::string apply(std::string name) const;

 private:
  std::size_t take(std::string_view text, std::size_t at);
  void add_group(std::string_view name);
  void append_to(std::string& out, const std::vector<re2::StringPiece>& matched) const;
};

// Parses the part at `at` of the replacement and returns the position after it.
std::size_t Remapping::Rule::take(std::string_view text, std::size_t at) {
  // The syntax of Rust's regex: $1, $name and ${name} are groups, $$ is a dollar sign.
  std::string& literal = replacement.back().literal;
  if (text[at] != '$') return literal += text[at], at + 1;
  if (text.substr(at, 2) == "$$") return literal += '$', at + 2;
  if (text.substr(at, 2) == "${") {
    const std::size_t close = text.find('}', at);
    if (close != std::string_view::npos) return add_group(text.substr(at + 2, close - at - 2)), close + 1;
  }
  std::size_t end = at + 1;
  // The longest name: "$1a" is the group "1a", not group 1.
  while (end < text.size() && is_name(text[end])) ++end;
  if (end == at + 1) return literal += '$', end;
  return add_group(text.substr(at + 1, end - at - 1)), end;
}

// Adds a group. One that the pattern does not have is empty, so nothing is added.
void Remapping::Rule::add_group(std::string_view name) {
  int group = -1;
  const auto [end, error] = std::from_chars(name.data(), name.data() + name.size(), group);
  // Not a number, so a name.
  if (error != std::errc() || end != name.data() + name.size()) {
    const auto& named = pattern->NamedCapturingGroups();
    const auto found = named.find(std::string(name));
    group = found == named.end() ? -1 : found->second;
  }
  if (group < 0 || group > pattern->NumberOfCapturingGroups()) return;
  replacement.back().group = group;
  groups = std::max(groups, group + 1);
  replacement.emplace_back();
}

void Remapping::Rule::append_to(std::string& out, const std::vector<re2::StringPiece>& matched) const {
  for (const Part& part : replacement) {
    out += part.literal;
    if (part.group >= 0)
      out.append(matched[static_cast<std::size_t>(part.group)].data(),
                 matched[static_cast<std::size_t>(part.group)].size());
  }
}

std::string Remapping::Rule::apply(std::string name) const {
  // RE2 is faster the fewer groups are asked for: only those that the replacement uses.
  std::vector<re2::StringPiece> matched(static_cast<std::size_t>(groups));
  const re2::StringPiece text(name.data(), name.size());
  std::string out;
  std::size_t copied = 0;
  std::size_t at = 0;
  bool touches = false;  // the last match ended at `at`, where an empty match does not count
  // Match() gets a position in the whole name, not a rest of it, so that ^, $ and \b see the text around.
  while (at <= name.size() && pattern->Match(text, at, name.size(), re2::RE2::UNANCHORED, matched.data(), groups)) {
    const auto begin = static_cast<std::size_t>(matched[0].data() - name.data());
    const bool empty = matched[0].empty();
    // As in Rust, an empty match directly behind another match does not count: "a*" on "aab" replaces "aa", then the
    // end.
    if (!empty || !touches || begin != at) {
      out.append(name, copied, begin - copied);
      append_to(out, matched);
      copied = begin + matched[0].size();
    }
    touches = !empty;
    at = begin + matched[0].size();
    // Otherwise the same empty match would be found for ever. A step over a whole character keeps UTF-8 intact.
    if (empty) at += at < name.size() ? character_bytes(name[at]) : 1;
  }
  // No match: the name is returned without a copy.
  if (copied == 0 && out.empty() && at == 0) return name;
  return out.append(name, std::min(copied, name.size()));
}

Remapping::Remapping() noexcept = default;

Remapping& Remapping::add(std::string_view pattern, std::string_view replacement) {
  rules_.push_back(std::make_shared<const Rule>(pattern, replacement));
  return *this;
}

std::string Remapping::operator()(std::string_view name) const {
  std::string now(name);
  for (const auto& rule : rules_) now = rule->apply(std::move(now));
  return now;
}

std::vector<Renamed> Remapping::trace(const Checkpoint& checkpoint) const {
  const record::Derivation keys(checkpoint);
  std::vector<Renamed> pairs;
  for (std::size_t key = 0; key < keys.key_count(); ++key)
    pairs.push_back({(*this)(keys.key(key)), std::string(keys.key(key))});
  return pairs;
}

namespace {

// Calls each(prefix, part) for every numeric part of a name except the first part.
template <class Each>
void for_each_number(std::string_view name, const Each& each) {
  for (std::size_t dot = name.find('.'); dot != std::string_view::npos;) {
    const std::size_t next = name.find('.', dot + 1);
    const std::string_view part = name.substr(dot + 1, next == std::string_view::npos ? next : next - dot - 1);
    if (const auto number = record::list_number(part)) each(name.substr(0, dot), part, *number);
    dot = next;
  }
}

// The lists of a checkpoint: for each prefix, the numbers after it and their new values.
class Renumbering {
 public:
  Renumbering(const std::vector<std::string>& names, const std::vector<std::string>& exempt) {
    std::vector<record::Pattern> kept;
    for (const std::string& pattern : exempt) kept.emplace_back(pattern);
    for (const std::string& name : names)
      for_each_number(name, [&](std::string_view prefix, std::string_view, std::uint64_t number) {
        lists_[prefix].try_emplace(number, 0);
      });
    // After all names are collected, so that a pattern is matched once for each list, not for each name.
    std::erase_if(lists_, [&](const auto& list) {
      return std::ranges::any_of(kept, [&](const record::Pattern& pattern) { return pattern.matches(list.first); });
    });
    for (auto& [prefix, numbers] : lists_) {
      std::uint64_t next = 0;
      // std::map sorts the numbers, so they keep their order.
      for (auto& [was, now] : numbers) now = next++;
    }
  }

  [[nodiscard]] std::string operator()(const std::string& name) const {
    std::string out;
    std::size_t copied = 0;
    for_each_number(name, [&](std::string_view prefix, std::string_view part, std::uint64_t number) {
      // The prefix is that of the old name: numbers in it are looked up as they were, not as they become.
      const auto list = lists_.find(prefix);
      if (list == lists_.end()) return;  // exempt: its numbers are not changed
      const auto begin = static_cast<std::size_t>(part.data() - name.data());
      out.append(name, copied, begin - copied);
      out += fmt::to_string(list->second.at(number));
      copied = begin + part.size();
    });
    return out.append(name, copied);
  }

 private:
  std::unordered_map<std::string_view, std::map<std::uint64_t, std::uint64_t>> lists_;  // prefixes point into names
};

}  // namespace

Checkpoint remap(const Checkpoint& checkpoint, const Remapping& remapping, Indices indices,
                 const std::vector<std::string>& exempt) {
  record::Derivation derived(checkpoint);
  std::vector<std::string> names;
  names.reserve(derived.key_count());
  for (std::size_t key = 0; key < derived.key_count(); ++key) names.push_back(remapping(derived.key(key)));
  // PyTorch's Sequential numbers layers without parameters too, which leaves gaps.
  const bool renumber = indices == Indices::contiguous || (indices == Indices::by_format && derived.is_pytorch());
  if (renumber) {
    const Renumbering renumbering(names, exempt);
    std::vector<std::string> renumbered;
    renumbered.reserve(names.size());
    for (const std::string& name : names) renumbered.push_back(renumbering(name));
    names = std::move(renumbered);
  }
  for (std::size_t key = 0; key < names.size(); ++key) derived.rename(key, names[key]);
  return std::move(derived).finish();
}

}  // namespace heft
