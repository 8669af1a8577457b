#include "record/folder.hpp"

#include <algorithm>
#include <array>
#include <map>
#include <optional>
#include <utility>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "core/text.hpp"
#include "heft/error.hpp"

namespace heft::record {
namespace {

constexpr std::size_t max_name_bytes = 255;

bool is_digits(std::string_view text) noexcept {
  return !text.empty() && std::all_of(text.begin(), text.end(), [](char c) { return c >= '0' && c <= '9'; });
}

[[noreturn]] void fail_ambiguous(const mmap::Folder& folder, std::string_view what, std::vector<std::string> names) {
  const std::size_t all = names.size();
  names.resize(std::min<std::size_t>(all, 5));
  for (std::string& name : names) name = fmt::format("'{}'", core::escaped(name));
  throw Error(ErrorCode::ambiguous, fmt::format("expected one checkpoint, found {} {}: {}{}", all, what, fmt::join(names, ", "), all > names.size() ? ", ..." : ""),
              {.path = folder.path()});
}

// "<prefix>-00002-of-00003<suffix>" taken apart.
struct PartName {
  std::string_view prefix;
  std::string_view number;
  std::string_view total;
};

std::optional<PartName> part_name(std::string_view name, std::string_view suffix) noexcept {
  if (!name.ends_with(suffix)) return {};
  name.remove_suffix(suffix.size());
  const std::size_t of = name.rfind("-of-");
  if (of == std::string_view::npos) return {};
  const std::size_t dash = name.rfind('-', of == 0 ? 0 : of - 1);
  if (dash == std::string_view::npos || dash >= of) return {};
  PartName part{name.substr(0, dash), name.substr(dash + 1, of - dash - 1), name.substr(of + 4)};
  if (!is_digits(part.number) || !is_digits(part.total) || part.number.size() != part.total.size() || part.total.size() > 9) return {};
  return part;
}

class Chooser {
 public:
  explicit Chooser(const mmap::Folder& folder) : folder_(folder), names_(folder.names()) {}

  Choice choose() const {
    if (auto choice = hugging_face()) return *choice;
    if (auto choice = distributed()) return *choice;
    if (auto choice = meta()) return *choice;
    for (const std::string_view suffix : {".safetensors", ".gguf", ".bin", ".pth", ".pt", ".ckpt", ".npz", ".npy", ".tar"})
      if (auto choice = only(suffix)) return *choice;
    throw Error(ErrorCode::not_found, "expected a checkpoint, found no file that is named like model weights", {.path = folder_.path()});
  }

 private:
  [[nodiscard]] bool has(std::string_view name) const {
    return std::binary_search(names_.begin(), names_.end(), name) && folder_.has_file(std::string(name));
  }

  template <class Test>
  [[nodiscard]] std::vector<std::string> files(const Test& test) const {
    std::vector<std::string> found;
    for (const std::string& name : names_)
      if (test(name) && folder_.has_file(name)) found.push_back(name);
    return found;
  }

  [[nodiscard]] std::optional<Choice> hugging_face() const {
    struct Kind {
      std::array<std::string_view, 3> files;
      std::string_view index_ending;
    };
    static constexpr Kind kinds[] = {
        {{"model.safetensors", "diffusion_pytorch_model.safetensors", "adapter_model.safetensors"}, ".safetensors.index.json"},
        {{"pytorch_model.bin", "diffusion_pytorch_model.bin", "adapter_model.bin"}, ".bin.index.json"},
    };
    for (const Kind& kind : kinds) {
      for (const std::string_view file : kind.files) {
        if (has(file)) return Choice{Choice::Kind::file, {std::string(file)}};
        if (const std::string index = std::string(file) + ".index.json"; has(index)) return Choice{Choice::Kind::file, {index}};
      }
      // A variant: model.fp16.safetensors.index.json.
      auto variants = files([&](const std::string& name) { return name.ends_with(kind.index_ending); });
      if (variants.size() > 1) fail_ambiguous(folder_, "indexes", variants);
      if (variants.size() == 1) return Choice{Choice::Kind::file, std::move(variants)};
    }
    return {};
  }

  // torch.distributed.checkpoint: the index, .metadata, is written last.
  [[nodiscard]] std::optional<Choice> distributed() const {
    const auto parts = files([](std::string_view name) { return name.ends_with(".distcp"); });
    if (parts.empty()) return {};
    if (has(".metadata")) return Choice{Choice::Kind::file, {".metadata"}};
    throw Error(ErrorCode::not_found,
                fmt::format("{} files of a distributed checkpoint ('{}') without its index, .metadata: the save or the "
                            "download is incomplete",
                            parts.size(), core::escaped(parts.front())),
                {.path = folder_.path()});
  }

  [[nodiscard]] std::optional<Choice> meta() const {
    auto parts = files([](std::string_view name) {
      if (!name.starts_with("consolidated.") || !name.ends_with(".pth") || name.size() < 18) return false;
      return is_digits(name.substr(13, name.size() - 17));
    });
    if (parts.empty()) return {};
    if (parts.size() == 1 || !has("params.json")) {
      if (parts.size() > 1)
        throw Error(ErrorCode::not_found, fmt::format("expected params.json beside {} consolidated files: it says how they are split", parts.size()), {.path = folder_.path()});
      return Choice{Choice::Kind::file, std::move(parts)};
    }
    return Choice{Choice::Kind::meta, std::move(parts)};
  }

  // The only file of that ending, or the only set of numbered parts when the set is complete.
  [[nodiscard]] std::optional<Choice> only(std::string_view suffix) const {
    auto found = files([&](std::string_view name) { return name.ends_with(suffix); });
    if (found.empty()) return {};
    if (found.size() == 1) return Choice{Choice::Kind::file, std::move(found)};
    std::map<std::pair<std::string_view, std::string_view>, std::size_t> sets;
    for (const std::string& name : found) {
      const auto part = part_name(name, suffix);
      if (!part) fail_ambiguous(folder_, fmt::format("files that end in {}", suffix), found);
      ++sets[{part->prefix, part->total}];
    }
    if (sets.size() != 1) fail_ambiguous(folder_, fmt::format("sets of parts that end in {}", suffix), found);
    // A GGUF part names its siblings itself, and checks them.
    if (suffix == ".gguf") return Choice{Choice::Kind::file, {found.front()}};
    if (const std::string total(sets.begin()->first.second); std::stoul(total) != found.size())
      throw Error(ErrorCode::not_found, fmt::format("expected {} parts as their names say, found {}", std::stoul(total), found.size()), {.path = folder_.path()});
    return Choice{Choice::Kind::parts, std::move(found)};
  }

  const mmap::Folder& folder_;
  std::vector<std::string> names_;
};

}  // namespace

Choice choose(const mmap::Folder& folder) { return Chooser(folder).choose(); }

void require_plain_name(std::string_view name, const std::string& declared_in) {
  const bool plain = !name.empty() && name.size() <= max_name_bytes && name != "." && name != ".." &&
                     std::none_of(name.begin(), name.end(), [](char c) {
                       return c == '/' || c == '\\' || static_cast<unsigned char>(c) < 0x20 || c == 0x7F;
                     });
  if (!plain)
    throw Error(ErrorCode::refused, fmt::format("expected the plain name of a file in the same folder, found '{}'", core::escaped(name)),
                {.path = declared_in});
}

}  // namespace heft::record
