#include "format/torch/tree.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <iterator>
#include <limits>
#include <memory>
#include <span>
#include <string>
#include <utility>

#include "core/checked.hpp"
#include "core/text.hpp"
#include "format/name_table.hpp"
#include "format/range_checks.hpp"
#include "format/torch/entries.hpp"
#include "format/torch/nodes.hpp"
#include "heft/error.hpp"

namespace heft::format {
namespace {

constexpr std::size_t max_listed_keys = 20;
constexpr std::size_t max_noted_tensors = 8;
constexpr std::size_t max_named_arrays = 3;
constexpr std::size_t max_shown_name = 80;

/// An edge of the tree of names: to a child, by a key's value, a position or a word.
struct Edge {
  std::uint32_t child = Pickle::absent;
  std::uint32_t key = Pickle::absent;
  std::uint32_t position = 0;
  std::string_view word = {};
};

/// Marks values that lead to tensors, then lists every path to a tensor. No function recurses: stacks are vectors.
class Walk {
 public:
  Walk(Catalog& catalog, TorchObjects& objects, const ReadOptions& options, const TorchPlace& place)
      : catalog_(catalog),
        objects_(objects),
        pickle_(objects.pickle),
        options_(options),
        entries_(catalog, objects, place),
        nodes_(catalog, pickle_, options.limits, place.pickle_begin),
        place_(place) {}

  void run();

 private:
  struct Frame {
    std::uint32_t value;
    std::uint32_t next;
    std::size_t name_bytes;  // of the name above this frame's edges
  };

  // A value with children that the survey has reached. Other values are leaves and need no entry.
  struct Location {
    std::uint32_t value;
    std::uint32_t height = 0;  // edges to the deepest descendant
    std::uint64_t leaves = 0;  // number of names below it, saturated
    bool closed = false;
    bool leads_to_tensor = false;
    bool on_path = false;
  };

  std::uint32_t choose_root() const;
  std::uint32_t edge_count(std::uint32_t value) const;
  Edge edge(std::uint32_t value, std::uint32_t position) const;
  void survey(std::uint32_t root);
  bool reach(std::uint32_t value);
  void close(Location& location);
  void mark_tensor_paths();
  void unpack_items();
  void count_leaves(std::uint32_t root);
  void list(std::uint32_t root);
  void visit(const Edge& edge, std::vector<Frame>& stack);
  void emit(std::uint32_t value, std::string_view name);
  void emit_value(std::string_view name, std::uint32_t node);
  void note_arrays() const;
  void append_part(const Edge& edge, bool first);
  std::string_view stored_name(const Edge& edge);
  bool is_numbers(std::uint32_t value) const;
  bool is_leaf_tensor(std::uint32_t value) const { return pickle_.kind(value) == PickleKind::tensor; }
  bool is_located(std::uint32_t value) const { return value != Pickle::absent && location_of_[value] != none; }
  Location& location(std::uint32_t value) { return locations_[location_of_[value]]; }
  const Location& location(std::uint32_t value) const { return locations_[location_of_[value]]; }
  bool holds_tensors(std::uint32_t value) const { return is_located(value) && location(value).leads_to_tensor; }

  Catalog& catalog_;
  TorchObjects& objects_;
  Pickle& pickle_;
  const ReadOptions& options_;
  TorchEntries entries_;
  TorchNodes nodes_;
  const TorchPlace& place_;

  core::Table<std::uint32_t> location_of_{catalog_.budget};  // of each value; `none` for leaves and unreachable values
  core::Table<Location> locations_{catalog_.budget};
  core::Table<std::uint32_t> closed_{catalog_.budget};  // locations, each after its children
  std::string name_;
  std::uint64_t visits_ = 0;
};

std::uint32_t Walk::choose_root() const {
  const std::string_view wanted = options_.torch.top_level_key;
  if (wanted.empty()) return pickle_.root;
  if (pickle_.kind(pickle_.root) != PickleKind::dict)
    throw Error(ErrorCode::type_mismatch,
                fmt::format("top_level_key '{}': the file's object is no dictionary, it is of kind {}",
                            core::escaped(wanted), name(pickle_.kind(pickle_.root))));
  const auto pairs = pickle_.children(pickle_.root);
  std::string keys;
  for (std::size_t i = 0; i < pairs.size(); i += 2) {
    const std::string key = key_text(pickle_, pairs[i]);
    // Compared as text, so that a key 3 is found by "3", as names of tensors are made.
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
      // Arguments and state, then the items that were set on the object.
      return 2 + (items == Pickle::absent || pickle_.kind(items) == PickleKind::numbers ? 0 : pickle_[items].count);
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
    // The items of a call, a list or a dict, are numbered after its two other edges.
    v = &pickle_[pickle_.part(*v, call_items)];
    position -= 2;
  }
  const auto children = pickle_.children(*v);
  if (v->kind == PickleKind::dict)
    return {children[std::size_t{position} * 2 + 1], children[std::size_t{position} * 2], position, {}};
  return {children[position], Pickle::absent, position, {}};
}

/// Visits each value once, children before parents.
void Walk::survey(std::uint32_t root) {
  location_of_.assign(pickle_.values.size(), none);
  // Keys of dicts are children here as well: a tuple as a key can be deep, and its depth counts.
  walk_values(
      pickle_, root, [&](std::uint32_t value) { return reach(value); },
      [&](std::uint32_t value) { close(location(value)); });
}

/// Returns true for a value with children that is reached for the first time.
bool Walk::reach(std::uint32_t value) {
  if (is_located(value)) return false;
  if (pickle_.kind(value) == PickleKind::persistent) entries_.adopt_storage(value);
  // A leaf has no location. So the tables grow with containers and not with values.
  if (pickle_.children(value).empty()) return false;
  location_of_[value] = static_cast<std::uint32_t>(locations_.size());
  locations_.push_back({value});
  return true;
}

void Walk::close(Location& location) {
  for (const std::uint32_t child : pickle_.children(location.value)) {
    // A child that is still open contains this value: its height would be infinite, and the walk will not enter it
    // again.
    if (child == Pickle::absent || (is_located(child) && !this->location(child).closed)) continue;
    location.height = std::max(location.height, is_located(child) ? this->location(child).height + 1 : 1);
  }
  core::require_limit(location.height, options_.limits.record_depth, "nesting of records", "record_depth");
  location.closed = true;
  // In this order children precede their parents, except in cycles.
  closed_.push_back(location_of_[location.value]);
}

/// Marks all values that hold a tensor, from the tensors upwards over reversed edges. Handles values that contain
/// themselves.
void Walk::mark_tensor_paths() {
  core::Table<std::pair<std::uint32_t, std::uint32_t>> parents(catalog_.budget);  // (child, parent), both locations
  std::vector<std::uint32_t> todo;
  for (const std::uint32_t at : closed_) {
    for (const std::uint32_t child : pickle_.children(locations_[at].value)) {
      if (is_located(child))
        parents.emplace_back(location_of_[child], at);
      else if (child != Pickle::absent && is_leaf_tensor(child))
        locations_[at].leads_to_tensor = true;
    }
    if (locations_[at].leads_to_tensor) todo.push_back(at);
  }
  // Counting sort by child: `first` has the start of each child's parents in `by_child`. A list for each child would
  // take an allocation for each.
  std::vector<std::uint32_t> first(locations_.size() + 1, 0);
  for (const auto& [child, parent] : parents) ++first[child + 1];
  for (std::size_t i = 1; i < first.size(); ++i) first[i] += first[i - 1];
  core::Table<std::uint32_t> by_child(catalog_.budget);
  by_child.resize(parents.size());
  std::vector<std::uint32_t> at(first.begin(), first.end() - 1);
  for (const auto& [child, parent] : parents) by_child[at[child]++] = parent;
  while (!todo.empty()) {
    const std::uint32_t child = todo.back();
    todo.pop_back();
    for (std::uint32_t i = first[child]; i < first[child + 1]; ++i) {
      Location& parent = locations_[by_child[i]];
      // Each location is entered once, so cycles end here.
      if (parent.leads_to_tensor) continue;
      parent.leads_to_tensor = true;
      todo.push_back(by_child[i]);
    }
  }
}

/// Makes values of numbers that are the items of an object with tensors: each has a name of its own.
void Walk::unpack_items() {
  for (const Location& location : locations_) {
    if (!location.leads_to_tensor || pickle_.kind(location.value) != PickleKind::call) continue;
    if (const std::uint32_t items = pickle_.part(pickle_[location.value], call_items); items != Pickle::absent)
      pickle_.unpack(items, options_.limits);
  }
  location_of_.resize(pickle_.values.size(), none);
}

/// Counts the names before any is made, because a few shared lists can expand to more names than fit memory.
void Walk::count_leaves(std::uint32_t root) {
  for (const std::uint32_t at : closed_) {
    Location& counted = locations_[at];
    const std::uint32_t edges = edge_count(counted.value);
    for (std::uint32_t i = 0; i < edges; ++i) {
      const std::uint32_t child = edge(counted.value, i).child;
      if (child == Pickle::absent) continue;
      // A child without tensors is one value, whatever is in it. In a cycle the open child still counts 0: list() does
      // not enter it.
      const std::uint64_t more = holds_tensors(child) ? location(child).leaves : 1;
      counted.leaves = core::checked_add(counted.leaves, more).value_or(std::numeric_limits<std::uint64_t>::max());
    }
  }
  if (!is_located(root) || is_numbers(root)) return;
  const std::uint64_t leaves = location(root).leaves;
  core::require_limit(leaves, options_.limits.tensors, "names of tensors and values", "tensors");
  // Usually each tensor has one name.
  catalog_.tensors.reserve(catalog_.tensors.size() +
                           std::min(static_cast<std::size_t>(leaves), objects_.tensors.size()));
  catalog_.dims.reserve(catalog_.dims.size() + objects_.dims.size() / 2);
  catalog_.order.reserve(catalog_.order.size() + std::min(static_cast<std::size_t>(leaves), objects_.tensors.size()));
}

/// Returns true for a list, tuple or set of numbers or booleans alone.
bool Walk::is_numbers(std::uint32_t value) const {
  const PickleKind kind = pickle_.kind(value);
  if (kind == PickleKind::numbers) return true;
  const auto items = pickle_.children(value);
  // The kinds from boolean to real, and from list to frozen_set, are adjacent in the enumeration.
  return kind >= PickleKind::list && kind <= PickleKind::frozen_set && kind != PickleKind::dict && !items.empty() &&
         std::ranges::all_of(items, [&](std::uint32_t item) {
           return pickle_.kind(item) >= PickleKind::boolean && pickle_.kind(item) <= PickleKind::real;
         });
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

/// Returns the current name in memory that the catalog keeps. A top-level key is used in place, because the pickle is
/// kept.
std::string_view Walk::stored_name(const Edge& edge) {
  const std::string_view key = edge.key == Pickle::absent ? std::string_view() : pickle_.text(edge.key);
  // Equal sizes mean that the name is this key alone, without a prefix.
  return key.size() == name_.size() ? key : catalog_.arena.store(name_);
}

void Walk::emit(std::uint32_t value, std::string_view name) {
  if (!is_leaf_tensor(value)) return emit_value(name, nodes_.node_of(value));
  // Tensors are sorted by place later; `order` keeps the order of the object.
  catalog_.order.push_back(static_cast<std::uint32_t>(catalog_.tensors.size()));
  entries_.add(name, pickle_[value].first);
}

void Walk::emit_value(std::string_view name, std::uint32_t node) {
  catalog_.order.push_back(order_of_value | static_cast<std::uint32_t>(catalog_.values.size()));
  catalog_.values.push_back({name, node});
}

void Walk::visit(const Edge& edge, std::vector<Frame>& stack) {
  if (edge.child == Pickle::absent) return;
  // Shared containers are walked once for each path to them, so the number of steps can exceed that of values by far.
  core::require_limit(++visits_, options_.limits.record_visits, "edges walked to tensors", "record_visits");
  const bool inner = holds_tensors(edge.child);
  if (inner && location(edge.child).on_path) return;  // an object that contains itself
  const std::size_t above = name_.size();
  // The first part has no dot before it.
  append_part(edge, stack.size() == 1 && place_.prefix.empty());
  if (!inner) {
    emit(edge.child, stored_name(edge));
    name_.resize(above);
    return;
  }
  // Only for an object without items: a subclass of list or dict is listed as the container that it is.
  if (pickle_.kind(edge.child) == PickleKind::call && pickle_.part(pickle_[edge.child], call_items) == Pickle::absent)
    emit_value(catalog_.arena.store(name_ + ".class"), nodes_.class_name(edge.child));
  // Cleared when its frame is left: an object can occur twice beside each other, but not inside itself.
  location(edge.child).on_path = true;
  stack.push_back({edge.child, 0, above});
}

void Walk::list(std::uint32_t root) {
  name_ = place_.prefix;
  // A single value in a distributed checkpoint has the name of its entry, with nothing appended.
  if (place_.is_named && !holds_tensors(root)) return emit(root, catalog_.arena.store(name_));
  // A whole of numbers alone is one value, as a list of them anywhere else, however many there are.
  const bool container =
      pickle_.kind(root) >= PickleKind::list && pickle_.kind(root) <= PickleKind::frozen_set && !is_numbers(root);
  if (!container && !holds_tensors(root)) {
    const Edge whole{root, Pickle::absent, 0, is_leaf_tensor(root) ? "tensor" : "value"};
    append_part(whole, name_.empty());
    return emit(root, stored_name(whole));
  }
  if (!is_located(root)) return;  // an empty container
  location(root).on_path = true;
  std::vector<Frame> stack{{root, 0, name_.size()}};
  while (!stack.empty()) {
    const std::uint32_t value = stack.back().value;
    if (stack.back().next == edge_count(value)) {
      location(value).on_path = false;
      name_.resize(stack.back().name_bytes);
      stack.pop_back();
      continue;
    }
    // Advanced before visit(), which can grow the stack and move the frame.
    const std::uint32_t next = stack.back().next++;
    visit(edge(value, next), stack);
  }
}

void Walk::run() {
  const std::uint32_t root = choose_root();
  survey(root);
  mark_tensor_paths();
  unpack_items();
  count_leaves(root);
  list(root);
  entries_.finish();
  note_arrays();
}

/// Of those arrays without numbers that the root reaches, the first by name.
void Walk::note_arrays() const {
  std::vector<TorchArray> reached;
  std::ranges::copy_if(objects_.arrays, std::back_inserter(reached),
                       [this](const TorchArray& array) { return is_located(array.value); });
  // In the order of the pickle, so that messages do not depend on the order of the passes.
  std::ranges::sort(reached, {}, &TorchArray::value);
  const std::size_t count = reached.size();
  std::string names;
  for (const TorchArray& array : std::span(reached).first(std::min(count, max_named_arrays))) {
    const std::string path = path_to(pickle_, array.value);
    const std::string_view dot = place_.prefix.empty() || path.empty() ? "" : ".";
    names += fmt::format("{}'{}' ({})", names.empty() ? "" : ", ",
                         core::escaped(fmt::format("{}{}{}", place_.prefix, dot, path), max_shown_name),
                         array.items.empty() ? "structured" : core::escaped(array.items, max_shown_name));
  }
  if (count == 0) return;
  if (count > max_named_arrays) names += fmt::format(" and {} more", count - max_named_arrays);
  catalog_.notes.push_back(fmt::format("{} of NumPy without numbers {}: {}", core::counted(count, "array"),
                                       count == 1 ? "is a record, not a tensor" : "are records, not tensors", names));
}

// Notes tensors whose Python object had attributes, which no Catalog can hold.
void note_attributes(Catalog& catalog, const TorchObjects& objects) {
  for (std::size_t i = 0; i < objects.with_attributes.size(); ++i) {
    // The first few notes name their tensors, one sums up the rest.
    if (i == max_noted_tensors) {
      catalog.notes.push_back(fmt::format("and those of {} more tensors", objects.with_attributes.size() - i));
      return;
    }
    catalog.notes.push_back(fmt::format("tensor '{}': the attributes of its Python object are left out",
                                        core::escaped(path_to(objects.pickle, objects.with_attributes[i]))));
  }
}

// Notes tensors of which the file has only this rank's part.
void note_shards(Catalog& catalog, const TorchObjects& objects) {
  for (std::size_t i = 0; i < objects.shards.size(); ++i) {
    if (i == max_noted_tensors) {
      catalog.notes.push_back(fmt::format("and {} more tensors are shards", objects.shards.size() - i));
      return;
    }
    const std::string name = core::escaped(path_to(objects.pickle, objects.shards[i].value));
    catalog.notes.push_back(fmt::format("tensor '{}' is a shard ({}): the file has only '{}._local_tensor'", name,
                                        objects.shards[i].what, name));
  }
}

}  // namespace

void add_objects(Catalog& catalog, TorchObjects&& objects, const ReadOptions& options, const TorchPlace& place) {
  Walk(catalog, objects, options, place).run();
  note_attributes(catalog, objects);
  note_shards(catalog, objects);
  // Names and texts of the Catalog point into the pickle's chunks.
  for (Bytes& bytes : objects.pickle.kept) catalog.kept.push_back(std::move(bytes));
  // Keeps decoded strings as long as the Catalog, by an owner without bytes.
  catalog.kept.emplace_back(std::span<const std::byte>(),
                            std::make_shared<core::Arena>(std::move(objects.pickle.arena)));
}

namespace {

/// Sorts the tensors into the Catalog's order and renumbers them in `order`.
void sort_in_order(Catalog& catalog) {
  // The sort needs positions, because `order` refers to them: from[new] = old, to[old] = new.
  std::vector<std::uint32_t> from(catalog.tensors.size());
  for (std::uint32_t i = 0; i < from.size(); ++i) from[i] = i;
  const auto before = [&](std::uint32_t a, std::uint32_t b) {
    return comes_before(catalog.tensors[a], catalog.tensors[b]);
  };
  if (std::is_sorted(from.begin(), from.end(), before)) return;
  std::sort(from.begin(), from.end(), before);
  std::vector<TensorEntry> sorted;
  sorted.reserve(from.size());
  std::vector<std::uint32_t> to(from.size());
  for (std::uint32_t i = 0; i < from.size(); ++i) {
    to[from[i]] = i;
    sorted.push_back(catalog.tensors[from[i]]);
  }
  std::ranges::copy(sorted, catalog.tensors.begin());
  for (std::uint32_t& leaf : catalog.order)
    if ((leaf & order_of_value) == 0) leaf = to[leaf];
}

}  // namespace

void finish(Catalog& catalog) {
  NameTable names(catalog.tensors.size() + catalog.values.size());
  const auto add = [&](std::string_view name) {
    if (!names.add(name).fresh)
      throw Error(ErrorCode::ambiguous, "two records have this name", {.tensor = std::string(name)});
  };
  for (const TensorEntry& tensor : catalog.tensors) add(tensor.name);
  for (const Value& value : catalog.values) add(value.name);
  sort_in_order(catalog);
}

Catalog catalog_of(const core::Input& input, std::string_view format, std::string_view detail, TorchObjects&& objects,
                   const ReadOptions& options) {
  check_tensors(objects, options.limits);
  Catalog catalog(input.budget());
  catalog.format = format;
  catalog.detail = detail;
  add_objects(catalog, std::move(objects), options, {});
  finish(catalog);
  return catalog;
}

}  // namespace heft::format
