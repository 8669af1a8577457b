#include "save/layout.hpp"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <string>
#include <string_view>
#include <system_error>
#include <vector>

#include "core/text.hpp"
#include "heft/error.hpp"

namespace heft::writer {
namespace {

using format::Format;

constexpr std::string_view index_ending = ".index.json";
constexpr std::string_view stem_in_folder = "model";  // the name that transformers uses

// The written formats, in the order of the list.
std::vector<const Format*> written() {
  std::vector<const Format*> formats;
  for (const Format* format : format::formats())
    if (format->writer != nullptr) formats.push_back(format);
  return formats;
}

// Files are written with the first suffix of their format.
std::string_view suffix_of(const Format& format) { return format.suffixes.substr(0, format.suffixes.find(' ')); }

// Returns the format of the file's suffix, or the one of the given name.
const Format* find_written(const std::filesystem::path& path, std::string_view name) {
  const std::string suffix = path.extension().string();
  // A given name counts more than the suffix, which may belong to another format.
  for (const Format* format : written())
    if (name.empty() ? suffix_of(*format) == suffix : format->name == name) return format;
  return nullptr;
}

bool is_folder(const std::filesystem::path& path) {
  // A path that cannot be examined is taken for a file: opening its folder then reports the failure.
  std::error_code ignored;
  return !path.has_filename() || std::filesystem::is_directory(path, ignored);
}

// The names of the formats that can have shards and an index.
std::vector<std::string_view> sharded_names() {
  std::vector<std::string_view> names;
  for (const Format* format : written())
    if (format->writer->index != nullptr) names.push_back(format->name);
  return names;
}

[[noreturn]] void fail_unnamed(const std::filesystem::path& path) {
  std::vector<std::string> endings;
  for (const Format* format : written()) {
    endings.emplace_back(suffix_of(*format));
    if (format->writer->index != nullptr) endings.push_back(endings.back() + std::string(index_ending));
  }
  const std::string last = std::move(endings.back());
  endings.pop_back();
  throw Error(ErrorCode::unsupported,
              fmt::format("expected a folder, or a path that ends in {} or {} to name the format",
                          fmt::join(endings, ", "), last),
              {.path = path.string()});
}

}  // namespace

SaveTarget target_of(const std::filesystem::path& path, const SaveOptions& options) {
  if (!options.format.empty() && find_written({}, options.format) == nullptr)
    throw Error(
        ErrorCode::unsupported,
        fmt::format("expected the name of a format that heft writes, found '{}'", core::escaped(options.format)),
        {.path = path.string()});
  SaveTarget target{.path = path};
  if (path.filename().string().ends_with(index_ending)) {
    target.path.replace_extension().replace_extension();  // ".json", ".index"
    target.indexed = true;
  } else if (find_written(path, options.format) == nullptr && is_folder(path)) {
    // In a folder a checkpoint has the name that readers look for; the format is the first of the list that can have
    // shards.
    const auto formats = written();
    const auto sharded =
        std::ranges::find_if(formats, [](const Format* format) { return format->writer->index != nullptr; });
    target.path /= std::string(stem_in_folder) + std::string(suffix_of(**sharded));
  }
  target.format = find_written(target.path, options.format);
  if (target.format == nullptr) fail_unnamed(path);
  if ((options.shard_bytes != 0 || target.indexed) && target.format->writer->index == nullptr)
    throw Error(ErrorCode::unsupported,
                fmt::format("{} is written as one file: shards of a given size are {} only", suffix_of(*target.format),
                            fmt::join(sharded_names(), " and ")),
                {.path = path.string()});
  return target;
}

}  // namespace heft::writer
