// format/gguf/metadata_writer.cpp: encodes key-value pairs; metadata.cpp reads them.
#include <fmt/format.h>

#include <algorithm>
#include <optional>
#include <string_view>
#include <utility>

#include "core/checked.hpp"
#include "core/endian.hpp"
#include "core/text.hpp"
#include "format/gguf/byte_reader.hpp"
#include "format/gguf/writer.hpp"

namespace heft::format::gguf {
namespace {

// Returns the GGUF type of a value; nothing when GGUF has none.
std::optional<ValueType> type_of(const Node& node) {
  switch (node.kind) {
    case NodeKind::boolean: return ValueType::boolean;
    case NodeKind::text:
      // A longer string would be refused by ggml and by this reader.
      return node.count <= ByteReader::max_string_bytes ? std::optional(ValueType::string) : std::nullopt;
    case NodeKind::list: return ValueType::array;
    case NodeKind::real: return number_type(node.dtype).value_or(ValueType::f64);
    case NodeKind::integer: return number_type(node.dtype).value_or(ValueType::i64);
    case NodeKind::unsigned_integer: return number_type(node.dtype).value_or(ValueType::u64);
    default: return std::nullopt;
  }
}

/// Encodes values. Recursive, up to Limits::metadata_depth.
class Encoder {
 public:
  explicit Encoder(const Limits& limits) noexcept : limits_(limits) {}

  /// Appends a value. Returns false, with `into` unspecified, when the value or one inside it has no form in GGUF.
  bool append(std::string& into, const MetadataValue& value, ValueType type, std::size_t depth = 1) {
    // Counted here as in the reader, so that heft can read what it writes.
    core::require_limit(++items_, limits_.metadata_items, "the number of metadata values", "metadata_items");
    const Node& node = value.node;
    switch (type) {
      case ValueType::string: return append_string(into, {node.text, node.count}), true;
      case ValueType::f32: return core::append_le(into, static_cast<float>(node.real)), true;
      case ValueType::f64: return core::append_le(into, node.real), true;
      case ValueType::array: return append_array(into, value, depth);
      case ValueType::boolean:
      case ValueType::u8:
      case ValueType::i8: return core::append_le(into, static_cast<std::uint8_t>(node.integer)), true;
      case ValueType::u16:
      case ValueType::i16: return core::append_le(into, static_cast<std::uint16_t>(node.integer)), true;
      case ValueType::u32:
      case ValueType::i32: return core::append_le(into, static_cast<std::uint32_t>(node.integer)), true;
      case ValueType::u64:
      case ValueType::i64: return core::append_le(into, static_cast<std::uint64_t>(node.integer)), true;
    }
    return false;
  }

 private:
  bool append_array(std::string& into, const MetadataValue& list, std::size_t depth) {
    const std::size_t count = list.node.count;
    // An array has one element type. An empty one has none to take it from; ggml reads any.
    const auto type = count == 0 ? std::optional(ValueType::string) : type_of(list.item(0).node);
    if (!type || depth == limits_.metadata_depth) return false;
    core::append_le(into, static_cast<std::uint32_t>(*type));
    core::append_le(into, static_cast<std::uint64_t>(count));
    for (std::size_t i = 0; i < count; ++i) {
      const MetadataValue element = list.item(i);
      // Elements of different types have no form in GGUF: the whole value is left out.
      if (type_of(element.node) != type || !append(into, element, *type, depth + 1)) return false;
    }
    return true;
  }

  const Limits& limits_;
  std::uint64_t items_ = 0;
};

// Returns true for keys that describe one part of a split checkpoint. A save writes one file.
bool is_of_split(std::string_view key) noexcept {
  return key == "split.no" || key == "split.count" || key == "split.tensors.count";
}

// Returns a pair whose value is a string.
GgufPair text_pair(const std::string& key, std::string_view text) {
  GgufPair pair{.key = key, .type = ValueType::string, .value = {}};
  append_string(pair.value, text);
  return pair;
}

}  // namespace

std::vector<GgufPair> encode_metadata(const MetadataToWrite& metadata, const Limits& limits,
                                      std::vector<std::string>& notes) {
  std::vector<GgufPair> pairs;
  Encoder encoder(limits);
  std::size_t left_out = 0;
  bool was_split = false;
  for (const auto& [key, value] : metadata.kept) {
    GgufPair pair{.key = key, .type = {}, .value = {}};
    if (is_of_split(key)) {
      was_split = true;
    } else if (metadata.converted && key == "general.file_type") {
      notes.emplace_back("general.file_type is not kept: it names the dtype before the conversion");
    } else if (const auto type = type_of(value.node); type && encoder.append(pair.value, value, *type)) {
      pair.type = *type;
      pairs.push_back(std::move(pair));
    } else {
      ++left_out;
    }
  }
  if (was_split)
    notes.emplace_back("split.no, split.count and split.tensors.count are not kept: all parts are in one file now");
  if (left_out != 0)
    notes.push_back(fmt::format("{} not kept: GGUF has no type for {}", core::counted_are(left_out, "metadata value"),
                                left_out == 1 ? "it" : "them"));
  const auto last = last_of_each(metadata.added);
  // Added texts replace kept pairs of the same key; of several added ones the last counts.
  std::erase_if(pairs, [&](const GgufPair& pair) { return last.contains(pair.key); });
  for (std::size_t i = 0; i < metadata.added.size(); ++i)
    if (const auto& [key, text] = metadata.added[i]; last.at(key) == i) pairs.push_back(text_pair(key, text));
  return pairs;
}

}  // namespace heft::format::gguf
