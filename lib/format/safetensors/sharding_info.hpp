// format/safetensors/sharding_info.hpp: the places of a file's tensors in larger ones, from the metadata that the
// HuggingFaceStorageWriter of torch.distributed.checkpoint writes:
//
//   "__metadata__": {"DCP_SHARDING_INFO": "{\"NAME\": {\"saved_offsets\": [4, 0]}, ...}", ...}
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string_view>
#include <vector>

#include "core/text.hpp"
#include "format/catalog.hpp"
#include "format/name_table.hpp"
#include "heft/limits.hpp"

namespace heft::format {

class ShardingInfo {
 public:
  /// Returns the places; nothing if the file's metadata has none. Throws Error{corrupt} for other JSON,
  /// Error{ambiguous} for a repeated name, Error{limit_exceeded}.
  static std::optional<ShardingInfo> of(const Catalog& catalog, const Limits& limits);

  /// Returns the place of the tensor's first element in the whole. Throws Error{corrupt} if it is not declared, or does
  /// not have `rank` dims.
  [[nodiscard]] std::span<const std::int64_t> offsets(std::string_view tensor, std::size_t rank) const;
  /// Returns true if every tensor starts where its whole does.
  [[nodiscard]] bool begins_at_zero() const noexcept;

 private:
  ShardingInfo() = default;
  void read(std::string_view text, const Limits& limits);

  core::Arena arena_;
  NameTable names_;
  std::vector<std::int64_t> offsets_;
  std::vector<std::size_t> ends_;  // for each name, its end in `offsets_`
};

}  // namespace heft::format
