#include "format/torch_tree.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <limits>
#include <memory>
#include <string>
#include <utility>

#include "core/checked.hpp"
#include "core/text.hpp"
#include "format/layout.hpp"
#include "format/name_table.hpp"
#include "format/torch_entries.hpp"
#include "format/torch_nodes.hpp"
#include "heft/error.hpp"

namespace heft::format {
namespace {

constexpr std::size_t max_listed_keys = 20;

/// An edge of the tree that names are made of: to a child, by a key's value, a position or a word.
struct Edge {
  std::uint32_t child = Pickle::absent;
  std::uint32_t key = Pickle::absent;
  std::uint32_t position = 0;
  std::string_view word = {};
};

/// Finds what leads to tensors, then lists every path that does. No function here calls itself: stacks are vectors.
class Walk {
 public:
  Walk(Catalog& catalog, TorchObjects& objects, const ReadOptions& options, const TorchPlace& place)
      : catalog_(catalog),
        objects_(objects),
        pickle_(objects.pickle),
        options_(options),
        entries_(catalog, objects, place),
        nodes_(catalog, pickle_),
        place_(place) {}

  void run();

 private:
  struct Frame {
    std::uint32_t value;
    std::uint32_t next;
    std::size_t name_bytes;  // of the name above this frame's edges
  };

  std::uint32_t choose_root() const;
  std::uint32_t edge_count(std::uint32_t value) const;
  Edge edge(std::uint32_t value, std::uint32_t position) const;
  void survey(std::uint32_t root);
  void open(std::uint32_t value, std::vector<Frame>& stack);
  void close(std::uint32_t value);
  void mark_tensor_paths();
  void count_leaves(std::uint32_t root);
  void list(std::uint32_t root);
  void visit(const Edge& edge, std::vector<Frame>& stack);
  void emit(std::uint32_t value);
  void append_part(const Edge& edge, bool first);
  bool is_leaf_tensor(std::uint32_t value) const { return pickle_.kind(value) == PickleKind::tensor; }

  Catalog& catalog_;
  TorchObjects& objects_;
  Pickle& pickle_;
  const ReadOptions& options_;
  TorchEntries entries_;
  TorchNodes nodes_;
  const TorchPlace& place_;

  enum class State : std::uint8_t { unseen, open, closed };
  std::vector<State> state_;
  std::vector<bool> leads_to_tensor_;
  std::vector<std::uint32_t> height_;  // of each value: edges to its deepest descendant
  std::vector<std::uint32_t> closed_;  // values, each after its children
  std::vector<std::uint64_t> leaves_;  // names that a value stands for, saturated
  std::vector<bool> on_path_;
  std::string name_;
  std::uint64_t visits_ = 0;
};

std::uint32_t Walk::choose_root() const {
  const std::string_view wanted = options_.top_level_key;
  if (wanted.empty()) return pickle_.root;
  if (pickle_.kind(pickle_.root) != PickleKind::dict)
    throw Error(ErrorCode::type_mismatch,
                fmt::format("top_level_key '{}': the file's object is no dictionary, it is of kind {}",
                            core::escaped(wanted), name(pickle_.kind(pickle_.root))));
  const auto pairs = pickle_.children(pickle_.root);
  std::string keys;
  for (std::size_t i = 0; i < pairs.size(); i += 2) {
    const std::string key = key_text(pickle_, pairs[i]);
    if (key == wanted) {
      const PickleKind kind = pickle_.kind(pairs[i + 1]);
      if (kind != PickleKind::dict)
        throw Error(ErrorCode::type_mismatch,
                    fmt::format("top_level_key '{}' does not hold a dictionary, it is of kind {}",
                                core::escaped(wanted), name(kind)));
      return pairs[i + 1];
    }
    if (i / 2 < max_listed_keys) keys += fmt::format("{}'{}'", keys.empty() ? "" : ", ", core::escaped(key));
  }
  if (pairs.size() / 2 > max_listed_keys) keys += fmt::format(" and {} more", pairs.size() / 2 - max_listed_keys);
  throw Error(ErrorCode::not_found, fmt::format("no top_level_key '{}'; there are {}", core::escaped(wanted),
                                                keys.empty() ? "no keys" : keys));
}

std::uint32_t Walk::edge_count(std::uint32_t value) const {
  const PickleValue& v = pickle_[value];
  switch (v.kind) {
    case PickleKind::list:
    case PickleKind::tuple:
    case PickleKind::set:
    case PickleKind::frozen_set:
    case PickleKind::dict: return v.count;
    case PickleKind::call: {
      const std::uint32_t items = pickle_.part(v, call_items);
      return 2 + (items == Pickle::absent ? 0 : pickle_[items].count);
    }
    default: return 0;
  }
}

Edge Walk::edge(std::uint32_t value, std::uint32_t position) const {
  const PickleValue* v = &pickle_[value];
  if (v->kind == PickleKind::call) {
    const std::uint32_t arguments = pickle_.part(*v, call_arguments);
    if (position == 0)
      return {pickle_[arguments].count == 0 ? Pickle::absent : arguments, Pickle::absent, 0, "arguments"};
    if (position == 1) return {pickle_.part(*v, call_state), Pickle::absent, 0, "state"};
    v = &pickle_[pickle_.part(*v, call_items)];
    position -= 2;
  }
  const auto children = pickle_.children(*v);
  if (v->kind == PickleKind::dict)
    return {children[std::size_t{position} * 2 + 1], children[std::size_t{position} * 2], position, {}};
  return {children[position], Pickle::absent, position, {}};
}

/// Each value once, children before parents.
void Walk::survey(std::uint32_t root) {
  const std::size_t count = pickle_.values.size();
  state_.assign(count, State::unseen);
  height_.assign(count, 0);
  std::vector<Frame> stack;
  open(root, stack);
  while (!stack.empty()) {
    Frame& frame = stack.back();
    const auto children = pickle_.children(frame.value);
    if (frame.next == children.size()) {
      close(frame.value);
      stack.pop_back();
      continue;
    }
    const std::uint32_t child = children[frame.next++];
    if (child != Pickle::absent && state_[child] == State::unseen) open(child, stack);
  }
}

void Walk::open(std::uint32_t value, std::vector<Frame>& stack) {
  if (pickle_.kind(value) == PickleKind::persistent) entries_.adopt_storage(value);
  state_[value] = State::open;
  stack.push_back({value, 0, 0});
}

void Walk::close(std::uint32_t value) {
  for (const std::uint32_t child : pickle_.children(value))
    if (child != Pickle::absent && state_[child] == State::closed)
      height_[value] = std::max(height_[value], height_[child] + 1);
  core::require_limit(height_[value], options_.limits.record_depth, "nesting of records", "record_depth");
  state_[value] = State::closed;
  closed_.push_back(value);
}

/// From each tensor up to everything that holds it, over reversed edges; right for values that contain themselves, too.
void Walk::mark_tensor_paths() {
  leads_to_tensor_.assign(pickle_.values.size(), false);
  std::vector<std::pair<std::uint32_t, std::uint32_t>>
      parents;  // (child, parent), of children that are containers or tensors
  for (const std::uint32_t value : closed_)
    for (const std::uint32_t child : pickle_.children(value))
      if (child != Pickle::absent && (is_leaf_tensor(child) || !pickle_.children(child).empty()))
        parents.emplace_back(child, value);
  std::vector<std::uint32_t> first(pickle_.values.size() + 1, 0);
  for (const auto& [child, parent] : parents) ++first[child + 1];
  for (std::size_t i = 1; i < first.size(); ++i) first[i] += first[i - 1];
  std::vector<std::uint32_t> by_child(parents.size());
  std::vector<std::uint32_t> at(first.begin(), first.end() - 1);
  for (const auto& [child, parent] : parents) by_child[at[child]++] = parent;
  std::vector<std::uint32_t> todo;
  for (const std::uint32_t value : closed_)
    if (is_leaf_tensor(value)) todo.push_back(value);
  for (const std::uint32_t value : todo) leads_to_tensor_[value] = true;
  while (!todo.empty()) {
    const std::uint32_t value = todo.back();
    todo.pop_back();
    for (std::uint32_t i = first[value]; i < first[value + 1]; ++i) {
      if (leads_to_tensor_[by_child[i]]) continue;
      leads_to_tensor_[by_child[i]] = true;
      todo.push_back(by_child[i]);
    }
  }
}

/// How many names there will be, before any is made: a few shared lists can stand for more than memory holds.
void Walk::count_leaves(std::uint32_t root) {
  leaves_.assign(pickle_.values.size(), 0);
  for (const std::uint32_t value : closed_) {
    const std::uint32_t edges = edge_count(value);
    std::uint64_t leaves = edges == 0 ? 1 : 0;
    for (std::uint32_t i = 0; i < edges; ++i) {
      const std::uint32_t child = edge(value, i).child;
      if (child == Pickle::absent) continue;
      const std::uint64_t more = leads_to_tensor_[child] ? leaves_[child] : 1;
      leaves = core::checked_add(leaves, more).value_or(std::numeric_limits<std::uint64_t>::max());
    }
    leaves_[value] = leaves;
  }
  core::require_limit(leaves_[root], options_.limits.tensors, "names of tensors and values", "tensors");
}

void Walk::append_part(const Edge& edge, bool first) {
  if (!first) name_ += '.';
  if (!edge.word.empty()) {
    name_ += edge.word;
  } else if (edge.key == Pickle::absent) {
    fmt::format_to(std::back_inserter(name_), "{}", edge.position);
  } else if (pickle_.kind(edge.key) == PickleKind::text) {
    name_ += pickle_.text(edge.key);
  } else {
    name_ += key_text(pickle_, edge.key);
  }
  core::require_limit(name_.size(), options_.limits.name_bytes, "length of a name", "name_bytes");
}

void Walk::emit(std::uint32_t value) {
  const std::string_view stored = catalog_.arena.store(name_);
  if (is_leaf_tensor(value))
    entries_.add(stored, pickle_[value].first);
  else
    catalog_.values.push_back({stored, nodes_.node_of(value)});
}

void Walk::visit(const Edge& edge, std::vector<Frame>& stack) {
  if (edge.child == Pickle::absent) return;
  core::require_limit(++visits_, options_.limits.record_visits, "edges walked to tensors", "record_visits");
  if (on_path_[edge.child]) return;  // an object that contains itself
  const std::size_t above = name_.size();
  append_part(edge, stack.size() == 1 && place_.prefix.empty());
  if (is_leaf_tensor(edge.child) || !leads_to_tensor_[edge.child]) {
    emit(edge.child);
    name_.resize(above);
    return;
  }
  if (pickle_.kind(edge.child) == PickleKind::call && pickle_.part(pickle_[edge.child], call_items) == Pickle::absent)
    catalog_.values.push_back({catalog_.arena.store(name_ + ".class"), nodes_.class_name(edge.child)});
  on_path_[edge.child] = true;
  stack.push_back({edge.child, 0, above});
}

void Walk::list(std::uint32_t root) {
  name_ = place_.prefix;
  const bool container = pickle_.kind(root) >= PickleKind::list && pickle_.kind(root) <= PickleKind::frozen_set;
  if (!container && (is_leaf_tensor(root) || !leads_to_tensor_[root])) {
    append_part({root, Pickle::absent, 0, is_leaf_tensor(root) ? "tensor" : "value"}, name_.empty());
    return emit(root);
  }
  on_path_.assign(pickle_.values.size(), false);
  on_path_[root] = true;
  std::vector<Frame> stack{{root, 0, name_.size()}};
  while (!stack.empty()) {
    const std::uint32_t value = stack.back().value;
    if (stack.back().next == edge_count(value)) {
      on_path_[value] = false;
      name_.resize(stack.back().name_bytes);
      stack.pop_back();
      continue;
    }
    const std::uint32_t next = stack.back().next++;
    visit(edge(value, next), stack);
  }
}

void Walk::run() {
  const std::uint32_t root = choose_root();
  survey(root);
  mark_tensor_paths();
  count_leaves(root);
  list(root);
}

}  // namespace

void add_objects(Catalog& catalog, TorchObjects&& objects, const ReadOptions& options, const TorchPlace& place) {
  Walk(catalog, objects, options, place).run();
  for (Bytes& bytes : objects.pickle.kept) catalog.kept.push_back(std::move(bytes));
  // The decoded strings live as long as the Catalog: an owner without bytes of its own.
  catalog.kept.emplace_back(std::span<const std::byte>(),
                            std::make_shared<core::Arena>(std::move(objects.pickle.arena)));
}

void finish(Catalog& catalog) {
  NameTable names(catalog.tensors.size() + catalog.values.size());
  const auto add = [&](std::string_view name) {
    if (!names.add(name).fresh) throw Error(ErrorCode::ambiguous, "two records have this name", {.tensor = std::string(name)});
  };
  for (const TensorEntry& tensor : catalog.tensors) add(tensor.name);
  for (const Value& value : catalog.values) add(value.name);
  sort_by_place(catalog.tensors);
}

}  // namespace heft::format
