// format/torch/paths.cpp: names of values in a pickle: keys as parts of dotted paths, and the path to a value for
// errors.
#include <fmt/format.h>

#include <algorithm>
#include <ranges>
#include <vector>

#include "core/text.hpp"
#include "format/stored_numbers.hpp"
#include "format/torch/objects.hpp"

namespace heft::format {
namespace {

constexpr int max_key_depth = 4;  // of tuples in keys
constexpr std::size_t max_key_items = 16;

// Returns a tuple of numbers that were stepped over, of which there are more than max_key_items, as text.
std::string numbers_text(const Pickle& pickle, const PickleValue& tuple) {
  const auto numbers = pickle.numbers(tuple);
  const NumberSegment& segment = numbers->segments()[0];
  const Bytes bytes = pickle.input->read(segment.begin, segment.size);
  const std::vector<Node> nodes = nodes_of(numbers->spelling(), bytes.span(), segment.begin, numbers->count_of(0));
  std::string text = "(";
  for (std::size_t i = 0; i < nodes.size() && i < max_key_items; ++i) {
    text += i ? ", " : "";
    if (nodes[i].kind == NodeKind::real)
      text += fmt::format("{}", nodes[i].real);
    else if (nodes[i].kind == NodeKind::unsigned_integer)
      text += fmt::format("{}", nodes[i].unsigned_integer);
    else
      text += fmt::format("{}", nodes[i].integer);
  }
  return text + ", ...)";
}

// Returns a key as text; `depth` counts the tuples around it.
std::string key_text(const Pickle& pickle, std::uint32_t key, int depth) {
  const PickleValue& value = pickle[key];
  switch (value.kind) {
    case PickleKind::text: return std::string(pickle.text(key));
    case PickleKind::integer: return std::to_string(value.integer);
    case PickleKind::unsigned_integer: return std::to_string(value.unsigned_integer);
    case PickleKind::boolean: return value.integer ? "True" : "False";
    case PickleKind::null: return "None";
    case PickleKind::real: return fmt::format("{}", value.real);
    case PickleKind::bytes:
      // Bytes that were left in the file are not read for a message.
      if (pickle.blob(value).place != PickleBlob::Place::kept)
        return fmt::format("b'<{} bytes>'", pickle.blob(value).size);
      return fmt::format("b'{}'", core::escaped(pickle.blob(value).bytes));
    case PickleKind::global: return fmt::format("{}.{}", pickle.global(value).module, pickle.global(value).name);
    case PickleKind::tuple: break;
    case PickleKind::numbers:
      if (value.container == PickleKind::tuple) return numbers_text(pickle, value);
      return fmt::format("<{}>", name(value.container));
    default: return fmt::format("<{}>", name(value.kind));
  }
  // Bounded, because a tuple can contain the same tuple twice at each level: its text would grow exponentially.
  if (depth == max_key_depth) return "(...)";
  std::string text = "(";
  const auto items = pickle.children(key);
  for (std::size_t i = 0; i < items.size() && i < max_key_items; ++i)
    text += (i ? ", " : "") + key_text(pickle, items[i], depth + 1);
  if (items.size() > max_key_items) text += ", ...";
  return text + (items.size() == 1 ? ",)" : ")");
}

struct Step {
  std::uint32_t value;
  std::uint32_t parent;  // index in the list of steps
  std::string part;      // empty for steps that are not part of a name: the parts of a call, and its arguments
  bool of_call = false;  // the tuple of a call's arguments
};

// Returns the parts from the root to step `last`, joined by dots.
std::string join(const std::vector<Step>& steps, std::uint32_t last) {
  std::vector<const std::string*> parts;
  // From the value up to the root, whose step is 0; then reversed.
  for (std::uint32_t at = last; at != 0; at = steps[at].parent)
    if (!steps[at].part.empty()) parts.push_back(&steps[at].part);
  std::string path;
  for (const std::string* part : parts | std::views::reverse) path += (path.empty() ? "" : ".") + *part;
  return path;
}

}  // namespace

std::string key_text(const Pickle& pickle, std::uint32_t key) { return key_text(pickle, key, 0); }

std::string path_to(const Pickle& pickle, std::uint32_t value) {
  // Breadth first, each value once: finds a shortest path, also in pickles that refer to themselves.
  std::vector<bool> seen(pickle.values.size());
  std::vector<Step> steps{{pickle.root, 0, {}, false}};
  for (std::uint32_t at = 0; at < steps.size(); ++at) {
    const std::uint32_t current = steps[at].value;
    if (current == value) return join(steps, at);
    const bool keyed = pickle.kind(current) == PickleKind::dict;
    const bool is_call = pickle.kind(current) == PickleKind::call;
    // Parts of a name as tree.cpp makes them: keys of dicts and positions of lists. Parts of calls have no name.
    const bool listed = !keyed && !is_call && !steps[at].of_call;
    const auto children = pickle.children(current);
    for (std::size_t i = keyed ? 1 : 0; i < children.size(); i += keyed ? 2 : 1) {
      const std::uint32_t child = children[i];
      if (child == Pickle::absent || seen[child]) continue;
      seen[child] = true;
      steps.push_back({child, at,
                       keyed    ? key_text(pickle, children[i - 1])
                       : listed ? std::to_string(i)
                                : std::string(),
                       is_call && i == call_arguments});
    }
  }
  return {};
}

}  // namespace heft::format
