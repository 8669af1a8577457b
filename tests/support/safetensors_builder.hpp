// Makes safetensors files in memory: valid ones from tensors, and any other from a given header.
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

/// Returns the bytes of numbers in host order, which is the file's order on little-endian machines.
template <class T>
  requires std::is_trivially_copyable_v<T>
[[nodiscard]] std::string packed(const std::vector<T>& values) {
  std::string bytes(values.size() * sizeof(T), '\0');
  if (!values.empty()) std::memcpy(bytes.data(), values.data(), bytes.size());
  return bytes;
}

/// Returns `count` bytes that differ from their neighbours and from page to page. Equal seeds give equal bytes.
[[nodiscard]] std::string pattern(std::size_t count, std::uint32_t seed = 1);

/// Returns a safetensors file from its parts: eight bytes of header length, the given header, the given payload.
/// Nothing is checked or padded, so that tests can make hostile files.
[[nodiscard]] std::string safetensors_file(std::string_view header_json, std::string_view payload = {});

/// Builds a file that keeps every rule: payloads in the order added, without holes.
class SafetensorsBuilder {
 public:
  /// Adds a tensor. `dtype` is the format's name ("BF16"). `payload` is not checked, so that it can contradict the
  /// shape.
  SafetensorsBuilder& add(std::string_view name, std::string_view dtype, const std::vector<std::int64_t>& shape,
                          std::string_view payload);
  /// Adds a pair of `__metadata__`.
  SafetensorsBuilder& metadata(std::string_view key, std::string_view value);
  /// Sets the alignment of the payload, to which the header is padded with spaces (8, as by the reference writer).
  SafetensorsBuilder& align(std::size_t alignment);

  [[nodiscard]] std::string header() const;
  /// Returns the whole file.
  [[nodiscard]] std::string build() const;

 private:
  std::string entries_;
  std::string metadata_;
  std::string payload_;
  std::size_t alignment_ = 8;
};

}  // namespace heft::test
