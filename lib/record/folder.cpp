#include "record/folder.hpp"

#include <algorithm>
#include <array>
#include <optional>
#include <span>
#include <utility>

#include <fmt/format.h>

#include "core/text.hpp"
#include "heft/error.hpp"
#include "record/no_weights.hpp"
#include "record/sharded_files.hpp"
#include "record/weight_names.hpp"

namespace heft::record {
namespace {

// Names that Hugging Face's libraries look for, in order, each followed by its index.
struct KnownName {
  std::string_view stem;
  std::string_view ending;
};
constexpr std::array<KnownName, 8> known_names{{
    {"model", ".safetensors"},
    {"diffusion_pytorch_model", ".safetensors"},
    {"adapter_model", ".safetensors"},
    {"pytorch_model", ".bin"},
    {"diffusion_pytorch_model", ".bin"},
    {"adapter_model", ".bin"},
    {"flax_model", ".msgpack"},
    {"diffusion_flax_model", ".msgpack"},
}};
constexpr std::string_view index_ending = ".index.json";

// "model.fp16.safetensors", "model.fp16.safetensors.index.json"
bool is_variant(std::string_view name, const KnownName& known, std::string_view ending) noexcept {
  return name.starts_with(known.stem) && name.substr(known.stem.size()).starts_with('.') && name.ends_with(ending);
}

// Throws Error{ambiguous} with the names of the candidates.
[[noreturn]] void fail_ambiguous(const Directory& folder, std::string_view what, std::span<const std::string> names) {
  throw Error(
      ErrorCode::ambiguous,
      fmt::format("expected one checkpoint, found {} {}: {}; open one of them", names.size(), what, listed(names)),
      {.path = folder.path()});
}

// Returns true for the endings of pickles, which can hold a model or other values.
bool is_pickle(std::string_view name) noexcept { return name.ends_with(".pkl") || name.ends_with(".pickle"); }

// Returns true for files of Megatron-Core and Lightning beside a distributed checkpoint.
bool is_beside_distributed(std::string_view name) noexcept { return name == "common.pt" || name == "meta.pt"; }

// Returns true for one digit or more.
bool is_digits(std::string_view text) noexcept {
  return !text.empty() && std::ranges::all_of(text, [](char c) { return c >= '0' && c <= '9'; });
}

class Chooser {
 public:
  explicit Chooser(const Directory& folder) : folder_(folder), names_(folder.names()) {
    for (const std::string& name : names_) {
      if (name.starts_with('.') || is_helper(name) || !(is_weights(name) || is_index(name))) continue;
      // Folders and pipes that are named like weights are neither.
      if (folder.has_file(name))
        (is_index(name) ? indexes_ : weights_).push_back(name);
      else if (folder.broken_link(name))
        broken_.push_back(name);
    }
  }

  Choice choose() const {
    Choice choice = first_choice();
    for (const std::vector<std::string>* all : {&weights_, &indexes_})
      std::ranges::set_difference(*all, choice.names, std::back_inserter(choice.unused));
    if (!broken_.empty())
      choice.notes.push_back(
          fmt::format("not used: {}: symlinks whose targets are not there, as an interrupted download leaves them",
                      listed(broken_)));
    return choice;
  }

 private:
  Choice first_choice() const {
    // The first rule that applies decides: from names that one program writes to a file that is the only one.
    if (auto choice = hugging_face()) return *choice;
    if (auto choice = distributed()) return *choice;
    if (auto choice = ranks()) return *choice;
    if (auto choice = variant()) return *choice;
    if (auto choice = meta()) return *choice;
    const auto refused = files([](std::string_view name) { return is_refused_weights(name) && !is_helper(name); });
    // A pickle beside a file that heft refuses is more likely other values than the model.
    const bool is_pickle_beside =
        weights_.size() == 1 && is_pickle(weights_.front()) && !std::ranges::all_of(refused, is_archive);
    if (auto choice = only(); choice && !is_pickle_beside) return *choice;
    // Opening it throws an error with the format and advice.
    if (!refused.empty() && broken_.empty()) {
      // Archives last, because they can contain anything.
      const auto model = std::ranges::find_if_not(refused, is_archive);
      return one_file(model == refused.end() ? refused.front() : *model);
    }
    fail_no_weights(folder_, names_, broken_);
  }

  [[nodiscard]] bool has(std::string_view name) const {
    return std::ranges::binary_search(names_, name) && folder_.has_file(std::string(name));
  }

  template <class Test>
  [[nodiscard]] std::vector<std::string> files(const Test& test) const {
    std::vector<std::string> found;
    for (const std::string& name : names_)
      if (!name.starts_with('.') && test(name) && folder_.has_file(name)) found.push_back(name);
    return found;
  }

  static Choice one_file(std::string name) { return {Choice::Kind::file, {std::move(name)}}; }

  [[nodiscard]] std::optional<Choice> hugging_face() const {
    for (const KnownName& known : known_names) {
      const std::string file = fmt::format("{}{}", known.stem, known.ending);
      // The file before its index, and safetensors before pickles, in the order of from_pretrained().
      if (has(file)) return one_file(file);
      if (has(file + std::string(index_ending))) return one_file(file + std::string(index_ending));
    }
    return {};
  }

  // Returns the index or file of a variant of Hugging Face's names, or the only index.
  [[nodiscard]] std::optional<Choice> variant() const {
    if (indexes_.size() > 1) fail_ambiguous(folder_, "indexes", indexes_);
    if (indexes_.size() == 1) return one_file(indexes_.front());
    for (const KnownName& known : known_names) {
      std::vector<std::string> found;
      std::ranges::copy_if(weights_, std::back_inserter(found), [&](std::string_view name) {
        return is_variant(name, known, known.ending) && !part_name(name);
      });
      if (found.size() > 1) fail_ambiguous(folder_, "variants", found);
      if (found.size() == 1) return one_file(found.front());
    }
    return {};
  }

  // Returns the index of torch.distributed.checkpoint, .metadata, which is written last.
  [[nodiscard]] std::optional<Choice> distributed() const {
    const auto parts = files([](std::string_view name) { return name.ends_with(".distcp"); });
    if (parts.empty()) return {};
    // The name starts with a dot, so that it is not among the weights.
    if (has(".metadata")) {
      Choice choice{Choice::Kind::file, {".metadata"}};
      if (const auto beside = files(is_beside_distributed); !beside.empty())
        choice.notes.push_back(
            fmt::format("not used: {}: values that a trainer keeps beside the tensors; open {} by {} name",
                        listed(beside), beside.size() == 1 ? "it" : "each", beside.size() == 1 ? "its" : "its own"));
      return choice;
    }
    throw Error(ErrorCode::not_found,
                fmt::format("{} of a distributed checkpoint ('{}') without its index, .metadata: the save or the "
                            "download is incomplete",
                            core::counted(parts.size(), "file"), core::escaped(parts.front())),
                {.path = folder_.path()});
  }

  // Returns the pieces of ranks if the folder has no other weights.
  [[nodiscard]] std::optional<Choice> ranks() const {
    if (weights_.empty() || !indexes_.empty() || !std::ranges::all_of(weights_, is_rank_file)) return {};
    return Choice{Choice::Kind::ranks, weights_};
  }

  [[nodiscard]] std::optional<Choice> meta() const {
    auto parts = files([](std::string_view name) {
      // "consolidated." has 13 characters and ".pth" has 4; at least one digit lies between them.
      if (!name.starts_with("consolidated.") || !name.ends_with(".pth") || name.size() < 18) return false;
      return is_digits(name.substr(13, name.size() - 17));
    });
    if (parts.empty()) return {};
    if (parts.size() == 1 || !has("params.json")) {
      if (parts.size() > 1)
        throw Error(ErrorCode::not_found,
                    fmt::format("expected params.json beside {} consolidated files, which describes how they are split",
                                parts.size()),
                    {.path = folder_.path()});
      return Choice{Choice::Kind::file, std::move(parts)};
    }
    return Choice{Choice::Kind::meta, std::move(parts)};
  }

  // Returns the only file, or the only set of numbered parts if it is complete.
  [[nodiscard]] std::optional<Choice> only() const {
    // First, because pieces of ranks would otherwise be reported as several candidates.
    if (std::ranges::any_of(weights_, is_scattered)) fail_scattered(folder_);
    const std::vector<PartSet> sets = part_sets(weights_);
    std::vector<std::string> candidates;
    for (const PartSet& set : sets) candidates.push_back(set.names.size() == 1 ? set.names.front() : set.pattern());
    std::ranges::copy_if(weights_, std::back_inserter(candidates),
                         [](std::string_view name) { return !part_name(name); });
    if (candidates.empty()) return {};
    if (candidates.size() > 1) fail_ambiguous(folder_, "candidates", candidates);
    if (sets.empty()) return one_file(candidates.front());
    return parts(sets.front());
  }

  [[nodiscard]] Choice parts(const PartSet& set) const {
    if (!set.is_complete()) {
      const std::uint64_t count = set.total - std::min<std::uint64_t>(set.total, set.names.size());
      throw Error(
          ErrorCode::not_found,
          fmt::format("expected {} parts as their names declare, found {}; missing: {}: the download is incomplete",
                      set.total, set.names.size(), listed(set.missing(6), count)),
          {.path = folder_.path()});
    }
    // The reader of a GGUF part finds its siblings and checks them.
    if (set.names.front().ends_with(".gguf")) return one_file(set.names.front());
    return {Choice::Kind::parts, set.names};
  }

  const Directory& folder_;
  std::vector<std::string> names_;    // sorted
  std::vector<std::string> weights_;  // sorted
  std::vector<std::string> indexes_;  // sorted
  std::vector<std::string> broken_;   // symlinks named like either, without a target
};

}  // namespace

Choice choose(const Directory& folder) { return Chooser(folder).choose(); }

}  // namespace heft::record
