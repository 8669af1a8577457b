#include "record/glob.hpp"

#include <algorithm>
#include <array>
#include <span>
#include <utility>

#include <fmt/format.h>

#include "core/text.hpp"
#include "heft/error.hpp"

namespace heft::record {
namespace {

// Bytes that are not UTF-8 are numbered after all code points.
constexpr char32_t first_stray_byte = 0x110000;

// Removes and returns the first character of `text`, which must not be empty.
char32_t take(std::string_view& text) noexcept {
  const auto lead = static_cast<unsigned char>(text.front());
  const std::size_t size = lead < 0x80 ? 1 : lead < 0xE0 ? 2 : lead < 0xF0 ? 3 : 4;
  const std::string_view sequence = text.substr(0, size);
  text.remove_prefix(1);
  if (size == 1) return lead;
  // Only the first byte is taken then; the ones behind it are examined again.
  if (sequence.size() != size || !core::is_utf8(sequence)) return first_stray_byte + lead;
  text.remove_prefix(size - 1);
  char32_t character = lead & (0xFFu >> (size + 1));
  for (const char next : sequence.substr(1)) character = character << 6 | (static_cast<unsigned char>(next) & 0x3Fu);
  return character;
}

}  // namespace

void fail_pattern(std::string_view pattern, std::string_view why) {
  throw Error(ErrorCode::out_of_range, fmt::format("pattern '{}': {}", core::escaped(pattern), why));
}

class Glob::Compiler {
 public:
  Compiler(std::string_view pattern, Glob& into) : pattern_(pattern), rest_(pattern), glob_(into) {}

  void compile() {
    while (!rest_.empty()) compile_next();
    if (!braces_.empty()) fail_pattern(pattern_, "an alternative '{' is not closed");
    add({.kind = State::Kind::matched});
  }

 private:
  // An open alternative.
  struct Brace {
    std::uint32_t fork = 0;            // the newest; its target is the next alternative
    std::vector<std::uint32_t> jumps;  // to behind the brace
  };

  std::uint32_t add(State state) {
    glob_.states_.push_back(state);
    return static_cast<std::uint32_t>(glob_.states_.size() - 1);
  }
  [[nodiscard]] std::uint32_t here() const noexcept { return static_cast<std::uint32_t>(glob_.states_.size()); }

  void compile_next() {
    // Outside of braces, ',' and '}' are ordinary characters, as in a shell.
    const std::string_view before = rest_;
    const char32_t character = take(rest_);
    if (character == '*')
      add({.kind = State::Kind::run});
    else if (character == '?')
      add({.kind = State::Kind::any});
    else if (character == '[')
      add_set();
    else if (character == '{')
      braces_.push_back({.fork = add({.kind = State::Kind::fork}), .jumps = {}});
    else if (character == ',' && !braces_.empty())
      next_alternative();
    else if (character == '}' && !braces_.empty())
      close_brace();
    else
      add_literal(character, before);
  }

  void add_literal(char32_t character, std::string_view text) {
    if (character == '\\') {
      if (rest_.empty()) fail_pattern(pattern_, "nothing follows the last backslash");
      text = rest_;
      character = take(rest_);
    }
    // rest_ has moved behind the character, so this leaves the bytes of the character alone.
    text.remove_suffix(rest_.size());
    // Literals before the first state of another kind start every name that matches. matches() compares them first,
    // without the states.
    if (glob_.states_.size() == literals_) {
      glob_.prefix_ += text;
      ++literals_;
    }
    add({.kind = State::Kind::character, .character = character});
  }

  void next_alternative() {
    Brace& brace = braces_.back();
    // The end of this alternative jumps behind the brace, whose position close_brace() fills in; the fork in front of
    // it leads to the next alternative.
    brace.jumps.push_back(add({.kind = State::Kind::jump}));
    glob_.states_[brace.fork].target = here();
    brace.fork = add({.kind = State::Kind::fork});
  }

  // The last alternative needs no fork: execution falls through to it.
  void close_brace() {
    const Brace brace = std::move(braces_.back());
    braces_.pop_back();
    // A fork needs two ways; both of the last one lead to the same state.
    glob_.states_[brace.fork].target = brace.fork + 1;
    for (const std::uint32_t jump : brace.jumps) glob_.states_[jump].target = here();
  }

  void add_set() {
    State set{.kind = State::Kind::set, .first = static_cast<std::uint32_t>(glob_.ranges_.size())};
    if (rest_.starts_with('!') || rest_.starts_with('^')) {
      set.negated = true;
      rest_.remove_prefix(1);
    }
    // A ']' in first place is a member of the class, as in POSIX, and so is a '-' before the closing ']'.
    for (bool first = true; !rest_.starts_with(']') || first; first = false) {
      Range range{.first = take_of_set(), .last = 0};
      range.last = range.first;
      if (rest_.size() >= 2 && rest_[0] == '-' && rest_[1] != ']') {
        rest_.remove_prefix(1);
        range.last = take_of_set();
      }
      if (range.last < range.first) fail_pattern(pattern_, "a range in a class '[' runs backwards");
      glob_.ranges_.push_back(range);
    }
    rest_.remove_prefix(1);
    set.last = static_cast<std::uint32_t>(glob_.ranges_.size());
    add(set);
  }

  char32_t take_of_set() {
    if (rest_.starts_with('\\') && rest_.size() > 1) rest_.remove_prefix(1);
    if (rest_.empty()) fail_pattern(pattern_, "a class '[' is not closed");
    return take(rest_);
  }

  std::string_view pattern_;
  std::string_view rest_;
  Glob& glob_;
  std::vector<Brace> braces_;
  std::size_t literals_ = 0;  // states that the prefix stands for
};

// The states that the matched part of the name leads to.
class Glob::States {
 public:
  /// Requires a `room` of three numbers for each state of the pattern, all 0.
  States(const Glob& glob, std::span<std::uint32_t> room) noexcept
      : glob_(glob),
        now_(room.first(room.size() / 3)),
        next_(room.subspan(now_.size(), now_.size())),
        seen_(room.last(now_.size())) {
    start();
    enter(0);
    turn();
  }

  void advance(char32_t character) noexcept {
    start();
    for (const std::uint32_t number : now_.first(count_)) {
      const State& state = glob_.states_[number];
      // A run takes any character and stays; enter() adds the state behind it, for the run that ends here.
      if (state.kind == State::Kind::run)
        enter(number);
      else if (glob_.accepts(state, character))
        enter(number + 1);
    }
    turn();
  }

  [[nodiscard]] bool empty() const noexcept { return count_ == 0; }
  [[nodiscard]] bool matched() const noexcept {
    // The compiler adds the state `matched` last.
    const auto last = static_cast<std::uint32_t>(glob_.states_.size() - 1);
    return std::ranges::find(now_.first(count_), last) != now_.begin() + static_cast<std::ptrdiff_t>(count_);
  }

 private:
  void start() noexcept {
    ++generation_;
    entered_ = 0;
  }
  void turn() noexcept {
    std::swap(now_, next_);
    count_ = entered_;
  }

  // Adds a state and those that follow it without a character. Pending alternatives of forks are kept in the unused end
  // of the room.
  void enter(std::uint32_t number) noexcept {
    std::size_t waiting = 0;
    for (;;) {
      // A state is entered once for each character, however many ways lead to it: the step stays linear in the states.
      const bool is_new = std::exchange(seen_[number], generation_) != generation_;
      const State& state = glob_.states_[number];
      if (is_new && state.kind == State::Kind::jump) {
        number = state.target;
        continue;
      }
      if (is_new && state.kind == State::Kind::fork) {
        next_[next_.size() - ++waiting] = state.target;
        ++number;
        continue;
      }
      if (is_new) next_[entered_++] = number;
      if (is_new && state.kind == State::Kind::run) {
        ++number;
        continue;
      }
      if (waiting == 0) return;
      number = next_[next_.size() - waiting--];
    }
  }

  const Glob& glob_;
  std::span<std::uint32_t> now_;
  std::span<std::uint32_t> next_;
  std::span<std::uint32_t> seen_;  // the generation in which a state was entered last
  std::uint32_t generation_ = 0;
  std::size_t count_ = 0;
  std::size_t entered_ = 0;
};

Glob::Glob(std::string_view pattern) { Compiler(pattern, *this).compile(); }

bool Glob::accepts(const State& state, char32_t character) const noexcept {
  switch (state.kind) {
    case State::Kind::character: return state.character == character;
    case State::Kind::any: return true;
    case State::Kind::set: {
      // Ranges of all classes lie in one vector, so that a state has a fixed size.
      const auto ranges = std::span(ranges_).subspan(state.first, state.last - state.first);
      const bool inside =
          std::ranges::any_of(ranges, [&](const Range& r) { return r.first <= character && character <= r.last; });
      return inside != state.negated;
    }
    default: return false;
  }
}

bool Glob::matches(std::string_view name) const {
  if (!name.starts_with(prefix_)) return false;
  // Patterns of up to 128 states, nearly all, are matched without an allocation.
  std::array<std::uint32_t, std::size_t{3} * 128> inside{};
  std::vector<std::uint32_t> outside;
  std::span<std::uint32_t> room(inside);
  if (states_.size() * 3 > inside.size()) {
    outside.resize(states_.size() * 3);
    room = outside;
  }
  States states(*this, room.first(states_.size() * 3));
  // Without states no further character can lead to a match.
  while (!name.empty() && !states.empty()) states.advance(take(name));
  return name.empty() && states.matched();
}

}  // namespace heft::record
