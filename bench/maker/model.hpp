// bench/maker/model.hpp: what a checkpoint to make consists of: names, types and shapes, in shards.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace bench {

/// Element types that the maker writes. Kept apart from heft's table, so that a mistake there cannot hide in the files
/// measured here.
enum class Kind : std::uint8_t {
  bf16,
  f16,
  f32,
  f8_e4m3,
  f8_e5m2,
  i64,
  // ggml's blocks
  q4_0,
  q4_1,
  q5_0,
  q5_1,
  q8_0,
  q2_k,
  q3_k,
  q4_k,
  q5_k,
  q6_k,
  iq2_xxs,
  iq2_xs,
  iq2_s,
  iq3_xxs,
  iq3_s,
  iq1_s,
  iq1_m,
  iq4_nl,
  iq4_xs,
  tq1_0,
  tq2_0,
  mxfp4,
  nvfp4
};

struct KindInfo {
  static constexpr std::uint32_t none = 0xFFFF'FFFF;

  std::string_view name;              ///< As heft and file names spell it: "bf16".
  std::string_view safetensors = {};  ///< "BF16"; empty: that format has none.
  std::string_view torch = {};        ///< Storage class: "BFloat16Storage"; empty likewise.
  std::uint32_t ggml = none;          ///< Number of the type in GGUF.
  std::uint32_t bytes = 1;            ///< Of one element, or of one block ...
  std::uint32_t block_elements = 1;   ///< ... of so many elements.
  /// And-ed with random words: takes the top exponent bit of every element, so that no NaN or infinity is left.
  std::uint64_t finite_mask = ~std::uint64_t{0};
  /// The same for blocks: which of their bytes have the top exponent bit of a scale, as their bit 6.
  std::array<std::uint32_t, 2> scales = {none, none};
};

const KindInfo& info(Kind kind) noexcept;
std::optional<Kind> kind_from_name(std::string_view name) noexcept;

struct Tensor {
  std::string name;
  Kind kind = Kind::bf16;
  std::vector<std::int64_t> shape;

  [[nodiscard]] std::uint64_t elements() const noexcept;
  [[nodiscard]] std::uint64_t bytes() const noexcept {
    return elements() / info(kind).block_elements * info(kind).bytes;
  }
};

using Shard = std::vector<Tensor>;

struct Model {
  std::string name;
  std::vector<Shard> shards;  ///< In publication's order; a shard's tensors in the order of the model.
  std::string shard_pattern;  ///< fmt pattern of shard number (from 1) and count.
  bool sparse = false;        ///< Too large to store: headers are real, payload is a hole in the file.
  std::string_view format = "safetensors";  ///< What it is published as.
  std::uint64_t vocabulary = 0;             ///< Tokens that a GGUF file lists; 0: it has no tokenizer.

  [[nodiscard]] std::uint64_t bytes() const noexcept;
  [[nodiscard]] std::size_t tensor_count() const noexcept;
};

/// What to make.
struct Recipe {
  /// A name of model_names(), or "COUNTxBYTES": that many tensors of that many bytes ("100000x4KiB").
  std::string model;
  std::optional<Kind> kind;      ///< Store all real tensors as this instead; blocks: those whose rows they fill.
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
