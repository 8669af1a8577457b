// Makes safetensors files in memory: good ones from tensors, and any other from a header written by hand.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <string>
#include <string_view>
#include <type_traits>
#include <vector>

namespace heft::test {

/// The bytes of numbers as they lie in memory (the file's order on the little-endian machines heft runs on).
template <class T>
  requires std::is_trivially_copyable_v<T>
[[nodiscard]] std::string packed(const std::vector<T>& values) {
  std::string bytes(values.size() * sizeof(T), '\0');
  if (!values.empty()) std::memcpy(bytes.data(), values.data(), bytes.size());
  return bytes;
}

/// `count` bytes that differ from their neighbours and from page to page, the same for the same seed.
[[nodiscard]] std::string pattern(std::size_t count, std::uint32_t seed = 1);

/// A safetensors file from its two parts: eight bytes of header length, the header as given, the payload as given. Nothing is
/// checked or padded: this is how hostile files are made.
[[nodiscard]] std::string safetensors_file(std::string_view header_json, std::string_view payload = {});

/// Builds a file that keeps every rule: payloads in the order added, without holes.
class SafetensorsBuilder {
 public:
  /// `dtype` as the format spells it ("BF16"). `payload` is taken as it is, so that a test can let it contradict the shape.
  SafetensorsBuilder& add(std::string_view name, std::string_view dtype, const std::vector<std::int64_t>& shape,
                          std::string_view payload);
  /// A pair for `__metadata__`.
  SafetensorsBuilder& metadata(std::string_view key, std::string_view value);
  /// Spaces are added to the header until the payload begins at a multiple of this (8, as the reference writer does).
  SafetensorsBuilder& align(std::size_t alignment);

  [[nodiscard]] std::string header() const;
  /// The whole file.
  [[nodiscard]] std::string build() const;

 private:
  std::string entries_;
  std::string metadata_;
  std::string payload_;
  std::size_t alignment_ = 8;
};

}  // namespace heft::test
