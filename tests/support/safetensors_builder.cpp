#include "support/safetensors_builder.hpp"

namespace heft::test {

namespace {

constexpr std::size_t length_bytes = 8;

std::string quoted(std::string_view text) {
  constexpr std::string_view digits = "0123456789abcdef";
  std::string out = "\"";
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    if (byte < 0x20) {
      out += std::string("\\u00") + digits[byte >> 4] + digits[byte & 15];
      continue;
    }
    if (c == '"' || c == '\\') out += '\\';
    out += c;
  }
  return out + '"';
}

void append_entry(std::string& list, const std::string& entry) {
  if (!list.empty()) list += ',';
  list += entry;
}

std::string json_list(const std::vector<std::int64_t>& numbers) {
  std::string out;
  for (const std::int64_t number : numbers) append_entry(out, std::to_string(number));
  return '[' + out + ']';
}

}  // namespace

// Not instrumented: a loop over each byte of megabytes takes sanitizers minutes.
[[gnu::no_sanitize("thread", "address", "undefined")]] std::string pattern(std::size_t count, std::uint32_t seed) {
  std::string bytes(count, '\0');
  std::uint32_t state = seed * 2654435761U + 1;
  for (char& byte : bytes) {
    state = state * 1664525U + 1013904223U;
    byte = static_cast<char>(state >> 24);
  }
  return bytes;
}

std::string safetensors_file(std::string_view header_json, std::string_view payload) {
  std::string file;
  for (std::size_t i = 0; i < length_bytes; ++i) file += static_cast<char>(header_json.size() >> (8 * i));
  file += header_json;
  file += payload;
  return file;
}

SafetensorsBuilder& SafetensorsBuilder::add(std::string_view name, std::string_view dtype,
                                            const std::vector<std::int64_t>& shape, std::string_view payload) {
  const std::size_t begin = payload_.size();
  payload_ += payload;
  append_entry(entries_, quoted(name) + ":{\"dtype\":" + quoted(dtype) + ",\"shape\":" + json_list(shape) +
                             ",\"data_offsets\":[" + std::to_string(begin) + ',' + std::to_string(payload_.size()) +
                             "]}");
  return *this;
}

SafetensorsBuilder& SafetensorsBuilder::metadata(std::string_view key, std::string_view value) {
  append_entry(metadata_, quoted(key) + ':' + quoted(value));
  return *this;
}

SafetensorsBuilder& SafetensorsBuilder::align(std::size_t alignment) {
  alignment_ = alignment;
  return *this;
}

std::string SafetensorsBuilder::header() const {
  std::string json = "{";
  if (!metadata_.empty()) json += "\"__metadata__\":{" + metadata_ + '}';
  if (!metadata_.empty() && !entries_.empty()) json += ',';
  json += entries_ + '}';
  while ((length_bytes + json.size()) % alignment_ != 0) json += ' ';
  return json;
}

std::string SafetensorsBuilder::build() const { return safetensors_file(header(), payload_); }

}  // namespace heft::test
