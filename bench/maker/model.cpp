#include "maker/model.hpp"

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>
#include <numeric>
#include <stdexcept>

#include <fmt/format.h>

#include "maker/published.hpp"

namespace bench {

namespace {

constexpr auto kinds = std::to_array<KindInfo>({
    {"bf16", "BF16", "BFloat16Storage", 30, 2, 1, 0xbfff'bfff'bfff'bfff},
    {"f16", "F16", "HalfStorage", 1, 2, 1, 0xbfff'bfff'bfff'bfff},
    {"f32", "F32", "FloatStorage", 0, 4, 1, 0xbfff'ffff'bfff'ffff},
    {"f8_e4m3", "F8_E4M3", "Float8_e4m3fnStorage", KindInfo::none, 1, 1, 0xbfbf'bfbf'bfbf'bfbf},
    {"f8_e5m2", "F8_E5M2", "Float8_e5m2Storage", KindInfo::none, 1, 1, 0xbfbf'bfbf'bfbf'bfbf},
    {"i64", "I64", "LongStorage", 27, 8, 1, 0x0000'0000'7fff'ffff},
    {.name = "q4_0", .ggml = 2, .bytes = 18, .block_elements = 32, .scales = {1, KindInfo::none}},
    {.name = "q4_1", .ggml = 3, .bytes = 20, .block_elements = 32, .scales = {1, 3}},
    {.name = "q5_0", .ggml = 6, .bytes = 22, .block_elements = 32, .scales = {1, KindInfo::none}},
    {.name = "q5_1", .ggml = 7, .bytes = 24, .block_elements = 32, .scales = {1, 3}},
    {.name = "q8_0", .ggml = 8, .bytes = 34, .block_elements = 32, .scales = {1, KindInfo::none}},
    {.name = "q2_k", .ggml = 10, .bytes = 84, .block_elements = 256, .scales = {81, 83}},
    {.name = "q3_k", .ggml = 11, .bytes = 110, .block_elements = 256, .scales = {109, KindInfo::none}},
    {.name = "q4_k", .ggml = 12, .bytes = 144, .block_elements = 256, .scales = {1, 3}},
    {.name = "q5_k", .ggml = 13, .bytes = 176, .block_elements = 256, .scales = {1, 3}},
    {.name = "q6_k", .ggml = 14, .bytes = 210, .block_elements = 256, .scales = {209, KindInfo::none}},
    {.name = "iq2_xxs", .ggml = 16, .bytes = 66, .block_elements = 256, .scales = {1, KindInfo::none}},
    {.name = "iq2_xs", .ggml = 17, .bytes = 74, .block_elements = 256, .scales = {1, KindInfo::none}},
    {.name = "iq2_s", .ggml = 22, .bytes = 82, .block_elements = 256, .scales = {1, KindInfo::none}},
    {.name = "iq3_xxs", .ggml = 18, .bytes = 98, .block_elements = 256, .scales = {1, KindInfo::none}},
    {.name = "iq3_s", .ggml = 21, .bytes = 110, .block_elements = 256, .scales = {1, KindInfo::none}},
    {.name = "iq1_s", .ggml = 19, .bytes = 50, .block_elements = 256, .scales = {1, KindInfo::none}},
    {.name = "iq1_m", .ggml = 29, .bytes = 56, .block_elements = 256, .scales = {55, KindInfo::none}},
    {.name = "iq4_nl", .ggml = 20, .bytes = 18, .block_elements = 32, .scales = {1, KindInfo::none}},
    {.name = "iq4_xs", .ggml = 23, .bytes = 136, .block_elements = 256, .scales = {1, KindInfo::none}},
    {.name = "tq1_0", .ggml = 34, .bytes = 54, .block_elements = 256, .scales = {53, KindInfo::none}},
    {.name = "tq2_0", .ggml = 35, .bytes = 66, .block_elements = 256, .scales = {65, KindInfo::none}},
    {.name = "mxfp4", .ggml = 39, .bytes = 17, .block_elements = 32, .scales = {0, KindInfo::none}},
    {.name = "nvfp4", .ggml = 40, .bytes = 36, .block_elements = 64},
});
static_assert(kinds.size() == static_cast<std::size_t>(Kind::nvfp4) + 1);

constexpr LlamaShape llama_1b = {16, 2048, 8192, 512, 128256, true};
constexpr LlamaShape llama_8b = {32, 4096, 14336, 1024, 128256, false};
constexpr LlamaShape llama_405b = {126, 16384, 53248, 1024, 128256, false};

struct Published {
  std::string_view name;
  std::vector<Tensor> (*tensors)();
  std::size_t shards;
  std::string_view pattern;
  bool sparse;
  std::string_view format = "safetensors";
  std::uint64_t vocabulary = 0;
};

constexpr std::string_view usual_pattern = "model-{:05}-of-{:05}.safetensors";

constexpr std::array<Published, 6> published = {{
    {"llama-3.2-1b", [] { return llama(llama_1b); }, 1, usual_pattern, false},
    {"llama-3-8b", [] { return llama(llama_8b); }, 4, usual_pattern, false},
    {"llama-3-8b-q4_k_m", [] { return llama_q4_k_m(llama_8b); }, 1, "", false, "gguf", llama_8b.vocabulary},
    {"resnet-152", resnet_152, 1, usual_pattern, false},
    {"llama-3.1-405b", [] { return llama(llama_405b); }, 191, usual_pattern, true},
    {"deepseek-v3", deepseek_v3, 163, "model-{:05}-of-{:06}.safetensors", true},
}};

constexpr auto published_names = [] {
  std::array<std::string_view, published.size()> names;
  for (std::size_t i = 0; i < names.size(); ++i) names[i] = published[i].name;
  return names;
}();

struct Count {
  std::uint64_t tensors;
  std::uint64_t bytes;
};

// "100000x4KiB"
std::optional<Count> parse_count(std::string_view name) {
  const std::size_t cross = name.find('x');
  if (cross == 0 || cross == name.npos) return std::nullopt;
  std::uint64_t tensors = 0;
  const auto [end, error] = std::from_chars(name.data(), name.data() + cross, tensors);
  if (error != std::errc() || end != name.data() + cross || tensors == 0) return std::nullopt;
  return Count{tensors, parse_bytes(name.substr(cross + 1))};
}

// Makes names like those of mixtures of experts, so that lengths and common prefixes are usual.
std::vector<Tensor> many_tensors(Count count) {
  std::vector<Tensor> out;
  for (std::uint64_t i = 0; i < count.tensors; ++i) {
    out.push_back({fmt::format("model.layers.{}.mlp.experts.{}.up_proj.weight", i / 256, i % 256),
                   Kind::f32,
                   {static_cast<std::int64_t>(std::max<std::uint64_t>(1, count.bytes / 4))}});
  }
  return out;
}

std::uint64_t bytes_of(const Shard& tensors) {
  return std::accumulate(tensors.begin(), tensors.end(), std::uint64_t{0},
                         [](std::uint64_t sum, const Tensor& t) { return sum + t.bytes(); });
}

void scale(std::vector<Tensor>& tensors, std::uint64_t size_bytes) {
  const double factor = static_cast<double>(size_bytes) / static_cast<double>(bytes_of(tensors));
  for (Tensor& t : tensors) {
    if (t.shape.empty()) continue;
    // A multiple of 64, so that every tensor can be divided among tensor parallel ranks.
    const double wanted = static_cast<double>(t.shape[0]) * factor;
    t.shape[0] = std::max<std::int64_t>(64, std::llround(wanted / 64) * 64);
  }
}

// Returns true for tensors that can be stored as `kind`. Block types exclude vectors: llama.cpp does not quantize norms
// and biases.
bool can_store_as(const Tensor& t, Kind kind) {
  if (t.kind == Kind::i64) return false;
  const std::int64_t block = info(kind).block_elements;
  return block == 1 || (t.shape.size() >= 2 && t.shape.back() % block == 0);
}

void store_as(std::vector<Tensor>& tensors, Kind kind) {
  for (Tensor& t : tensors)
    if (can_store_as(t, kind)) t.kind = kind;
}

// Splits consecutive tensors into shards of about equal bytes, none empty.
std::vector<Shard> split(std::vector<Tensor> tensors, std::size_t count) {
  std::vector<Shard> shards(count);
  const std::uint64_t total = bytes_of(tensors);
  std::uint64_t before = 0;
  std::size_t shard = 0;
  for (Tensor& t : tensors) {
    const std::uint64_t middle = before + t.bytes() / 2;
    const std::uint64_t due = std::min<std::uint64_t>(count - 1, middle / (total / count + 1));
    if (due > shard && !shards[shard].empty()) ++shard;
    before += t.bytes();
    shards[shard].push_back(std::move(t));
  }
  std::erase_if(shards, [](const Shard& s) { return s.empty(); });
  return shards;
}

struct Unit {
  std::string_view name;
  double bytes;
};

constexpr std::array<Unit, 8> units = {
    {{"", 1}, {"B", 1}, {"KB", 1e3}, {"MB", 1e6}, {"GB", 1e9}, {"KiB", 0x1p10}, {"MiB", 0x1p20}, {"GiB", 0x1p30}}};

const Published* find_published(std::string_view name) {
  const auto* found =
      std::find_if(published.begin(), published.end(), [&](const Published& p) { return p.name == name; });
  return found == published.end() ? nullptr : found;
}

[[noreturn]] void refuse_name(std::string_view name) {
  throw std::runtime_error(fmt::format("no model '{}': expected one of {}, or COUNTxBYTES such as 1000x4KiB", name,
                                       fmt::join(published_names, ", ")));
}

}  // namespace

const KindInfo& info(Kind kind) noexcept { return kinds[static_cast<std::size_t>(kind)]; }

std::optional<Kind> kind_from_name(std::string_view name) noexcept {
  for (std::size_t i = 0; i < kinds.size(); ++i)
    if (kinds[i].name == name) return static_cast<Kind>(i);
  return std::nullopt;
}

std::uint64_t Tensor::elements() const noexcept {
  return std::accumulate(shape.begin(), shape.end(), std::uint64_t{1}, [](std::uint64_t product, std::int64_t dim) {
    return product * static_cast<std::uint64_t>(dim);
  });
}

std::uint64_t Model::bytes() const noexcept {
  return std::accumulate(shards.begin(), shards.end(), std::uint64_t{0},
                         [](std::uint64_t sum, const Shard& s) { return sum + bytes_of(s); });
}

std::size_t Model::tensor_count() const noexcept {
  return std::accumulate(shards.begin(), shards.end(), std::size_t{0},
                         [](std::size_t sum, const Shard& s) { return sum + s.size(); });
}

std::span<const std::string_view> model_names() noexcept { return published_names; }

bool is_model_name(std::string_view name) {
  if (find_published(name) != nullptr) return true;
  try {
    return parse_count(name).has_value();
  } catch (const std::runtime_error&) {
    return false;
  }
}

Model make_model(const Recipe& recipe) {
  const Published* row = find_published(recipe.model);
  const std::optional<Count> count = row == nullptr ? parse_count(recipe.model) : std::nullopt;
  if (row == nullptr && !count) refuse_name(recipe.model);
  std::vector<Tensor> tensors = row != nullptr ? row->tensors() : many_tensors(*count);
  if (recipe.kind) store_as(tensors, *recipe.kind);
  if (recipe.size_bytes != 0) scale(tensors, recipe.size_bytes);
  for (Tensor& tensor : tensors) tensor.values = recipe.values;
  // A scaled copy of a sparse model is stored with its payload.
  const bool sparse = row != nullptr && row->sparse && recipe.size_bytes == 0;
  Model model{recipe.model, split(std::move(tensors), row != nullptr ? row->shards : 1),
              std::string(row != nullptr ? row->pattern : usual_pattern), sparse};
  if (row == nullptr) return model;
  model.format = row->format;
  model.vocabulary = row->vocabulary;
  return model;
}

std::uint64_t parse_bytes(std::string_view text) {
  double value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  const std::string_view rest(end, static_cast<std::size_t>(text.data() + text.size() - end));
  for (const Unit& unit : units)
    if (error == std::errc() && rest == unit.name && value >= 0 && value * unit.bytes < 9e18)
      return static_cast<std::uint64_t>(value * unit.bytes);
  throw std::runtime_error(fmt::format("expected a size such as 4KiB, 100MB or 2.5GB, found '{}'", text));
}

}  // namespace bench
