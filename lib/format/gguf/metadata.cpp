#include "format/gguf/metadata.hpp"

#include <algorithm>
#include <array>
#include <deque>
#include <memory>
#include <span>
#include <utility>
#include <vector>

#include <fmt/format.h>

#include "core/checked.hpp"
#include "core/endian.hpp"
#include "core/text.hpp"
#include "format/range_checks.hpp"
#include "heft/error.hpp"

namespace heft::format::gguf {
namespace {

struct NumberRow {
  ValueType type;
  DType dtype;
};
constexpr auto numbers = std::to_array<NumberRow>({{ValueType::u8, DType::u8},
                                                   {ValueType::i8, DType::i8},
                                                   {ValueType::u16, DType::u16},
                                                   {ValueType::i16, DType::i16},
                                                   {ValueType::u32, DType::u32},
                                                   {ValueType::i32, DType::i32},
                                                   {ValueType::u64, DType::u64},
                                                   {ValueType::i64, DType::i64},
                                                   {ValueType::f32, DType::f32},
                                                   {ValueType::f64, DType::f64}});

constexpr std::uint32_t last_type = static_cast<std::uint32_t>(ValueType::f64);

// ---- values ----

// Each value becomes a node that holds it exactly.
Node to_node(std::int64_t value) noexcept {
  Node node;
  node.kind = NodeKind::integer;
  node.integer = value;
  return node;
}

// The kind is `unsigned_integer` only for values that an i64 cannot hold, as Node requires.
Node to_node(std::uint64_t value) noexcept {
  if (value <= INT64_MAX) return to_node(static_cast<std::int64_t>(value));
  Node node;
  node.kind = NodeKind::unsigned_integer;
  node.unsigned_integer = value;
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

Node to_boolean(std::uint8_t value) noexcept {
  Node node = to_node(std::int64_t{value});
  node.kind = NodeKind::boolean;
  return node;
}

// Returns a number of the file in its byte order.
template <class T>
T number_at(const std::byte* at, bool big_endian) noexcept {
  return big_endian ? core::load_be<T>(at) : core::load_le<T>(at);
}

/// Decodes a number or a boolean of the file.
Node scalar_at(const std::byte* at, ValueType type, bool big_endian) noexcept {
  switch (type) {
    case ValueType::u8: return to_node(std::int64_t{number_at<std::uint8_t>(at, big_endian)});
    case ValueType::i8: return to_node(std::int64_t{number_at<std::int8_t>(at, big_endian)});
    case ValueType::u16: return to_node(std::int64_t{number_at<std::uint16_t>(at, big_endian)});
    case ValueType::i16: return to_node(std::int64_t{number_at<std::int16_t>(at, big_endian)});
    case ValueType::u32: return to_node(std::int64_t{number_at<std::uint32_t>(at, big_endian)});
    case ValueType::i32: return to_node(std::int64_t{number_at<std::int32_t>(at, big_endian)});
    case ValueType::u64: return to_node(number_at<std::uint64_t>(at, big_endian));
    case ValueType::i64: return to_node(number_at<std::int64_t>(at, big_endian));
    case ValueType::f32: return to_node(double{number_at<float>(at, big_endian)});
    case ValueType::f64: return to_node(number_at<double>(at, big_endian));
    case ValueType::boolean: return to_boolean(number_at<std::uint8_t>(at, big_endian));
    case ValueType::string:
    case ValueType::array: break;
  }
  return {};
}

// Returns the node with its type in the file, which a save of GGUF writes back.
Node with_dtype(Node node, ValueType type) noexcept {
  node.dtype = dtype_of(type);
  return node;
}

/// Returns the smallest size in bytes of a value of that type.
std::uint64_t min_bytes(ValueType type, const Dialect& dialect) noexcept {
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

// ---- arrays ----

/// The elements of an array of numbers or booleans, all of one width.
class Numbers final : public PackedElements {
 public:
  Numbers(std::span<const std::byte> bytes, ValueType type, std::uint64_t width, bool big_endian) noexcept
      : data_(bytes.data()), type_(type), width_(static_cast<std::uint8_t>(width)), big_endian_(big_endian) {}

  [[nodiscard]] Node element(std::uint32_t index) const noexcept override {
    // The bytes lie in the cursor's chunks, which the catalog keeps.
    return with_dtype(scalar_at(data_ + std::size_t{index} * width_, type_, big_endian_), type_);
  }
  [[nodiscard]] std::uint64_t table_bytes() const noexcept override { return sizeof *this; }

 private:
  const std::byte* data_;
  ValueType type_;
  std::uint8_t width_;
  bool big_endian_;
};

/// The elements of an array of strings, each after its length. The place of every 32nd is stored, so that at most 31
/// are stepped over to find one.
class Strings final : public PackedElements {
 public:
  /// Its marks are counted in `budget`.
  Strings(Dialect dialect, const std::shared_ptr<core::MetadataBudget>& budget) noexcept
      : dialect_(dialect), marks_(budget) {}

  void add(std::uint32_t index, std::string_view text) {
    // A string that does not follow the previous one in memory is the first of another chunk.
    if (index % step == 0 || text.data() != next_) marks_.push_back({text.data(), text.size(), index});
    // The bytes of the next string, if it lies in the same chunk: its length precedes them.
    next_ = text.data() + text.size() + dialect_.length_bytes();
  }
  [[nodiscard]] Node element(std::uint32_t index) const noexcept override {
    // The last mark at or before `index`; the first string has one.
    const Mark& mark = *(std::ranges::upper_bound(marks_, index, {}, &Mark::index) - 1);
    std::string_view text(mark.text, mark.size);
    for (std::uint32_t i = mark.index; i < index; ++i) text = following(text);
    return to_node(text);
  }
  [[nodiscard]] std::uint64_t table_bytes() const noexcept override {
    return sizeof *this + marks_.capacity() * sizeof(Mark);
  }

 private:
  static constexpr std::uint32_t step = 32;

  struct Mark {
    const char* text;
    std::uint64_t size;
    std::uint32_t index;
  };

  [[nodiscard]] std::string_view following(std::string_view text) const noexcept {
    const char* const at = text.data() + text.size();
    const auto* const length = reinterpret_cast<const std::byte*>(at);
    const std::uint64_t size = dialect_.version == 1 ? number_at<std::uint32_t>(length, dialect_.big_endian)
                                                     : number_at<std::uint64_t>(length, dialect_.big_endian);
    return {at + dialect_.length_bytes(), static_cast<std::size_t>(size)};
  }

  Dialect dialect_;
  core::Table<Mark> marks_;
  const char* next_ = nullptr;  // the start of the string after the last one
};

/// The arrays of one file. A file of arrays of one byte has an array for each 13 bytes: they lie side by side and have
/// one owner, and what each takes is counted before it is made.
class Arrays {
 public:
  explicit Arrays(std::shared_ptr<core::MetadataBudget> budget) : charge_(std::move(budget)) {}

  Numbers& add(const Numbers& array) {
    // A deque does not move its elements, so pointers to arrays stay valid while more are added.
    charge_.add(sizeof array);
    return numbers_.emplace_back(array);
  }
  Strings& add_strings(Dialect dialect) {
    charge_.add(sizeof(Strings));
    return strings_.emplace_back(dialect, charge_.budget());
  }

 private:
  core::MetadataCharge charge_;
  std::deque<Numbers> numbers_;
  std::deque<Strings> strings_;
};

/// Arrays of arrays are read with a list of the open ones instead of recursion: the depth is the file's choice.
class MetadataReader {
 public:
  MetadataReader(ByteReader& wire, const Limits& limits, Catalog& catalog)
      : reader_(wire), limits_(limits), catalog_(catalog), arrays_(std::make_shared<Arrays>(catalog.budget)) {}

  void read(std::uint64_t pairs);

 private:
  /// An array of arrays of which `left` are still to be read. Nodes are made as their arrays are reached: what a file
  /// declares and does not hold takes no memory.
  struct OpenArray {
    std::uint32_t node;
    std::uint64_t left;
    core::Table<std::uint32_t> made;
  };

  std::uint32_t read_key();
  std::uint32_t read_value();
  void read_array(std::uint32_t node);
  void open_array(std::uint32_t node);
  void close_array();
  [[nodiscard]] Node read_scalar(ValueType type);
  [[nodiscard]] std::shared_ptr<const PackedElements> read_elements(ValueType type, std::uint64_t count);
  [[nodiscard]] const Strings& read_strings(std::uint64_t count);
  void require_booleans(std::span<const std::byte> bytes) const;
  ValueType read_type();
  void count_items(std::uint64_t more);
  void require_unique_keys(std::span<const std::uint32_t> pairs) const;

  ByteReader& reader_;
  const Limits& limits_;
  Catalog& catalog_;
  std::shared_ptr<Arrays> arrays_;
  std::vector<OpenArray> open_;
  std::uint64_t items_ = 0;
};

void MetadataReader::read(std::uint64_t pairs) {
  // The smallest pair: an empty key, a type of 4 bytes and a value of one.
  reader_.require_room(pairs, reader_.dialect().length_bytes() + 5, "the number of key-value pairs");
  core::Table<std::uint32_t> nodes(catalog_.budget);
  for (std::uint64_t i = 0; i < pairs; ++i) {
    count_items(1);
    nodes.push_back(read_key());
    nodes.push_back(read_value());
  }
  // Readers differ in which of two equal keys they take.
  require_unique_keys({nodes.data(), nodes.size()});
  catalog_.metadata = catalog_.add_container(NodeKind::map, {nodes.data(), nodes.size()});
}

std::uint32_t MetadataReader::read_key() {
  const std::uint64_t at = reader_.offset();
  const std::string_view key = reader_.name("a metadata key");
  core::require_limit(key.size(), limits_.name_bytes, "bytes of a metadata key", "name_bytes", at);
  if (key.empty()) throw Error(ErrorCode::corrupt, "a metadata key is empty", {.offset = at});
  return catalog_.add_node(to_node(key));
}

std::uint32_t MetadataReader::read_value() {
  const ValueType type = read_type();
  if (type != ValueType::array) return catalog_.add_node(read_scalar(type));
  // The node is reserved before its array is read, and filled when its elements are known.
  const std::uint32_t node = catalog_.add_node({});
  read_array(node);
  return node;
}

void MetadataReader::read_array(std::uint32_t node) {
  open_array(node);
  while (!open_.empty()) {
    // Depth first: an array that was opened last is read to its end before its parent goes on.
    if (open_.back().left == 0) {
      close_array();
    } else {
      --open_.back().left;
      const std::uint32_t element = catalog_.add_node({});
      open_.back().made.push_back(element);
      open_array(element);
    }
  }
}

// Reads the head of an array, and its elements unless they are arrays, which are added to the list of open ones.
void MetadataReader::open_array(std::uint32_t node) {
  const std::uint64_t at = reader_.offset();
  const ValueType type = read_type();
  const std::uint64_t count = reader_.count(min_bytes(type, reader_.dialect()), "the number of array elements");
  // Elements count although they become no nodes: each can be looked at as one.
  count_items(count);
  if (type != ValueType::array) {
    catalog_.nodes[node] = catalog_.add_packed(read_elements(type, count), count);
    return;
  }
  // This array and the arrays inside it are two levels.
  core::require_limit(open_.size() + 2, limits_.metadata_depth, "the depth of nested arrays", "metadata_depth", at);
  open_.push_back({node, count, core::Table<std::uint32_t>(catalog_.budget)});
}

// Makes the node of the innermost open array a list of what was read.
void MetadataReader::close_array() {
  // The children of all arrays share one table, so a list is added when all of its elements are known.
  const OpenArray& array = open_.back();
  Node& list = catalog_.nodes[array.node];
  list.kind = NodeKind::list;
  list.count = static_cast<std::uint32_t>(array.made.size());
  list.first = catalog_.children.size();
  catalog_.children.insert(catalog_.children.end(), array.made.begin(), array.made.end());
  open_.pop_back();
}

Node MetadataReader::read_scalar(ValueType type) {
  if (type == ValueType::string) return to_node(reader_.string("a metadata string"));
  const auto bytes = reader_.take(min_bytes(type, reader_.dialect()), "a metadata value");
  if (type == ValueType::boolean) require_booleans(bytes);
  return with_dtype(scalar_at(bytes.data(), type, reader_.dialect().big_endian), type);
}

std::shared_ptr<const PackedElements> MetadataReader::read_elements(ValueType type, std::uint64_t count) {
  if (count == 0) return nullptr;
  if (type == ValueType::string) return {arrays_, &read_strings(count)};
  const std::uint64_t width = min_bytes(type, reader_.dialect());
  const auto bytes = reader_.take(count * width, "the elements of an array");  // at most the remaining bytes
  if (type == ValueType::boolean) require_booleans(bytes);
  // The pointer shares the ownership of all arrays of the file.
  return {arrays_, &arrays_->add(Numbers(bytes, type, width, reader_.dialect().big_endian))};
}

const Strings& MetadataReader::read_strings(std::uint64_t count) {
  Strings& strings = arrays_->add_strings(reader_.dialect());
  for (std::uint32_t i = 0; i < count; ++i) strings.add(i, reader_.string("a metadata string"));
  return strings;
}

// Throws Error{corrupt} for a byte other than 0 or 1: invalid by the specification, refused by candle, true in ggml.
void MetadataReader::require_booleans(std::span<const std::byte> bytes) const {
  const auto wrong = std::ranges::find_if(bytes, [](std::byte byte) { return std::to_integer<unsigned>(byte) > 1; });
  if (wrong == bytes.end()) return;
  throw Error(ErrorCode::corrupt, fmt::format("a boolean is {}, expected 0 or 1", std::to_integer<unsigned>(*wrong)),
              {.offset = reader_.offset() - static_cast<std::uint64_t>(bytes.end() - wrong)});
}

ValueType MetadataReader::read_type() {
  const std::uint64_t at = reader_.offset();
  const auto type = reader_.number<std::uint32_t>("the type of a metadata value");
  if (type > last_type)
    throw Error(ErrorCode::corrupt, fmt::format("a metadata value has type {}, expected 0 to {}", type, last_type),
                {.offset = at});
  return static_cast<ValueType>(type);
}

void MetadataReader::count_items(std::uint64_t more) {
  // Node numbers have 32 bits, and half of them are for packed elements: the cap keeps a raised limit from wrapping
  // them.
  const std::uint64_t limit = std::min<std::uint64_t>(limits_.metadata_items, none / 4);
  items_ += more;  // both are at most the file's size
  core::require_limit(items_, limit, "the number of metadata values", "metadata_items", reader_.offset());
}

void MetadataReader::require_unique_keys(std::span<const std::uint32_t> pairs) const {
  core::MetadataCharge charge(catalog_.budget);
  // The table for the comparison exists in this function only, but the file determines its size.
  charge.add(pairs.size() / 2 * sizeof(std::string_view));
  std::vector<std::string_view> keys;
  keys.reserve(pairs.size() / 2);
  for (std::size_t i = 0; i < pairs.size(); i += 2) {
    const Node& key = catalog_.nodes[pairs[i]];
    keys.emplace_back(key.text, key.count);
  }
  if (const auto twin = duplicate(std::move(keys)))
    throw Error(ErrorCode::ambiguous, fmt::format("the metadata key '{}' occurs twice", core::escaped(*twin)));
}

}  // namespace

DType dtype_of(ValueType type) noexcept {
  const auto row = std::ranges::find(numbers, type, &NumberRow::type);
  return row == numbers.end() ? DType::unknown : row->dtype;
}

std::optional<ValueType> number_type(DType dtype) noexcept {
  const auto row = std::ranges::find(numbers, dtype, &NumberRow::dtype);
  return row == numbers.end() ? std::nullopt : std::optional(row->type);
}

void read_metadata(ByteReader& reader, std::uint64_t pairs, const Limits& limits, Catalog& catalog) {
  MetadataReader(reader, limits, catalog).read(pairs);
}

}  // namespace heft::format::gguf
