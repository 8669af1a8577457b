// Makes GGUF files in memory, valid or not, in any version and byte order.
#pragma once

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace heft::test {

/// Numbers of value types, as in the file.
enum class GgufValue : std::uint32_t { u8, i8, u16, i16, u32, i32, f32, boolean, string, array, u64, i64, f64 };

/// Appends pairs and tensors without checks. Tensors follow each other on the alignment unless an offset is given.
class GgufBuilder {
 public:
  explicit GgufBuilder(std::uint32_t version = 3, bool big_endian = false)
      : version_(version), big_endian_(big_endian) {}

  /// Appends a number in the file's byte order.
  template <class T>
  [[nodiscard]] std::string number(T value) const {
    std::string bytes(sizeof value, '\0');
    std::memcpy(bytes.data(), &value, sizeof value);
    if (big_endian_) std::ranges::reverse(bytes);
    return bytes;
  }
  /// Appends a count, length or dim in the width of the version.
  [[nodiscard]] std::string length(std::uint64_t value) const;
  [[nodiscard]] std::string string(std::string_view text) const;
  /// Appends the head of an array value; its elements follow.
  [[nodiscard]] std::string array_head(GgufValue elements, std::uint64_t count) const;

  /// Adds a pair; `value` are the bytes after the type.
  GgufBuilder& pair(std::string_view key, GgufValue type, std::string_view value);
  GgufBuilder& text(std::string_view key, std::string_view value) {
    return pair(key, GgufValue::string, string(value));
  }
  /// Adds general.alignment, which also places the tensors that follow.
  GgufBuilder& alignment(std::uint32_t bytes);
  /// Dims innermost first, as in the file.
  GgufBuilder& tensor(std::string_view name, const std::vector<std::uint64_t>& dims, std::uint32_t type,
                      std::string_view payload, std::optional<std::uint64_t> offset = {});
  /// The counts of the head, when they are not the real ones.
  GgufBuilder& declare(std::optional<std::uint64_t> tensors, std::optional<std::uint64_t> pairs);

  /// Returns everything before the data, padded.
  [[nodiscard]] std::string head() const;
  [[nodiscard]] std::string build() const { return head() + data_; }

 private:
  std::uint32_t version_;
  bool big_endian_;
  std::uint64_t alignment_ = 32;
  std::uint64_t pairs_ = 0;
  std::uint64_t tensors_ = 0;
  std::optional<std::uint64_t> declared_pairs_;
  std::optional<std::uint64_t> declared_tensors_;
  std::string pair_bytes_;
  std::string tensor_bytes_;
  std::string data_;
};

}  // namespace heft::test
