// bench/harness/json.hpp: writes JSON, one value after the other.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace bench {

/// Writes commas and quotes. The caller must match brackets.
class JsonWriter {
 public:
  JsonWriter& open(char bracket);   ///< '{' or '['
  JsonWriter& close(char bracket);  ///< '}' or ']'
  JsonWriter& key(std::string_view name);
  JsonWriter& text(std::string_view value);
  JsonWriter& number(double value);
  JsonWriter& number(std::uint64_t value);

  /// Writes key(name) and the value.
  JsonWriter& member(std::string_view name, std::string_view value) { return key(name).text(value); }
  JsonWriter& member(std::string_view name, double value) { return key(name).number(value); }
  JsonWriter& member(std::string_view name, std::uint64_t value) { return key(name).number(value); }

  [[nodiscard]] const std::string& str() const noexcept { return out_; }

 private:
  void separate();
  void quote(std::string_view value);

  std::string out_;
  bool first_ = true;
};

}  // namespace bench
