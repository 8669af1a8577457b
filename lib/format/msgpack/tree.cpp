#include "format/msgpack/tree.hpp"

#include <algorithm>
#include <memory>
#include <optional>
#include <string>
#include <utility>

#include <fmt/format.h>

#include "core/checked.hpp"
#include "core/text.hpp"
#include "format/range_checks.hpp"
#include "format/stored_numbers.hpp"
#include "format/view_checks.hpp"
#include "heft/error.hpp"
#include "heft/shape.hpp"

namespace heft::format {

void PackTree::read() {
  const PackItem head = reader_.next("the document");
  // A document that is one tensor has no key, so it gets this name.
  set_path(0, "tensor");
  if (take_tensor(head)) return;
  path_.clear();
  if (head.kind != PackKind::map && head.kind != PackKind::list) {
    catalog_.values.push_back({"value", make_leaf(head)});
    return;
  }
  open(head, {});
  // The top frame is the innermost open container; `number` counts items of a list, pairs of a map.
  while (!frames_.empty()) {
    const Frame& frame = frames_.back();
    if (frame.done == frame.head.number)
      close();
    else
      step();
  }
}

void PackTree::open(const PackItem& head, std::string_view key) {
  core::require_limit(frames_.size() + 1, limits_.metadata_depth, "the nesting of MessagePack", "metadata_depth",
                      head.offset);
  // Children of all open containers share one stack; this frame's start at first_child.
  frames_.push_back({.head = head,
                     .key = key,
                     .path_bytes = path_.size(),
                     .first_child = children_.size(),
                     .first_tensor = catalog_.tensors.size()});
}

// Reads one item of the top container.
void PackTree::step() {
  Frame& frame = frames_.back();
  const std::string_view key = read_key(frame);
  ++frame.done;
  const PackItem head = reader_.next("a value");
  // Counted over the whole document: each item becomes a node of memory.
  core::require_limit(++items_, limits_.metadata_items, "the number of MessagePack items", "metadata_items",
                      head.offset);
  set_path(frame.path_bytes, key);
  // The format sees every value first: its tensors are maps or extensions of certain forms.
  if (take_tensor(head)) {
    frame.holds_tensor = true;
    children_.push_back({key, none});
  } else if (head.items_inside() > 0) {
    if (!take_numbers(head, key)) open(head, key);
  } else {
    children_.push_back({key, make_leaf(head)});
  }
}

// Keeps the places of a list of numbers; of an inflated document, whose bytes are not kept, also a copy of the list. A
// short list becomes nodes, unless it has reals of 32 bits, which nodes would widen.
bool PackTree::take_numbers(const PackItem& list, std::string_view key) {
  constexpr std::uint64_t min_numbers = 32;
  if (list.kind != PackKind::list) return false;
  // Numbers are counted before they are stepped over, although they become no nodes.
  core::require_limit(core::add_or_throw(items_, list.number, "MessagePack items"), limits_.metadata_items,
                      "the number of MessagePack items", "metadata_items", list.offset);
  const std::uint64_t inside = reader_.offset();
  const auto copy = is_inflated_ ? std::make_shared<SpelledNumbers>(catalog_.budget) : nullptr;
  std::optional<SegmentedNumbers> numbers = reader_.segment_numbers(list, "a list of numbers", copy.get());
  // Items that are not numbers: the reader goes back, and the list is read item by item.
  if (!numbers || (list.number < min_numbers && numbers->dtype().find() != DType::f32)) {
    reader_.seek(inside);
    return false;
  }
  items_ += list.number;
  auto elements =
      std::make_shared<const StoredNumbers>(std::make_shared<const SegmentedNumbers>(*std::move(numbers)), 0,
                                            copy ? copied(copy) : number_bytes(catalog_, reader_.input()));
  children_.push_back({key, catalog_.add_node(catalog_.add_packed(std::move(elements), list.number))});
  return true;
}

std::shared_ptr<const NumberBytes> PackTree::copied(const std::shared_ptr<SpelledNumbers>& copy) {
  // The copy grew by doubling, and it lives as long as the checkpoint.
  copy->bytes.shrink_to_fit();
  catalog_.kept.emplace_back(std::span<const std::byte>(copy->bytes), copy);
  return std::make_shared<const NumberBytes>(catalog_.kept.back());
}

void PackTree::close() {
  // A copy: the frame is popped before its node is given to the parent.
  const Frame frame = frames_.back();
  frames_.pop_back();
  path_.resize(frame.path_bytes);
  if (frame.head.kind == PackKind::map) {
    require_distinct_keys(frame);
    // A joined tensor replaces the values beside its parts.
    if (frame.holds_tensor && join_tensors(std::span(children_).subspan(frame.first_child), frame.first_tensor))
      children_.resize(frame.first_child);
  }
  // Values at the top of the document are listed by name, whether or not it has tensors.
  const bool apart = frame.holds_tensor || frames_.empty();
  if (apart) emit_values(frame);
  const std::uint32_t node = apart ? none : make_container(frame);
  children_.resize(frame.first_child);
  if (frames_.empty()) return;
  // A container is transparent if a tensor lies at any depth in it: its children have names of their own.
  frames_.back().holds_tensor |= frame.holds_tensor;
  children_.push_back({frame.key, node});
}

void PackTree::require_distinct_keys(const Frame& frame) const {
  std::vector<std::string_view> keys;
  for (std::size_t child = frame.first_child; child < children_.size(); ++child) keys.push_back(children_[child].key);
  if (const auto twin = duplicate(std::move(keys)))
    throw Error(ErrorCode::ambiguous,
                fmt::format("the map '{}' has the key '{}' twice", core::escaped(path_), core::escaped(*twin)),
                {.offset = frame.head.offset});
}

void PackTree::emit_values(const Frame& frame) {
  for (std::size_t child = frame.first_child; child < children_.size(); ++child) {
    // Tensors are listed already, and so are the values of containers inside.
    if (children_[child].node == none) continue;
    set_path(frame.path_bytes, children_[child].key);
    catalog_.values.push_back({keep(path_), children_[child].node});
  }
  path_.resize(frame.path_bytes);
}

std::uint32_t PackTree::make_container(const Frame& frame) {
  const bool is_map = frame.head.kind == PackKind::map;
  std::vector<std::uint32_t> items;
  for (std::size_t child = frame.first_child; child < children_.size(); ++child) {
    if (is_map) items.push_back(catalog_.add_text(children_[child].key));
    items.push_back(children_[child].node);
  }
  return catalog_.add_container(is_map ? NodeKind::map : NodeKind::list, items);
}

std::string_view PackTree::read_key(const Frame& frame) {
  // Items of a list have their position as key.
  if (frame.head.kind == PackKind::list) return keep(fmt::to_string(frame.done));
  const PackItem key = reader_.next("a key");
  // Integer keys and texts of the same digits become equal keys, which close() refuses.
  if (key.kind == PackKind::unsigned_integer) return keep(fmt::to_string(key.number));
  if (key.kind == PackKind::negative) return keep(fmt::to_string(key.integer));
  if (key.kind != PackKind::text)
    throw Error(ErrorCode::unsupported,
                fmt::format("expected keys that are texts or integers, found {}", name(key.kind)),
                {.offset = key.offset});
  core::require_limit(key.number, limits_.name_bytes, "bytes of a key", "name_bytes", key.offset);
  return keep(reader_.take_text(key, "a key"));
}

std::uint32_t PackTree::make_leaf(const PackItem& head) {
  Node node;
  switch (head.kind) {
    case PackKind::nil: break;
    case PackKind::boolean:
      node.kind = NodeKind::boolean;
      node.unsigned_integer = head.number;
      break;
    case PackKind::unsigned_integer:
      node.kind = head.number > INT64_MAX ? NodeKind::unsigned_integer : NodeKind::integer;
      node.unsigned_integer = head.number;
      break;
    case PackKind::negative:
      node.kind = NodeKind::integer;
      node.integer = head.integer;
      break;
    case PackKind::real32:
    case PackKind::real64:
      node.kind = NodeKind::real;
      node.real = head.real;
      break;
    case PackKind::text: return catalog_.add_text(keep(reader_.take_text(head, "a text")));
    case PackKind::bytes:
      node = catalog_.nodes[catalog_.add_text(keep(reader_.take_text(head, "bytes")))];
      node.kind = NodeKind::bytes;
      break;
    case PackKind::extension: return make_extension(head);
    case PackKind::list: return catalog_.add_container(NodeKind::list, {});
    case PackKind::map: return catalog_.add_container(NodeKind::map, {});
  }
  return catalog_.add_node(node);
}

std::uint32_t PackTree::make_extension(const PackItem& head) {
  // An opaque node has a name and arguments: the extension's type and its bytes.
  const std::uint32_t type = catalog_.add_text(keep(fmt::format("ext {}", head.extension)));
  Node bytes = catalog_.nodes[catalog_.add_text(keep(reader_.take_text(head, "an extension")))];
  bytes.kind = NodeKind::bytes;
  const std::uint32_t parts[] = {type, catalog_.add_node(bytes)};
  return catalog_.add_container(NodeKind::opaque, parts);
}

bool PackTree::join_tensors(std::span<const Child>, std::size_t) { return false; }

void PackTree::set_path(std::size_t bytes, std::string_view part) {
  path_.resize(bytes);
  if (bytes > 0) path_ += '.';
  path_ += part;
}

std::string_view PackTree::keep(std::string_view text) {
  core::require_limit(core::add_or_throw(catalog_.arena.size_bytes(), text.size(), "bytes of texts"),
                      limits_.metadata_bytes, "bytes of all names and texts", "metadata_bytes");
  return catalog_.arena.store(text);
}

void PackTree::add_tensor(TensorEntry entry, std::uint64_t at) {
  core::require_limit(path_.size(), limits_.name_bytes, "bytes of a tensor's name", "name_bytes", at);
  core::require_limit(catalog_.tensors.size() + 1, limits_.tensors, "the number of tensors", "tensors", at);
  entry.name = keep(path_);
  if (entry.dtype == DType::unknown) {
    require_raw_bytes(catalog_, entry, at);
  } else {
    // A known dtype and shape determine the size; a different number of bytes means that one of the three is wrong.
    if (const std::uint64_t expected = bytes_for(entry.dtype, Shape(catalog_.sizes(entry))); expected != entry.size)
      throw Error(ErrorCode::corrupt, fmt::format("expected {} bytes for its shape, found {}", expected, entry.size),
                  {.tensor = path_, .offset = at});
  }
  catalog_.tensors.push_back(entry);
}

void PackTree::add_joined(TensorEntry whole, std::size_t first_tensor) {
  whole.name = keep(path_);
  const auto begin = catalog_.tensors.begin() + static_cast<std::ptrdiff_t>(first_tensor);
  catalog_.joined.push_back({whole, static_cast<std::uint32_t>(catalog_.parts.size()),
                             static_cast<std::uint32_t>(catalog_.tensors.end() - begin)});
  catalog_.parts.insert(catalog_.parts.end(), begin, catalog_.tensors.end());
  // The parts are the last tensors, because the walk is in file order and all of the map's items were just read.
  catalog_.tensors.erase(begin, catalog_.tensors.end());
}

std::vector<std::int64_t> PackTree::read_dims() { return read_dims(reader_.next(PackKind::list, "a shape")); }

std::vector<std::int64_t> PackTree::read_dims(const PackItem& list) {
  return format::read_dims(list.number, list.offset, path_, limits_,
                           [&] { return reader_.next(PackKind::unsigned_integer, "a dim"); });
}

}  // namespace heft::format
