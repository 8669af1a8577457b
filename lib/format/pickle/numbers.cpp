// format/pickle/numbers.cpp: lists of numbers in pickles, which are stepped over.
//
//   ] MEMOIZE ( G........ G........ e ( G........ e      a list: batches of up to 1000 items between MARK and APPENDS
//   \x8f MEMOIZE ( K. K. \x90 ( K. \x90                  a set, in such batches
//   ( G........ G........ t                              a tuple; with \x91, a frozen set
//
// Python's pickler memoizes no numbers, so a batch of numbers consists of their opcodes, between which frames can
// begin. Such a batch becomes segments of a SegmentedNumbers and no values. A batch with any other opcode is read as
// usual.
#include <algorithm>
#include <bit>
#include <memory>

#include "core/checked.hpp"
#include "format/catalog.hpp"
#include "format/pickle/machine.hpp"
#include "format/stored_numbers.hpp"

namespace heft::format {
namespace {

// Shorter batches become values. A list that starts with one, or ends with one, is closed, so that a segment has at
// least this many numbers, apart from one for each list.
constexpr std::uint64_t min_numbers = 32;

constexpr std::byte mark{'('};
constexpr std::byte frame{0x95};
constexpr std::uint64_t frame_bytes = 9;

// Returns the kind of the container that an opcode makes of a batch, or adds it to; null for other opcodes.
PickleKind container_of(std::byte opcode) noexcept {
  switch (std::to_integer<unsigned char>(opcode)) {
    case 'e': return PickleKind::list;
    case 't': return PickleKind::tuple;
    case 0x90: return PickleKind::set;
    case 0x91: return PickleKind::frozen_set;
    default: return PickleKind::null;
  }
}

}  // namespace

/// Returns the container that items added to `target` belong to: itself, or the items of an object that a call made (of
/// a subclass of list); `absent` if it has none yet.
std::uint32_t PickleMachine::items_of(std::uint32_t target) const {
  return pickle_.kind(target) == PickleKind::call ? pickle_.part(pickle_[target], call_items) : target;
}

/// Returns true for a list or set of numbers.
bool PickleMachine::has_numbers(std::uint32_t target) const {
  const std::uint32_t items = items_of(target);
  return items != Pickle::absent && pickle_.kind(items) == PickleKind::numbers;
}

/// Returns true for a list or set, as `kind`, without items, and for one of numbers to which more can be added.
bool PickleMachine::takes_numbers(std::uint32_t target, PickleKind kind) const {
  // An object takes the items of a list only.
  if (kind != PickleKind::list && (kind != PickleKind::set || pickle_.kind(target) == PickleKind::call)) return false;
  const std::uint32_t items = items_of(target);
  if (items == Pickle::absent) return true;
  const PickleValue& value = pickle_[items];
  if (pickle_.container(items) != kind) return false;
  if (value.kind == PickleKind::numbers) return (*pickle_.number_lists)[static_cast<std::size_t>(value.first)].is_open;
  return value.count == 0;
}

/// Returns the same for the value below the last MARK, which must lie above the one before it.
bool PickleMachine::below_mark_takes(PickleKind kind) const {
  const std::size_t below = marks_.size() > 1 ? marks_[marks_.size() - 2] : 0;
  return marks_.back() > below && takes_numbers(stack_[marks_.back() - 1], kind);
}

/// Returns true unless the next opcodes are too few numbers to be stepped over, as those of most tuples. Looks at what
/// is in memory.
bool PickleMachine::numbers_follow() {
  std::span<const std::byte> bytes = cursor_.look(0, 1);
  for (std::uint64_t number = 0; number < min_numbers; ++number) {
    if (bytes.empty() || bytes[0] == frame) return true;
    const SpelledNumber next = spelled_number(Spelling::pickle, bytes);
    if (next.kind == NumberKind::other) return false;
    bytes = bytes.subspan(std::min<std::size_t>(next.size, bytes.size()));
  }
  return true;
}

/// Adds numbers to an empty container of that kind, which becomes one of numbers, or to one of numbers.
void PickleMachine::add_numbers(std::uint32_t target, PickleKind kind, const SegmentedNumbers& more, bool is_open) {
  PickleValue& value = pickle_.values[target_for(target, kind)];
  if (!pickle_.number_lists) pickle_.number_lists = std::make_shared<core::Table<PickleNumbers>>(pickle_.budget);
  if (value.kind != PickleKind::numbers) {
    value.kind = PickleKind::numbers;
    value.container = kind;
    value.first = pickle_.number_lists->size();
    pickle_.number_lists->push_back({SegmentedNumbers(Spelling::pickle, pickle_.budget)});
  }
  PickleNumbers& list = (*pickle_.number_lists)[static_cast<std::size_t>(value.first)];
  list.numbers.append(more);
  list.is_open = is_open;
  core::require_format_bound(list.numbers.size(), UINT32_MAX, "the number of items of a list");
  value.count = static_cast<std::uint32_t>(list.numbers.size());
}

/// Steps over the rest of a batch, whose MARK was read, and ends it. Returns false, without a change, if it has
/// anything but numbers, or too few of them to start a container.
bool PickleMachine::step_batch() {
  PickleKind kind = PickleKind::null;
  SegmentedNumbers batch(Spelling::pickle, pickle_.budget);
  std::uint64_t ahead = 0;
  std::uint64_t least = 1;
  while (true) {
    const std::span<const std::byte> bytes = cursor_.look(ahead, least);
    if (bytes.empty()) return false;
    const std::size_t used = batch.step(bytes, cursor_.offset() + ahead, UINT64_MAX);
    ahead += used;
    if (used > 0) {
      least = 1;
    } else if (kind = container_of(bytes[0]); kind != PickleKind::null) {
      break;
    } else if (least == 1) {
      // A number that the bytes looked at do not have whole, or a frame.
      if (bytes[0] != frame && spelled_number(Spelling::pickle, bytes).kind == NumberKind::other) return false;
      least = max_spelled_bytes;
    } else if (bytes[0] == frame && bytes.size() >= frame_bytes) {
      // A frame that is cut is read as usual, which refuses it.
      const auto size = core::load_le<std::uint64_t>(bytes.data() + 1);
      if (size > cursor_.remaining() - ahead - frame_bytes) return false;
      ahead += frame_bytes;
      least = 1;
    } else {
      return false;
    }
  }
  // The opcode adds to what is below the MARK, or makes a tuple or frozen set.
  const bool is_added = kind == PickleKind::list || kind == PickleKind::set;
  if (is_added && !below_mark_takes(kind)) return false;
  if (batch.size() < (is_added && has_numbers(stack_[marks_.back() - 1]) ? 1 : min_numbers)) return false;
  cursor_.skip(ahead + 1, what_);
  pickle_.left_bytes += ahead + 1;
  drop_mark();
  if (!is_added) push(add_container(kind, {}));
  add_numbers(top(), kind, batch, is_added && batch.size() >= min_numbers);
  return true;
}

/// Called after a MARK. Steps over batches of numbers as long as they follow each other, so that the bytes between two
/// of them are not read into a chunk of their own, which would be kept.
void PickleMachine::step_numbers() {
  const auto are_added = [&] { return below_mark_takes(PickleKind::list) || below_mark_takes(PickleKind::set); };
  if (!are_added() && !numbers_follow()) return;
  while (step_batch()) {
    const std::span<const std::byte> next = cursor_.look(0, 1);
    const bool goes_on =
        takes_numbers(stack_.back(), PickleKind::list) || takes_numbers(stack_.back(), PickleKind::set);
    if (next.empty() || next[0] != mark || !goes_on) return;
    cursor_.skip(1, what_);
    ++pickle_.left_bytes;
    marks_.push_back(stack_.size());
  }
}

/// Adds the number that the opcode before APPEND has pushed: Python writes the last item of a list so if it is the only
/// one of its batch.
bool PickleMachine::append_number(std::uint32_t target, std::uint32_t item) {
  const PickleKind kind = pickle_.kind(item);
  const bool is_number =
      kind == PickleKind::integer || kind == PickleKind::unsigned_integer || kind == PickleKind::real;
  // The opcode before this one has its number, unless it took the item from the memo or the stack.
  const std::uint64_t size = opcode_at_ - last_at_;
  if (!is_number || !has_numbers(target) || !takes_numbers(target, PickleKind::list) || size > max_spelled_bytes)
    return false;
  const Bytes spelled = left_in_->read(last_at_, size);
  SegmentedNumbers batch(Spelling::pickle, pickle_.budget);
  if (batch.step(spelled.span(), last_at_, 1) != size) return false;
  add_numbers(target, PickleKind::list, batch, false);
  return true;
}

void Pickle::unpack(std::uint32_t value, const Limits& limits) {
  if (kind(value) != PickleKind::numbers) return;
  const std::shared_ptr<const SegmentedNumbers> list = numbers(values[value]);
  unpacked = core::add_or_throw(unpacked, list->size(), "numbers of lists");
  core::require_limit(unpacked, limits.pickle_operations, "numbers of lists whose items are needed",
                      "pickle_operations", list->segments()[0].begin);
  core::require_format_bound(values.size() + list->size(), absent, "the number of values of a pickle");
  const std::size_t first = items.size();
  // With the room that PickleMachine::append() expects behind so many items.
  items.resize(first + std::bit_ceil(static_cast<std::size_t>(list->size())));
  std::size_t item = first;
  for (std::size_t i = 0; i < list->segments().size(); ++i) {
    const NumberSegment& segment = list->segments()[i];
    const Bytes bytes = input->read(segment.begin, segment.size);
    for (const Node& node : nodes_of(list->spelling(), bytes.span(), segment.begin, list->count_of(i))) {
      // Small integers are constants, as BININT1 pushes them.
      if (node.kind == NodeKind::integer && node.integer >= 0 && node.integer < 256) {
        items[item++] = small_integer + static_cast<std::uint32_t>(node.integer);
        continue;
      }
      PickleValue number;
      number.kind = node.kind == NodeKind::real      ? PickleKind::real
                    : node.kind == NodeKind::integer ? PickleKind::integer
                                                     : PickleKind::unsigned_integer;
      number.unsigned_integer = node.unsigned_integer;
      items[item++] = static_cast<std::uint32_t>(values.size());
      values.push_back(number);
    }
  }
  values[value].kind = values[value].container;
  values[value].first = first;
}

}  // namespace heft::format
