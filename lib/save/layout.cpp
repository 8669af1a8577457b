#include "save/layout.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <string_view>
#include <system_error>

#include "core/text.hpp"
#include "heft/error.hpp"
#include "save/metadata.hpp"

namespace heft::writer {
namespace {

constexpr std::string_view index_suffix = ".safetensors.index.json";
constexpr std::string_view name_in_folder = "model.safetensors";  // the name that transformers uses

struct FormatRow {
  std::string_view suffix;
  SaveFormat format;
  bool has_shards;
};
constexpr auto formats = std::to_array<FormatRow>({
    {".safetensors", SaveFormat::safetensors, true},
    {".npz", SaveFormat::npz, false},
    {".gguf", SaveFormat::gguf, false},
});

const FormatRow* row_of(const std::filesystem::path& path, SaveFormat asked) {
  const std::string suffix = path.extension().string();
  const auto row = std::ranges::find_if(formats, [&](const FormatRow& each) {
    return asked == SaveFormat::by_suffix ? each.suffix == suffix : each.format == asked;
  });
  return row == formats.end() ? nullptr : &*row;
}

bool is_folder(const std::filesystem::path& path) {
  std::error_code ignored;
  return !path.has_filename() || std::filesystem::is_directory(path, ignored);
}

// npz has no metadata. Metadata of the source are dropped with a note; metadata that the caller adds are an Error.
SaveLayout npz_layout(const SaveOptions& options, std::vector<std::string>& notes) {
  if (!options.metadata.empty())
    throw Error(ErrorCode::unsupported,
                fmt::format("npz has no metadata to hold '{}'", core::escaped(options.metadata.front().first)));
  if (const std::size_t count = options.keep_metadata.size(); count != 0)
    notes.push_back(fmt::format("{} metadata values are not kept: npz has none", count));
  return format::npz_file_plan;
}

SaveLayout gguf_layout(std::span<const SaveItem> items, const SaveOptions& options, std::vector<std::string>& notes) {
  const bool converted =
      std::ranges::any_of(items, [](const SaveItem& item) { return item.dtype != item.view.dtype(); });
  return [pairs = gguf_metadata(options.keep_metadata, options.metadata, converted, notes)](
             std::span<const format::TensorSpec> tensors) { return format::gguf_file_plan(tensors, pairs); };
}

SaveLayout safetensors_layout(const SaveOptions& options, std::vector<std::string>& notes) {
  return [metadata = text_metadata(options.keep_metadata, options.metadata, notes)](
             std::span<const format::TensorSpec> tensors) { return format::safetensors_file_plan(tensors, metadata); };
}

}  // namespace

SaveTarget target_of(const std::filesystem::path& path, const SaveOptions& options) {
  SaveTarget target{.path = path};
  if (path.filename().string().ends_with(index_suffix)) {
    target.path.replace_extension().replace_extension();  // ".json", ".index"
    target.indexed = true;
  } else if (row_of(path, options.format) == nullptr && is_folder(path)) {
    target.path /= name_in_folder;
  }
  const FormatRow* row = row_of(target.path, options.format);
  if (row == nullptr)
    throw Error(
        ErrorCode::unsupported,
        "expected a folder, or a path that ends in .safetensors, .safetensors.index.json, .npz or .gguf to name the "
        "format",
        {.path = path.string()});
  target.format = row->format;
  if ((options.shard_bytes != 0 || target.indexed) && !row->has_shards)
    throw Error(ErrorCode::unsupported,
                fmt::format("{} is written as one file: shards of a given size are safetensors only", row->suffix),
                {.path = path.string()});
  return target;
}

SaveLayout layout_of(SaveFormat format, std::span<const SaveItem> items, const SaveOptions& options,
                     std::vector<std::string>& notes) {
  switch (format) {
    case SaveFormat::npz: return npz_layout(options, notes);
    case SaveFormat::gguf: return gguf_layout(items, options, notes);
    default: return safetensors_layout(options, notes);
  }
}

}  // namespace heft::writer
