#include "save/metadata.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <optional>
#include <string_view>
#include <unordered_map>

#include "core/checked.hpp"
#include "core/endian.hpp"
#include "core/text.hpp"
#include "format/gguf/byte_reader.hpp"
#include "heft/error.hpp"
#include "heft/limits.hpp"

namespace heft::writer {
namespace {

using format::GgufPair;
using format::gguf::ValueType;

// ---- safetensors: texts ----

// Returns a value of metadata as text; nothing for a kind without a text form.
std::optional<std::string> text_of(const Record& value) {
  switch (value.kind()) {
    case RecordKind::text: return core::is_utf8(value.text()) ? std::optional(std::string(value.text())) : std::nullopt;
    case RecordKind::boolean: return value.boolean() ? "true" : "false";
    case RecordKind::real: return fmt::format("{}", value.real());
    case RecordKind::integer: break;
    default: return std::nullopt;
  }
  try {
    return fmt::format("{}", value.integer());
  } catch (const Error&) {
    return fmt::format("{}", value.unsigned_integer());  // above 2^63
  }
}

// Returns the position of the last pair for each key.
std::unordered_map<std::string_view, std::size_t> last_of_each(AddedPairs added) {
  std::unordered_map<std::string_view, std::size_t> last;
  for (std::size_t i = 0; i < added.size(); ++i) last[added[i].first] = i;
  return last;
}

// ---- GGUF: typed values ----

constexpr std::size_t max_depth = 64;  // Limits::metadata_depth's default
constexpr std::uint64_t max_text_bytes = format::gguf::ByteReader::max_string_bytes;

struct NumberWord {
  std::string_view detail;
  ValueType type;
};
constexpr auto number_words = std::to_array<NumberWord>({{"u8", ValueType::u8},
                                                         {"i8", ValueType::i8},
                                                         {"u16", ValueType::u16},
                                                         {"i16", ValueType::i16},
                                                         {"u32", ValueType::u32},
                                                         {"i32", ValueType::i32},
                                                         {"u64", ValueType::u64},
                                                         {"i64", ValueType::i64},
                                                         {"f32", ValueType::f32},
                                                         {"f64", ValueType::f64}});

// Returns the type that the number has in its GGUF file.
std::optional<ValueType> declared_type(const Record& number) {
  const auto word = std::ranges::find(number_words, number.detail(), &NumberWord::detail);
  return word == number_words.end() ? std::nullopt : std::optional(word->type);
}

std::optional<std::int64_t> signed_of(const Record& integer) {
  try {
    return integer.integer();
  } catch (const Error&) {
    return std::nullopt;
  }
}

std::optional<std::uint64_t> unsigned_integer_of(const Record& integer) {
  try {
    return integer.unsigned_integer();
  } catch (const Error&) {
    return std::nullopt;
  }
}

// Returns the GGUF type of a value; nothing when GGUF has none.
std::optional<ValueType> type_of(const Record& value) {
  switch (value.kind()) {
    case RecordKind::boolean: return ValueType::boolean;
    case RecordKind::text:
      return value.text().size() <= max_text_bytes ? std::optional(ValueType::string) : std::nullopt;
    case RecordKind::list: return ValueType::array;
    case RecordKind::real: return declared_type(value).value_or(ValueType::f64);
    case RecordKind::integer: break;
    default: return std::nullopt;
  }
  if (const auto type = declared_type(value)) return type;
  if (signed_of(value)) return ValueType::i64;
  return unsigned_integer_of(value) ? std::optional(ValueType::u64) : std::nullopt;
}

/// Encodes values as GGUF metadata. Recursive, up to max_depth.
class GgufValues {
 public:
  /// Appends a value. Returns false, with `into` unspecified, when the value or one inside it has no form in GGUF.
  bool append(std::string& into, const Record& value, ValueType type, std::size_t depth = 1);

 private:
  bool append_array(std::string& into, const Record& list, std::size_t depth);
  static void append_integer(std::string& into, const Record& value, ValueType type);

  std::uint64_t items_ = 0;
};

bool GgufValues::append(std::string& into, const Record& value, ValueType type, std::size_t depth) {
  core::require_limit(++items_, Limits{}.metadata_items, "the number of metadata values", "metadata_items");
  switch (type) {
    case ValueType::boolean: return core::append_le(into, static_cast<std::uint8_t>(value.boolean())), true;
    case ValueType::string: return format::gguf::append_string(into, value.text()), true;
    case ValueType::f32: return core::append_le(into, static_cast<float>(value.real())), true;
    case ValueType::f64: return core::append_le(into, value.real()), true;
    case ValueType::array: return append_array(into, value, depth);
    default: return append_integer(into, value, type), true;
  }
}

bool GgufValues::append_array(std::string& into, const Record& list, std::size_t depth) {
  const std::size_t count = list.size();
  const auto type = count == 0 ? std::optional(ValueType::string) : type_of(list.child(0));
  if (!type || depth == max_depth) return false;
  core::append_le(into, static_cast<std::uint32_t>(*type));
  core::append_le(into, static_cast<std::uint64_t>(count));
  for (std::size_t i = 0; i < count; ++i) {
    const Record element = list.child(i);
    if (type_of(element) != type || !append(into, element, *type, depth + 1)) return false;
  }
  return true;
}

void GgufValues::append_integer(std::string& into, const Record& value, ValueType type) {
  const std::uint64_t bits =
      signed_of(value) ? static_cast<std::uint64_t>(*signed_of(value)) : value.unsigned_integer();
  switch (type) {
    case ValueType::u8:
    case ValueType::i8: return core::append_le(into, static_cast<std::uint8_t>(bits));
    case ValueType::u16:
    case ValueType::i16: return core::append_le(into, static_cast<std::uint16_t>(bits));
    case ValueType::u32:
    case ValueType::i32: return core::append_le(into, static_cast<std::uint32_t>(bits));
    default: return core::append_le(into, bits);
  }
}

// Returns true for keys that describe one part of a split checkpoint. A save writes one file.
bool is_of_split(std::string_view key) noexcept {
  return key == "split.no" || key == "split.count" || key == "split.tensors.count";
}

GgufPair text_pair(const std::string& key, std::string_view text) {
  GgufPair pair{.key = key, .type = ValueType::string, .value = {}};
  format::gguf::append_string(pair.value, text);
  return pair;
}

}  // namespace

format::TextMetadata text_metadata(const Record& kept, AddedPairs added, std::vector<std::string>& notes) {
  format::TextMetadata metadata;
  std::size_t left_out = 0;
  for (std::size_t i = 0; i < kept.size(); ++i) {
    if (auto text = text_of(kept.child(i)))
      metadata.emplace_back(kept.key(i), std::move(*text));
    else
      ++left_out;
  }
  if (left_out != 0)
    notes.push_back(fmt::format("{} metadata values are not kept: safetensors has texts only", left_out));
  // An added pair takes the position of the pair that it replaces.
  auto last = last_of_each(added);
  for (auto& [key, value] : metadata)
    if (const auto found = last.find(key); found != last.end()) {
      value = added[found->second].second;
      last.erase(found);
    }
  for (const auto& [key, value] : added)
    if (const auto found = last.find(key); found != last.end()) {
      metadata.emplace_back(key, added[found->second].second);
      last.erase(found);
    }
  return metadata;
}

std::vector<GgufPair> gguf_metadata(const Record& kept, AddedPairs added, bool converted,
                                    std::vector<std::string>& notes) {
  std::vector<GgufPair> metadata;
  GgufValues values;
  std::size_t left_out = 0;
  bool was_split = false;
  for (std::size_t i = 0; i < kept.size(); ++i) {
    GgufPair pair{.key = kept.key(i), .type = {}, .value = {}};
    const Record value = kept.child(i);
    if (is_of_split(pair.key)) {
      was_split = true;
    } else if (converted && pair.key == "general.file_type") {
      notes.emplace_back("general.file_type is not kept: it names the dtype before the conversion");
    } else if (const auto type = type_of(value); type && values.append(pair.value, value, *type)) {
      pair.type = *type;
      metadata.push_back(std::move(pair));
    } else {
      ++left_out;
    }
  }
  if (was_split)
    notes.emplace_back("split.no, split.count and split.tensors.count are not kept: all parts are in one file now");
  if (left_out != 0)
    notes.push_back(fmt::format("{} metadata values are not kept: GGUF has no type for them", left_out));
  const auto last = last_of_each(added);
  std::erase_if(metadata, [&](const GgufPair& pair) { return last.contains(pair.key); });
  for (std::size_t i = 0; i < added.size(); ++i)
    if (last.at(added[i].first) == i) metadata.push_back(text_pair(added[i].first, added[i].second));
  return metadata;
}

}  // namespace heft::writer
