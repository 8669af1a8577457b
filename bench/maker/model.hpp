// bench/maker/model.hpp: what a checkpoint to make consists of: names, types and shapes, in shards.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace bench {

/// Element types that the maker writes. Kept apart from heft's table, so that a mistake there cannot hide in the files
/// measured here.
enum class Kind : std::uint8_t { bf16, f16, f32, f8_e4m3, f8_e5m2, i64 };

struct KindInfo {
  std::string_view name;         ///< As heft and file names spell it: "bf16".
  std::string_view safetensors;  ///< "BF16".
  std::string_view torch;        ///< Storage class: "BFloat16Storage".
  std::uint32_t bytes;           ///< Of one element.
  std::uint64_t finite_mask;  ///< And-ed with random words: takes the top exponent bit of every element, so that no NaN
                              ///< or infinity is left.
};

const KindInfo& info(Kind kind) noexcept;
std::optional<Kind> kind_from_name(std::string_view name) noexcept;

struct Tensor {
  std::string name;
  Kind kind = Kind::bf16;
  std::vector<std::int64_t> shape;

  [[nodiscard]] std::uint64_t elements() const noexcept;
  [[nodiscard]] std::uint64_t bytes() const noexcept { return elements() * info(kind).bytes; }
};

using Shard = std::vector<Tensor>;

struct Model {
  std::string name;
  std::vector<Shard> shards;  ///< In publication's order; a shard's tensors in the order of the model.
  std::string shard_pattern;  ///< fmt pattern of shard number (from 1) and count.
  bool sparse = false;        ///< Too large to store: headers are real, payload is a hole in the file.

  [[nodiscard]] std::uint64_t bytes() const noexcept;
  [[nodiscard]] std::size_t tensor_count() const noexcept;
};

/// What to make.
struct Recipe {
  std::string
      model;  ///< A name of model_names(), or "COUNTxBYTES": that many tensors of that many bytes ("100000x4KiB").
  std::optional<Kind> kind;      ///< Store all real tensors as this instead.
  std::uint64_t size_bytes = 0;  ///< Scale to about that size by the first dim of every tensor; 0: as published.
};

/// Names of published models that can be made.
std::span<const std::string_view> model_names() noexcept;

/// True for a name that make_model() takes.
bool is_model_name(std::string_view name);

/// Throws std::runtime_error for a name that is none.
Model make_model(const Recipe& recipe);

/// "4KiB", "100MB", "2.5GB", "1234" -> bytes. Throws std::runtime_error.
std::uint64_t parse_bytes(std::string_view text);

}  // namespace bench
