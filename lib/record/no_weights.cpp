#include "record/no_weights.hpp"

#include <algorithm>
#include <filesystem>
#include <string_view>
#include <vector>

#include <fmt/format.h>

#include "core/text.hpp"
#include "heft/error.hpp"
#include "record/weight_names.hpp"

namespace heft::record {
namespace {

constexpr std::size_t max_folders = 64;  // searched for weights

// Returns the names for which `test` returns true.
template <class Test>
std::vector<std::string> those(std::span<const std::string> names, const Test& test) {
  std::vector<std::string> found;
  std::ranges::copy_if(names, std::back_inserter(found), test);
  return found;
}

// Returns true if the folder `name` inside has a file that open() would choose.
bool holds_weights(const Directory& folder, const std::string& name) {
  try {
    const auto names = folder.open_folder(name)->names();
    return std::ranges::any_of(names, [](const std::string& file) {
      return ((is_weights(file) || is_index(file)) && !is_helper(file)) || file.ends_with(".distcp");
    });
  } catch (const Error&) {
    return false;  // not readable
  }
}

// Returns the number of unfinished downloads in the folder at `path`; 0 if there is none.
std::size_t count_unfinished(const std::string& path) {
  try {
    return those(mmap::Folder::open(path)->names(), is_unfinished).size();
  } catch (const Error&) {
    return 0;  // not there, or not ours to read
  }
}

// Returns the number of downloads that huggingface_hub has not finished for a folder on disk: beside the snapshots of
// its cache, or below a folder that it fills.
std::size_t unfinished_elsewhere(const Directory& folder) {
  const std::filesystem::path path(folder.path());
  // A path that ends with a slash has an empty last component.
  const std::filesystem::path plain = path.has_filename() ? path : path.parent_path();
  const bool is_snapshot = plain.parent_path().filename() == "snapshots";
  return count_unfinished((path / ".cache/huggingface/download").string()) +
         (is_snapshot ? count_unfinished((path / "../../blobs").string()) : 0);
}

// Returns the message for symlinks without their targets; the first one stands for all.
std::string broken_sentence(const Directory& folder, std::span<const std::string> broken) {
  return fmt::format("'{}' is a symlink to '{}', which is not there{}: the download was interrupted, download it again",
                     core::escaped(broken.front()), core::escaped(folder.broken_link(broken.front()).value_or("")),
                     broken.size() == 1 ? "" : fmt::format(", and so are {} more", broken.size() - 1));
}

// Returns the description of a DeepSpeed folder; empty for other folders.
std::string deepspeed_sentence(const Directory& folder, std::span<const std::string> names) {
  const auto steps =
      those(names, [&](const std::string& name) { return name.starts_with("global_step") && folder.has_folder(name); });
  const bool has_script = std::ranges::find(names, "zero_to_fp32.py") != names.end();
  if (steps.empty() && !has_script) return {};
  return fmt::format(
      "no file here holds weights: this is a checkpoint of DeepSpeed{}, whose ranks hold pieces; join them with its "
      "zero_to_fp32.py and open the result",
      steps.empty() ? "" : fmt::format(", in {}", listed(steps)));
}

// Returns the message for Megatron-Core's older backend, which has a folder for each tensor. Empty for other folders.
std::string zarr_sentence(const Directory& folder, std::span<const std::string> names) {
  // Each look is a system call, and a folder can have a million names.
  const std::size_t looked_at = std::min(names.size(), max_folders);
  const auto found = std::ranges::find_if(names.first(looked_at),
                                          [&](const std::string& name) { return folder.has_file_in(name, ".zarray"); });
  if (found == names.begin() + static_cast<std::ptrdiff_t>(looked_at)) return {};
  return fmt::format(
      "no file here holds weights: '{}' and its like are Zarr arrays, as Megatron-Core's zarr backend saves them, "
      "which heft does not read; "
      "save the checkpoint with its torch_dist backend",
      core::escaped(*found));
}

// Returns the message for a folder whose weights are one level below. Empty for other folders.
std::string folders_sentence(const Directory& folder, std::span<const std::string> names) {
  auto folders =
      those(names, [&](const std::string& name) { return !name.starts_with('.') && folder.has_folder(name); });
  const auto models = those(folders, [](const std::string& name) { return name.starts_with("models--"); });
  // The top of a cache of huggingface_hub, a level above what snapshot_of() opens.
  if (models.size() == 1) return fmt::format("this is a cache of one model; open it: {}", listed(models));
  if (!models.empty())
    return fmt::format("this is a cache of {} models; open one of them: {}", models.size(), listed(models));
  const auto ranks = those(folders, [](const std::string& name) { return name.starts_with("mp_rank_"); });
  if (!ranks.empty())
    return fmt::format(
        "this is a checkpoint of Megatron-LM, whose ranks ({}) hold parts of the tensors, which heft does not join: "
        "convert it with Megatron's "
        "tools/checkpoint/convert.py and open the result",
        listed(ranks));
  // Each of them is listed, so their number is bounded.
  folders.resize(std::min(folders.size(), max_folders));
  const auto with_weights = those(folders, [&](const std::string& name) { return holds_weights(folder, name); });
  if (with_weights.empty()) return {};
  return fmt::format("no file here holds weights, those of {} {} do; open {}",
                     with_weights.size() == 1 ? "the folder" : "the folders", listed(with_weights),
                     with_weights.size() == 1 ? "it" : "one of them");
}

// Returns the message of the surest cause: from signs that only one program leaves to guesses from names.
std::string message(const Directory& folder, std::span<const std::string> names, std::span<const std::string> broken) {
  // A link without its file proves an interrupted download; all else is weaker.
  if (!broken.empty()) return broken_sentence(folder, broken);
  if (std::string deepspeed = deepspeed_sentence(folder, names); !deepspeed.empty()) return deepspeed;
  if (const auto unfinished = those(names, is_unfinished); !unfinished.empty())
    return fmt::format("no file here holds weights: the download of {} is not finished, download it again",
                       listed(unfinished));
  if (const std::size_t count = folder.on_disk() == nullptr ? 0 : unfinished_elsewhere(folder); count > 0)
    return fmt::format("no file here holds weights: {} not finished, download the model again",
                       count == 1 ? "a download of it is" : fmt::format("{} downloads of it are", count));
  // In a storage, each folder that is looked into costs a request.
  if (std::string zarr = folder.on_disk() ? zarr_sentence(folder, names) : std::string(); !zarr.empty()) return zarr;
  if (std::string folders = folder.on_disk() ? folders_sentence(folder, names) : std::string(); !folders.empty())
    return folders;
  // The folder of a training run whose weights were not copied.
  const auto helpers = those(names, [](const std::string& name) { return is_weights(name) && is_helper(name); });
  if (!helpers.empty())
    return fmt::format("no file here holds weights: {} {} what a trainer keeps beside them", listed(helpers),
                       helpers.size() == 1 ? "is" : "are");
  const auto files =
      those(names, [&](const std::string& name) { return !name.starts_with('.') && folder.has_file(name); });
  return fmt::format("expected a checkpoint, found no file that is named like model weights{}",
                     files.empty() ? "" : fmt::format(" among {}", listed(files)));
}

}  // namespace

void fail_no_weights(const Directory& folder, std::span<const std::string> names, std::span<const std::string> broken) {
  throw Error(ErrorCode::not_found, message(folder, names, broken), {.path = folder.path()});
}

void fail_scattered(const Directory& folder) {
  throw Error(ErrorCode::unsupported,
              "this is a checkpoint of DeepSpeed's ZeRO, whose ranks hold pieces of the tensors, which heft does not "
              "join: join them with its "
              "zero_to_fp32.py and open the result",
              {.path = folder.path()});
}

}  // namespace heft::record
