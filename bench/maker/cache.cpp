#include "maker/cache.hpp"

#include <unistd.h>

#include <array>
#include <cstdlib>
#include <stdexcept>

#include <fmt/format.h>

#include "maker/writers.hpp"

namespace bench {

namespace fs = std::filesystem;

namespace {

struct FormatRow {
  std::string_view name;
  std::string_view extension;
  void (*write)(const Model&, const fs::path&, Progress&);
};

constexpr std::array<FormatRow, 6> formats = {{
    {"safetensors", ".safetensors", write_safetensors},
    {"torch", ".pth", write_torch_zip},
    {"torch-legacy", ".legacy.pth", write_torch_legacy},
    {"gguf", ".gguf", write_gguf},
    {"burn-lists", ".mpk", write_burn_lists},
    {"burn-lists-gzip", ".mpk.gz", write_burn_lists_gzip},
}};

std::string file_name(const Recipe& recipe, bool folder, const FormatRow& format) {
  std::string name = recipe.model;
  if (recipe.kind) name += fmt::format("-{}", info(*recipe.kind).name);
  if (recipe.size_bytes != 0) name += fmt::format("-{}", recipe.size_bytes);
  if (recipe.values == Values::normal) name += "-normal";
  return folder ? name : fmt::format("{}{}", name, format.extension);
}

void refuse_blocks(const Model& model, const FormatRow& format) {
  for (const Shard& shard : model.shards)
    for (const Tensor& t : shard)
      if (format.name != "gguf" && info(t.kind).block_elements > 1)
        throw std::runtime_error(
            fmt::format("{}: {} is a block type, which gguf alone has", t.name, info(t.kind).name));
}

void check_space(const fs::path& folder, std::uint64_t bytes) {
  const std::uint64_t wanted = bytes + bytes / 50 + (std::uint64_t{64} << 20);  // headers, and room for other programs
  const std::uint64_t available = fs::space(folder).available;
  if (available < wanted)
    throw std::runtime_error(fmt::format(
        "{}: making this checkpoint takes {:.1f} GB, but only {:.1f} GB are free there (--cache names another folder)",
        folder.string(), static_cast<double>(wanted) / 1e9, static_cast<double>(available) / 1e9));
}

void make(const Model& model, const FormatRow& format, const fs::path& target) {
  const std::uint64_t stored = model.sparse ? 0 : model.bytes();
  check_space(target.parent_path(), stored);
  const fs::path unfinished = fs::path(target).concat(fmt::format(".making-{}", getpid()));
  Progress progress(fmt::format("making {} ({:.2f} GB)", target.string(), static_cast<double>(stored) / 1e9), stored);
  try {
    format.write(model, unfinished, progress);
    fs::rename(unfinished, target);
  } catch (...) {
    std::error_code ignored;
    fs::remove_all(unfinished, ignored);
    throw;
  }
}

}  // namespace

Format format_from_name(std::string_view name) {
  for (std::size_t i = 0; i < formats.size(); ++i)
    if (formats[i].name == name) return static_cast<Format>(i);
  throw std::runtime_error(fmt::format(
      "expected safetensors, torch, torch-legacy, gguf, burn-lists or burn-lists-gzip as a format, found '{}'", name));
}

fs::path default_cache() {
  const char* base = std::getenv("XDG_CACHE_HOME");
  if (base != nullptr && *base != '\0') return fs::path(base) / "heft-bench";
  const char* home = std::getenv("HOME");
  return fs::path(home != nullptr ? home : "/tmp") / ".cache" / "heft-bench";
}

fs::path checkpoint_in(const fs::path& cache, const Recipe& recipe, std::optional<Format> wanted) {
  const Model model = make_model(recipe);
  const Format format = wanted ? *wanted : format_from_name(model.format);
  const FormatRow& row = formats[static_cast<std::size_t>(format)];
  refuse_blocks(model, row);
  if (model.sparse && format != Format::safetensors)
    throw std::runtime_error(fmt::format("{} is made as safetensors only: its payload is not stored", recipe.model));
  std::error_code error;
  fs::create_directories(cache, error);
  if (error) throw std::runtime_error(fmt::format("{}: cannot be made: {}", cache.string(), error.message()));
  const fs::path target = cache / file_name(recipe, format == Format::safetensors && model.shards.size() > 1, row);
  if (!fs::exists(target)) make(model, row, target);
  return target;
}

}  // namespace bench
