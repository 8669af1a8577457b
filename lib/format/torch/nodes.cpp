#include "format/torch/nodes.hpp"

#include <fmt/format.h>

#include <array>

#include "core/text.hpp"
#include "format/range_checks.hpp"
#include "format/stored_numbers.hpp"
#include "format/torch/globals.hpp"
#include "heft/error.hpp"

namespace heft::format {
namespace {

constexpr std::uint32_t in_progress = none - 1;
constexpr int max_callables = 8;  // of nested calls that return a callable

// Returns the finer kind of a value: the one that the resolver set, else that of Python's containers.
TorchWord word_of(const PickleValue& value) noexcept {
  if (value.variant != 0) return static_cast<TorchWord>(value.variant);
  switch (value.kind == PickleKind::numbers ? value.container : value.kind) {
    case PickleKind::tuple: return TorchWord::tuple;
    case PickleKind::set: return TorchWord::set;
    case PickleKind::frozen_set: return TorchWord::frozen_set;
    default: return TorchWord::plain;
  }
}

// Returns the kind of a global that is a value by its name alone, as torch.float32; plain for others.
TorchWord word_of(GlobalKind kind) noexcept {
  switch (kind) {
    case GlobalKind::dtype: return TorchWord::dtype;
    case GlobalKind::layout: return TorchWord::layout;
    case GlobalKind::qscheme: return TorchWord::qscheme;
    default: return TorchWord::plain;
  }
}

}  // namespace

std::uint32_t TorchNodes::node_of(std::uint32_t value) {
  if (nodes_.empty()) {
    // The table is made on first use: files whose values are all tensors do not need it.
    nodes_.assign(pickle_.values.size(), none);
    null_ = catalog_.add_node({});
  }
  const auto enter = [&](std::uint32_t reached) {
    // A value that is used in several places becomes one node. One that is being made contains itself, and made()
    // returns null for it.
    if (nodes_[reached] != none) return false;
    nodes_[reached] = in_progress;
    return true;
  };
  // All children are made when a value is left, so its node can refer to them.
  walk_values(pickle_, value, enter, [&](std::uint32_t left) { nodes_[left] = make(left); });
  return nodes_[value];
}

std::uint32_t TorchNodes::made(std::uint32_t value) {
  return value == Pickle::absent || nodes_[value] == in_progress ? null_ : nodes_[value];
}

std::uint32_t TorchNodes::make(std::uint32_t value) {
  const PickleValue& v = pickle_[value];
  switch (v.kind) {
    case PickleKind::list:
    case PickleKind::tuple:
    case PickleKind::set:
    case PickleKind::frozen_set:
    case PickleKind::dict: return make_container(v);
    case PickleKind::call: return make_opaque(value);
    case PickleKind::numbers: return make_numbers(v);
    default: return make_leaf(v);
  }
}

/// Makes a list whose elements are read when they are looked at: from the pickle in memory, if it was inflated or is
/// short, else from the file.
std::uint32_t TorchNodes::make_numbers(const PickleValue& value) {
  if (!number_bytes_) number_bytes_ = number_bytes(catalog_, *pickle_.input);
  const std::uint64_t base = number_bytes_->memory().empty() ? pickle_begin_ : 0;
  auto elements = std::make_shared<const StoredNumbers>(pickle_.numbers(value), base, number_bytes_);
  Node list = catalog_.add_packed(std::move(elements), value.count);
  list.word = static_cast<std::uint8_t>(word_of(value));
  return catalog_.add_node(list);
}

std::uint32_t TorchNodes::make_container(const PickleValue& value) {
  const bool is_map = value.kind == PickleKind::dict;
  if (is_map) require_unique_keys(value);
  // One vector for all containers saves an allocation for each.
  scratch_.clear();
  for (const std::uint32_t child : pickle_.children(value)) scratch_.push_back(made(child));
  return catalog_.add_container(is_map ? NodeKind::map : NodeKind::list, scratch_,
                                static_cast<std::uint8_t>(word_of(value)));
}

void TorchNodes::require_unique_keys(const PickleValue& dict) const {
  std::vector<std::string_view> keys;
  const auto pairs = pickle_.children(dict);
  for (std::size_t i = 0; i < pairs.size(); i += 2)
    // Only texts become names by which values are looked up. Python's dicts have unique keys, so a twin was made by
    // hand.
    if (pickle_.kind(pairs[i]) == PickleKind::text) keys.push_back(pickle_.text(pairs[i]));
  if (const auto twice = duplicate(std::move(keys)))
    throw Error(ErrorCode::ambiguous, fmt::format("a dictionary has the key '{}' twice", core::escaped(*twice)));
}

std::uint32_t TorchNodes::add_text(std::string_view text, TorchWord word) {
  const std::uint32_t node = catalog_.add_text(text);
  catalog_.nodes[node].word = static_cast<std::uint8_t>(word);
  return node;
}

std::uint32_t TorchNodes::make_leaf(const PickleValue& value) {
  const TorchWord word = word_of(value);
  Node node;
  node.word = static_cast<std::uint8_t>(word);
  switch (value.kind) {
    case PickleKind::null: return null_;
    case PickleKind::boolean: node.kind = NodeKind::boolean, node.integer = value.integer; break;
    case PickleKind::integer: node.kind = NodeKind::integer, node.integer = value.integer; break;
    case PickleKind::unsigned_integer:
      node.kind = NodeKind::unsigned_integer, node.unsigned_integer = value.unsigned_integer;
      break;
    case PickleKind::big_integer:
      node.kind = NodeKind::integer, node.count = value.count, node.text = value.text;
      break;
    case PickleKind::real: node.kind = NodeKind::real, node.real = value.real; break;
    case PickleKind::text: return add_text({value.text, value.count}, word);
    case PickleKind::far_text:
    case PickleKind::bytes: {
      // Bytes that were left in the file are read now, because they are a value and no array.
      const std::string_view bytes = pickle_.fetch(value, limits_).bytes;
      const std::uint32_t made = add_text(bytes, word);
      catalog_.nodes[made].kind = NodeKind::bytes;
      return made;
    }
    case PickleKind::global: {
      const PickleGlobal& global = pickle_.global(value);
      const TorchWord of_name = word_of(known_global(global).kind);
      const std::uint32_t text =
          add_text(catalog_.arena.store(fmt::format("{}.{}", global.module, global.name)), of_name);
      // A dtype or a layout is a text. Any other name is a class or function that stands for itself.
      if (of_name != TorchWord::plain) return text;
      const std::array<std::uint32_t, 3> parts{text, null_, null_};  // a name that was not called
      return catalog_.add_container(NodeKind::opaque, parts);
    }
    default: return null_;  // a persistent object of unknown kind, which only tar files have
  }
  return catalog_.add_node(node);
}

std::uint32_t TorchNodes::class_name(std::uint32_t call) {
  std::string suffix;
  std::uint32_t callable = pickle_.part(pickle_[call], call_callable);
  // A call of the result of a call is shown as "module.name()": the name behind it and a pair of parentheses for each
  // step.
  for (int i = 0; i < max_callables && pickle_.kind(callable) == PickleKind::call; ++i) {
    callable = pickle_.part(pickle_[callable], call_callable);
    suffix += "()";
  }
  const PickleValue& value = pickle_[callable];
  if (value.kind != PickleKind::global) return catalog_.add_text(catalog_.arena.store("()"));
  const PickleGlobal& global = pickle_.global(value);
  return catalog_.add_text(catalog_.arena.store(fmt::format("{}.{}{}", global.module, global.name, suffix)));
}

/// Makes [name, arguments, state]. Items that were set on the object are its state, or are added to it.
std::uint32_t TorchNodes::make_opaque(std::uint32_t value) {
  const PickleValue& call = pickle_[value];
  // made() returns the null node for parts that are absent.
  std::uint32_t state = made(pickle_.part(call, call_state));
  const std::uint32_t items = made(pickle_.part(call, call_items));
  if (items != null_ && state != null_) {
    const std::array<std::uint32_t, 2> both{state, items};
    state = catalog_.add_container(NodeKind::list, both);
  } else if (items != null_) {
    state = items;
  }
  const std::array<std::uint32_t, 3> parts{class_name(value), made(pickle_.part(call, call_arguments)), state};
  return catalog_.add_container(NodeKind::opaque, parts);
}

}  // namespace heft::format
