#include "format/gguf_metadata.hpp"

#include <algorithm>
#include <numeric>
#include <span>
#include <vector>

#include <fmt/format.h>

#include "core/checked.hpp"
#include "core/text.hpp"
#include "format/layout.hpp"
#include "heft/error.hpp"

namespace heft::format::gguf {
namespace {

constexpr std::uint64_t expected_values = 1u << 20;
constexpr std::uint32_t last_type = static_cast<std::uint32_t>(ValueType::f64);

// A value becomes a node of its own kind; nothing is widened beyond what Node holds exactly.
Node to_node(std::int64_t value) noexcept {
  Node node;
  node.kind = NodeKind::integer;
  node.integer = value;
  return node;
}

Node to_node(std::uint64_t value) noexcept {
  if (value <= INT64_MAX) return to_node(static_cast<std::int64_t>(value));
  Node node;
  node.kind = NodeKind::unsigned_integer;
  node.natural = value;
  return node;
}

Node to_node(double value) noexcept {
  Node node;
  node.kind = NodeKind::real;
  node.real = value;
  return node;
}

Node to_node(std::string_view text) noexcept {
  Node node;
  node.kind = NodeKind::text;
  node.count = static_cast<std::uint32_t>(text.size());
  node.text = text.data();
  return node;
}

/// The fewest bytes a value of that type takes.
std::uint64_t least_bytes(ValueType type, const Dialect& dialect) noexcept {
  switch (type) {
    case ValueType::u8:
    case ValueType::i8:
    case ValueType::boolean: return 1;
    case ValueType::u16:
    case ValueType::i16: return 2;
    case ValueType::u32:
    case ValueType::i32:
    case ValueType::f32: return 4;
    case ValueType::u64:
    case ValueType::i64:
    case ValueType::f64: return 8;
    case ValueType::string: return dialect.length_bytes();
    case ValueType::array: return 4 + dialect.length_bytes();
  }
  return 1;
}

/// Arrays of arrays are read with a list of the open ones instead of recursion: the depth is the file's choice.
class MetadataReader {
 public:
  MetadataReader(Wire& wire, const Limits& limits, Catalog& catalog) noexcept
      : wire_(wire), limits_(limits), catalog_(catalog) {}

  void read(std::uint64_t pairs);

 private:
  /// The elements of an array of arrays that are still to be read: nodes [next, end).
  struct OpenArray {
    std::uint32_t next;
    std::uint32_t end;
  };

  std::uint32_t read_key();
  std::uint32_t read_value();
  void read_array(std::uint32_t node);
  void open_array(std::uint32_t node);
  void make_list(std::uint32_t node, std::uint64_t count);
  void append_scalars(ValueType type, std::uint64_t count);
  template <class T, class Wide>
  void append_numbers(ValueType type, std::uint64_t count);
  void append_strings(std::uint64_t count);
  void append_booleans(std::uint64_t count);
  void append(Node node, ValueType type);
  ValueType read_type();
  void count_items(std::uint64_t more);
  void require_unique_keys(std::span<const std::uint32_t> pairs) const;

  Wire& wire_;
  const Limits& limits_;
  Catalog& catalog_;
  std::vector<OpenArray> open_;
  std::uint64_t items_ = 0;
};

void MetadataReader::read(std::uint64_t pairs) {
  wire_.require_room(pairs, wire_.dialect().length_bytes() + 5, "the number of key-value pairs");
  // A tokenizer has half a million values: growing the tables would touch twice the memory. Reserved and unused, they cost none.
  const std::uint64_t expected = std::min(wire_.remaining(), expected_values);
  catalog_.nodes.reserve(catalog_.nodes.size() + expected);
  catalog_.children.reserve(catalog_.children.size() + expected);
  std::vector<std::uint32_t> nodes;
  for (std::uint64_t i = 0; i < pairs; ++i) {
    count_items(1);
    nodes.push_back(read_key());
    nodes.push_back(read_value());
  }
  require_unique_keys(nodes);
  catalog_.metadata = catalog_.add_container(NodeKind::map, nodes);
}

std::uint32_t MetadataReader::read_key() {
  const std::uint64_t at = wire_.offset();
  const std::string_view key = wire_.name("a metadata key");
  core::require_limit(key.size(), limits_.name_bytes, "bytes of a metadata key", "name_bytes", at);
  if (key.empty()) throw Error(ErrorCode::corrupt, "a metadata key is empty", {.offset = at});
  return catalog_.add_node(to_node(key));
}

std::uint32_t MetadataReader::read_value() {
  const ValueType type = read_type();
  const auto node = static_cast<std::uint32_t>(catalog_.nodes.size());
  if (type != ValueType::array) {
    append_scalars(type, 1);
  } else {
    append({}, type);
    read_array(node);
  }
  return node;
}

void MetadataReader::read_array(std::uint32_t node) {
  open_array(node);
  while (!open_.empty()) {
    if (open_.back().next == open_.back().end) {
      open_.pop_back();
    } else {
      open_array(open_.back().next++);
    }
  }
}

// Reads an array's head, and its elements unless they are arrays: those are left on the list.
void MetadataReader::open_array(std::uint32_t node) {
  const std::uint64_t at = wire_.offset();
  const ValueType type = read_type();
  const std::uint64_t count = wire_.count(least_bytes(type, wire_.dialect()), "the number of array elements");
  count_items(count);
  make_list(node, count);
  if (type != ValueType::array) return append_scalars(type, count);
  core::require_limit(open_.size() + 2, limits_.metadata_depth, "the depth of nested arrays", "metadata_depth", at);
  const auto first = static_cast<std::uint32_t>(catalog_.nodes.size());
  catalog_.nodes.resize(first + count);
  open_.push_back({first, static_cast<std::uint32_t>(first + count)});
}

// Makes `node` a list of the `count` nodes that come next.
void MetadataReader::make_list(std::uint32_t node, std::uint64_t count) {
  const std::size_t first_child = catalog_.children.size();
  catalog_.children.resize(first_child + count);
  std::iota(catalog_.children.begin() + static_cast<std::ptrdiff_t>(first_child), catalog_.children.end(),
            static_cast<std::uint32_t>(catalog_.nodes.size()));
  Node& list = catalog_.nodes[node];
  list.kind = NodeKind::list;
  list.count = static_cast<std::uint32_t>(count);
  list.first = first_child;
}

void MetadataReader::append_scalars(ValueType type, std::uint64_t count) {
  switch (type) {
    case ValueType::u8: return append_numbers<std::uint8_t, std::int64_t>(type, count);
    case ValueType::i8: return append_numbers<std::int8_t, std::int64_t>(type, count);
    case ValueType::u16: return append_numbers<std::uint16_t, std::int64_t>(type, count);
    case ValueType::i16: return append_numbers<std::int16_t, std::int64_t>(type, count);
    case ValueType::u32: return append_numbers<std::uint32_t, std::int64_t>(type, count);
    case ValueType::i32: return append_numbers<std::int32_t, std::int64_t>(type, count);
    case ValueType::u64: return append_numbers<std::uint64_t, std::uint64_t>(type, count);
    case ValueType::i64: return append_numbers<std::int64_t, std::int64_t>(type, count);
    case ValueType::f32: return append_numbers<float, double>(type, count);
    case ValueType::f64: return append_numbers<double, double>(type, count);
    case ValueType::boolean: return append_booleans(count);
    case ValueType::string: return append_strings(count);
    case ValueType::array: return;
  }
}

// The finer kind that a record shows; texts, arrays and booleans have only one.
NodeVariant variant_of(ValueType type) noexcept {
  switch (type) {
    case ValueType::u8: return NodeVariant::u8;
    case ValueType::i8: return NodeVariant::i8;
    case ValueType::u16: return NodeVariant::u16;
    case ValueType::i16: return NodeVariant::i16;
    case ValueType::u32: return NodeVariant::u32;
    case ValueType::i32: return NodeVariant::i32;
    case ValueType::u64: return NodeVariant::u64;
    case ValueType::i64: return NodeVariant::i64;
    case ValueType::f32: return NodeVariant::f32;
    case ValueType::f64: return NodeVariant::f64;
    case ValueType::boolean:
    case ValueType::string:
    case ValueType::array: break;
  }
  return NodeVariant::plain;
}

template <class T, class Wide>
void MetadataReader::append_numbers(ValueType type, std::uint64_t count) {
  for (std::uint64_t i = 0; i < count; ++i) append(to_node(Wide{wire_.number<T>("a metadata value")}), type);
}

void MetadataReader::append_strings(std::uint64_t count) {
  for (std::uint64_t i = 0; i < count; ++i) append(to_node(wire_.string("a metadata string")), ValueType::string);
}

// ggml takes any other byte for true, candle refuses it, and the specification calls it invalid.
void MetadataReader::append_booleans(std::uint64_t count) {
  for (std::uint64_t i = 0; i < count; ++i) {
    const std::uint64_t at = wire_.offset();
    const auto value = wire_.number<std::uint8_t>("a metadata value");
    if (value > 1)
      throw Error(ErrorCode::corrupt, fmt::format("a boolean is {}, expected 0 or 1", value), {.offset = at});
    Node node = to_node(std::int64_t{value});
    node.kind = NodeKind::boolean;
    append(node, ValueType::boolean);
  }
}

void MetadataReader::append(Node node, ValueType type) {
  node.variant = variant_of(type);
  catalog_.nodes.push_back(node);
}

ValueType MetadataReader::read_type() {
  const std::uint64_t at = wire_.offset();
  const auto type = wire_.number<std::uint32_t>("the type of a metadata value");
  if (type > last_type)
    throw Error(ErrorCode::corrupt, fmt::format("a metadata value has type {}, expected 0 to {}", type, last_type),
                {.offset = at});
  return static_cast<ValueType>(type);
}

void MetadataReader::count_items(std::uint64_t more) {
  // Node indices have 32 bits, and a pair takes two nodes: a raised limit must not make them wrap.
  const std::uint64_t limit = std::min<std::uint64_t>(limits_.metadata_items, none / 4);
  items_ += more;  // both are at most the file's size
  core::require_limit(items_, limit, "the number of metadata values", "metadata_items", wire_.offset());
}

void MetadataReader::require_unique_keys(std::span<const std::uint32_t> pairs) const {
  std::vector<std::string_view> keys;
  keys.reserve(pairs.size() / 2);
  for (std::size_t i = 0; i < pairs.size(); i += 2) {
    const Node& key = catalog_.nodes[pairs[i]];
    keys.emplace_back(key.text, key.count);
  }
  if (const auto twin = duplicate(std::move(keys)))
    throw Error(ErrorCode::ambiguous, fmt::format("the metadata key '{}' is there twice", core::escaped(*twin)));
}

}  // namespace

void read_metadata(Wire& wire, std::uint64_t pairs, const Limits& limits, Catalog& catalog) {
  MetadataReader(wire, limits, catalog).read(pairs);
}

const Node* find_value(const Catalog& catalog, std::string_view key) noexcept {
  if (catalog.metadata == none) return nullptr;
  const Node& map = catalog.nodes[catalog.metadata];
  for (std::uint64_t i = 0; i < map.count; ++i) {
    const Node& name = catalog.nodes[catalog.children[map.first + 2 * i]];
    if (std::string_view(name.text, name.count) == key) return &catalog.nodes[catalog.children[map.first + 2 * i + 1]];
  }
  return nullptr;
}

}  // namespace heft::format::gguf
