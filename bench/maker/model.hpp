// bench/maker/model.hpp: the contents of a checkpoint to make: names, types and shapes, in shards.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace bench {

/// Element types that the maker writes. They are independent of heft's table, so that a mistake there shows in the
/// files.
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

  std::string_view name;              ///< In heft and in file names: "bf16".
  std::string_view safetensors = {};  ///< "BF16"; empty: the format lacks the type.
  std::string_view torch = {};        ///< Storage class: "BFloat16Storage"; empty likewise.
  std::uint32_t ggml = none;          ///< Number of the type in GGUF.
  std::uint32_t bytes = 1;            ///< Of one element, or of one block ...
  std::uint32_t block_elements = 1;   ///< ... of this many elements.
  /// Mask for random words: clears the top exponent bit of every element, so that none is NaN or infinity.
  std::uint64_t finite_mask = ~std::uint64_t{0};
  /// For blocks: the offsets of bytes whose bit 6 is the top exponent bit of a scale.
  std::array<std::uint32_t, 2> scales = {none, none};
};

const KindInfo& info(Kind kind) noexcept;
std::optional<Kind> kind_from_name(std::string_view name) noexcept;

/// How a payload is chosen: random bits, or numbers as trained weights are distributed (mean 0, deviation 0.02), for
/// f32, f16 and bf16.
enum class Values : std::uint8_t { bits, normal };

struct Tensor {
  std::string name;
  Kind kind = Kind::bf16;
  std::vector<std::int64_t> shape;
  Values values = Values::bits;

  [[nodiscard]] std::uint64_t elements() const noexcept;
  [[nodiscard]] std::uint64_t bytes() const noexcept {
    return elements() / info(kind).block_elements * info(kind).bytes;
  }
};

using Shard = std::vector<Tensor>;

struct Model {
  std::string name;
  std::vector<Shard> shards;  ///< In the order of publication; a shard's tensors in the order of the model.
  std::string shard_pattern;  ///< fmt pattern of shard number (from 1) and count.
  bool sparse = false;        ///< Too large to store: headers are real, the payload is a hole in the file.
  std::string_view format = "safetensors";  ///< The format in which it is published.
  std::uint64_t vocabulary = 0;             ///< Tokens that a GGUF file lists; 0: no tokenizer.

  [[nodiscard]] std::uint64_t bytes() const noexcept;
  [[nodiscard]] std::size_t tensor_count() const noexcept;
};

/// The description of a checkpoint to make.
struct Recipe {
  /// A name of model_names(), or "COUNTxBYTES": that many tensors of that many bytes ("100000x4KiB").
  std::string model;
  std::optional<Kind> kind;      ///< Store all real tensors as this; block types: those with rows of whole blocks.
  std::uint64_t size_bytes = 0;  ///< Scale to about this size by the first dim of every tensor; 0: as published.
  Values values = Values::bits;  ///< Of the tensors whose kind can have them.
};

/// Returns the names of published models that can be made.
std::span<const std::string_view> model_names() noexcept;

/// Returns true for a name that make_model() accepts.
bool is_model_name(std::string_view name);

/// Throws std::runtime_error for an unknown name.
Model make_model(const Recipe& recipe);

/// Parses a number of bytes: "4KiB", "100MB", "2.5GB", "1234". Throws std::runtime_error.
std::uint64_t parse_bytes(std::string_view text);

}  // namespace bench
