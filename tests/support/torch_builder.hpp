// Makes PyTorch checkpoints in memory: a flat state dict, as written by torch.save.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "support/zip_builder.hpp"

namespace heft::test {

/// Return pickled values of protocol 2, for a TorchBuilder or for each other.
[[nodiscard]] std::string pickled_int(std::int32_t value);
[[nodiscard]] std::string pickled_real(double value);
[[nodiscard]] std::string pickled_text(std::string_view text);
[[nodiscard]] std::string pickled_list(const std::vector<std::string>& items);
[[nodiscard]] std::string pickled_dict(const std::vector<std::pair<std::string, std::string>>& pairs);

/// Returns a packed tensor over the whole storage of that key. A TorchBuilder numbers storages "0", "1", ... in the
/// order of its tensors.
[[nodiscard]] std::string pickled_tensor(std::string_view key, std::string_view storage,
                                         const std::vector<std::int64_t>& shape);

/// A dict of tensors and other values, in the order added. Each tensor has a separate storage.
class TorchBuilder {
 public:
  /// Adds a packed row-major tensor. `storage` is PyTorch's name: "FloatStorage", "BFloat16Storage".
  TorchBuilder& tensor(std::string_view name, std::string_view storage, const std::vector<std::int64_t>& shape,
                       std::string payload);
  TorchBuilder& value(std::string_view name, std::string pickled);
  /// Deflates storages, as programs that repack archives do.
  TorchBuilder& deflate() { return deflate_ = true, *this; }
  /// Sets the CRC-32 that the archive declares for the storage added last.
  TorchBuilder& declare_crc32(std::uint32_t crc32) { return crc32_ = crc32, *this; }

  [[nodiscard]] std::string build() const;

 private:
  std::vector<std::pair<std::string, std::string>> pairs_;
  std::vector<std::string> storages_;
  bool deflate_ = false;
  std::optional<std::uint32_t> crc32_;
};

}  // namespace heft::test
