// Makes PyTorch checkpoints in memory: a flat state dict, as torch.save writes one.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "support/zip_builder.hpp"

namespace heft::test {

/// Pickled values, protocol 2: to be put into a TorchBuilder or into each other.
[[nodiscard]] std::string pickled_int(std::int32_t value);
[[nodiscard]] std::string pickled_real(double value);
[[nodiscard]] std::string pickled_text(std::string_view text);
[[nodiscard]] std::string pickled_list(const std::vector<std::string>& items);
[[nodiscard]] std::string pickled_dict(const std::vector<std::pair<std::string, std::string>>& pairs);

/// A packed tensor over all of the storage of that key, which a TorchBuilder numbers "0", "1", ... in the order of its
/// tensors.
[[nodiscard]] std::string pickled_tensor(std::string_view key, std::string_view storage,
                                         const std::vector<std::int64_t>& shape);

/// A dict of tensors and other values, in the order added. Each tensor has a storage of its own.
class TorchBuilder {
 public:
  /// `storage` as PyTorch calls it: "FloatStorage", "BFloat16Storage". Packed row-major.
  TorchBuilder& tensor(std::string_view name, std::string_view storage, const std::vector<std::int64_t>& shape, std::string payload);
  TorchBuilder& value(std::string_view name, std::string pickled);
  /// Storages are deflated, as by a program that repacks the archive.
  TorchBuilder& deflate() { return deflate_ = true, *this; }
  /// The CRC-32 that the archive declares for the storage added last.
  TorchBuilder& declare_crc32(std::uint32_t crc32) { return crc32_ = crc32, *this; }

  [[nodiscard]] std::string build() const;

 private:
  std::vector<std::pair<std::string, std::string>> pairs_;
  std::vector<std::string> storages_;
  bool deflate_ = false;
  std::optional<std::uint32_t> crc32_;
};

}  // namespace heft::test
