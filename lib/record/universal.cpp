#include "record/universal.hpp"

#include <algorithm>
#include <filesystem>
#include <iterator>
#include <set>
#include <string_view>
#include <utility>

#include <fmt/format.h>

#include "core/checked.hpp"
#include "core/text.hpp"
#include "format/formats.hpp"
#include "format/torch/embedded.hpp"
#include "heft/error.hpp"
#include "record/parallel.hpp"
#include "record/weight_names.hpp"

namespace heft::record {
namespace {

constexpr const char* folder_of_parameters = "zero";
constexpr const char* weight_file = "fp32.pt";
constexpr const char* latest_file = "latest_universal";
constexpr std::string_view weight_key = ".param";
constexpr std::size_t max_looked_into = 64;  // names examined to recognize a folder

// Returns the names of the folders inside, without hidden ones.
std::vector<std::string> folders_in(const Directory& folder) {
  std::vector<std::string> names = folder.names();
  std::erase_if(names, [&](const std::string& name) { return name.starts_with('.') || !folder.has_folder(name); });
  return names;
}

// Returns true if one of the first folders inside has a weight.
bool holds_parameters(const Directory& folder) {
  const std::vector<std::string> names = folders_in(folder);
  const auto looked_into = std::span(names).first(std::min(names.size(), max_looked_into));
  return std::ranges::any_of(looked_into,
                             [&](const std::string& name) { return folder.has_file_in(name, weight_file); });
}

/// Reads the weight of a parameter's file, under the name `parameter`, without its other values.
format::Catalog read_parameter(const Source& file, const std::string& parameter, const OpenOptions& options,
                               const std::shared_ptr<core::MetadataBudget>& budget) {
  const SourceInput input(file, budget);
  const format::ReadOptions read{.limits = options.limits, .torch = options.torch};
  format::Catalog catalog(budget);
  // The values get the names PARAMETER.KEY, so the weight is PARAMETER.param.
  format::read_embedded_value({input, 0, file.size_bytes(), read}, parameter, catalog);
  const std::string expected = parameter + std::string(weight_key);
  if (catalog.tensors.size() != 1 || catalog.tensors.front().name != expected)
    throw Error(ErrorCode::corrupt,
                fmt::format("expected a dictionary with one tensor, 'param', found {} tensors", catalog.tensors.size()),
                {.tensor = parameter, .offset = 0});
  // A view into the catalog's arena, which keeps the whole name.
  catalog.tensors.front().name.remove_suffix(weight_key.size());
  catalog.values.clear();
  catalog.order.clear();
  catalog.format = format::torch_zip_format.name;
  catalog.detail = "a parameter of a universal checkpoint of DeepSpeed";
  return catalog;
}

/// Throws Error{not_found} if parameters lack their weights.
void require_weights(const Directory& parameters, const std::vector<std::string>& names) {
  std::vector<std::string> missing;
  std::ranges::copy_if(names, std::back_inserter(missing),
                       [&](const std::string& name) { return !parameters.has_file_in(name, weight_file); });
  if (missing.empty()) return;
  throw Error(ErrorCode::not_found,
              fmt::format("{} of {} parameters have no {}: {}: the checkpoint is incomplete", missing.size(),
                          names.size(), weight_file, listed(missing)),
              {.path = parameters.path()});
}

/// Returns the names of files that are not read.
std::vector<std::string> left_out(const Directory& folder, const Directory& parameters,
                                  const std::vector<std::string>& names) {
  std::set<std::string> found;
  for (const std::string& name : names)
    for (std::string& file : parameters.open_folder(name)->names())
      if (file != weight_file) found.insert(std::move(file));
  // Files beside the folders, such as mp_rank_00_model_states.pt.
  for (const Directory* each : {&folder, &parameters})
    for (std::string& name : each->names())
      if (each->has_file(name) && is_weights(name)) found.insert(std::move(name));
  return {found.begin(), found.end()};
}

}  // namespace

std::shared_ptr<const Directory> universal_parameters(const Directory& folder) {
  // path_of("") ends with a slash, so that parent_path() is the folder itself, with or without a slash at the end.
  const std::filesystem::path path = std::filesystem::path(folder.path_of("")).parent_path();
  if (path.filename() == folder_of_parameters && holds_parameters(folder)) return folder.shared_from_this();
  if (!folder.has_folder(folder_of_parameters)) return nullptr;
  auto parameters = folder.open_folder(folder_of_parameters);
  return holds_parameters(*parameters) ? parameters : nullptr;
}

std::shared_ptr<const Directory> latest_universal(const Directory& folder, State& state) {
  constexpr std::uint64_t max_name_bytes = 256;
  if (!folder.has_file(latest_file) || universal_parameters(folder)) return nullptr;
  const auto file = folder.open_file(latest_file);
  // A file of that name can be any file: only as much is read as a name can have.
  std::string name(std::min(file->size_bytes(), max_name_bytes), '\0');
  file->fetch(0, std::as_writable_bytes(std::span(name)));
  while (name.ends_with('\n') || name.ends_with('\r') || name.ends_with(' ')) name.pop_back();
  // The text becomes a name beside the file, and must not lead elsewhere.
  require_plain_name(name, file->path());
  if (!folder.has_folder(name))
    throw Error(ErrorCode::not_found,
                fmt::format("expected the folder '{}' beside it, which it names, found none", core::escaped(name)),
                {.path = std::string(file->path())});
  if (auto origin = file->origin()) state.origins.push_back(*std::move(origin));
  state.notes.push_back(
      fmt::format("{}: '{}' is opened, which it names", core::escaped(file->path(), 1000), core::escaped(name)));
  return folder.open_folder(name);
}

void open_universal(State& state, const Directory& folder, const Directory& parameters, const OpenOptions& options) {
  const std::vector<std::string> names = folders_in(parameters);
  core::require_limit(names.size(), options.limits.shards, "the number of parameters", "shards");
  // Before the first file is read: the message counts all that are missing.
  require_weights(parameters, names);
  if (auto origin = parameters.origin()) state.origins.push_back(*std::move(origin));
  state.shards.resize(names.size());
  in_parallel(names.size(), [&](std::size_t number) {
    const std::string& name = names[number];
    auto file = parameters.open_file_in(name, weight_file);
    format::Catalog catalog = read_as_it_is(*file, [&] { return read_parameter(*file, name, options, state.budget); });
    state.shards[number] = make_shard(std::move(file), std::move(catalog), options);
  });
  // read_parameter() has left one tensor in each.
  for (std::uint32_t shard = 0; shard < state.shards.size(); ++shard) state.entries.push_back({shard, 0});
  state.index_names();
  if (const auto others = left_out(folder, parameters, names); !others.empty())
    state.notes.push_back(fmt::format("{}: the weights are those of {}; not used: {}",
                                      core::escaped(folder.path(), 1000), weight_file, listed(others)));
}

}  // namespace heft::record
