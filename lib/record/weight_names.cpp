#include "record/weight_names.hpp"

#include <algorithm>
#include <array>
#include <charconv>
#include <map>
#include <tuple>

#include <fmt/format.h>

#include "core/text.hpp"
#include "format/formats.hpp"
#include "heft/error.hpp"

namespace heft::record {
namespace {

// Numbers of nine digits fit 32 bits, and no checkpoint has more parts.
constexpr std::size_t max_digits = 9;
constexpr std::size_t max_name_bytes = 255;
constexpr std::size_t max_listed = 5;

// First words of names, and endings of the part before the first dot.
constexpr std::array<std::string_view, 16> helper_words{
    "training_args", "optimizer",      "optim",      "scheduler",         "lr_scheduler", "rng_state",
    "rng",           "random_states",  "scaler",     "grad_scaler",       "sampler",      "dl_state_dict",
    "trainer_state", "training_state", "dataloader", "custom_checkpoint",
};
constexpr std::array<std::string_view, 2> helper_names{"common.pt", "meta.pt"};
constexpr std::array<std::string_view, 3> helper_endings{"_optimizer", "-optimizer", "_optim"};
constexpr std::array<std::string_view, 5> unfinished_endings{".incomplete", ".part", ".partial", ".crdownload",
                                                             ".download"};

constexpr std::array<std::string_view, 12> archive_endings{".zip", ".tar",  ".tgz", ".gz",  ".7z",  ".rar",
                                                           ".xz",  ".lzma", ".lz",  ".bz2", ".zst", ".lz4"};

bool is_letter(char c) noexcept { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z'); }
bool is_digit(char c) noexcept { return c >= '0' && c <= '9'; }

// Returns true for one to max_digits digits.
bool is_number(std::string_view text) noexcept {
  return !text.empty() && text.size() <= max_digits && std::ranges::all_of(text, is_digit);
}

// Returns the number that is_number() has checked.
std::uint64_t number_of(std::string_view digits) noexcept {
  std::uint64_t number = 0;
  std::from_chars(digits.data(), digits.data() + digits.size(), number);
  return number;
}

// Returns true if `name` starts with the whole of `word`: "rng" starts "rng_state_0", not "rngs".
bool starts_with_word(std::string_view name, std::string_view word) noexcept {
  return name.starts_with(word) && (name.size() == word.size() || !is_letter(name[word.size()]));
}

// Returns the name of another part, with as many digits.
std::string name_of_part(const PartName& like, std::uint64_t number) {
  return fmt::format("{}-{:0{}}-of-{}{}", like.prefix, number, like.number.size(), like.total, like.suffix);
}

}  // namespace

bool is_weights(std::string_view name) noexcept {
  return std::ranges::any_of(format::formats(), [&](const format::Format* format) {
    // A format without a reader is one that heft refuses by name.
    return !format->reads.empty() && format != &format::index_json_format && has_suffix(*format, name);
  });
}

bool is_refused_weights(std::string_view name) noexcept {
  return std::ranges::any_of(format::formats(), [&](const format::Format* format) {
    return format->reads.empty() && has_suffix(*format, name);
  });
}

bool is_archive(std::string_view name) noexcept {
  return std::ranges::any_of(archive_endings, [&](std::string_view ending) { return name.ends_with(ending); });
}

bool is_index(std::string_view name) noexcept { return has_suffix(format::index_json_format, name); }

bool is_helper(std::string_view name) noexcept {
  // The ending is ignored: trainers save these files with torch.save() under any ending.
  const std::string_view stem = name.substr(0, name.find('.'));
  return std::ranges::find(helper_names, name) != helper_names.end() ||
         std::ranges::any_of(helper_words, [&](std::string_view word) { return starts_with_word(stem, word); }) ||
         std::ranges::any_of(helper_endings, [&](std::string_view ending) { return stem.ends_with(ending); });
}

bool is_scattered(std::string_view name) noexcept {
  return name.starts_with("zero_pp_rank_") || name.starts_with("bf16_zero_pp_rank_") ||
         name.starts_with("fp16_zero_pp_rank_") || name.ends_with("_optim_states.pt");
}

bool is_unfinished(std::string_view name) noexcept {
  return std::ranges::any_of(unfinished_endings, [&](std::string_view ending) { return name.ends_with(ending); });
}

std::optional<PartName> part_name(std::string_view name) noexcept {
  // From the end, because the prefix is any text and can contain "-of-" too.
  const std::size_t of = name.rfind("-of-");
  if (of == name.npos || of == 0) return {};
  const std::size_t dash = name.rfind('-', of - 1);
  if (dash == name.npos) return {};
  const std::string_view rest = name.substr(of + 4);
  const std::string_view total = rest.substr(0, rest.find_first_not_of("0123456789"));
  const PartName part{name.substr(0, dash), name.substr(dash + 1, of - dash - 1), total, rest.substr(total.size())};
  // Numbers start at 0 or 1, so the number can equal the total.
  if (!is_number(part.number) || !is_number(part.total) || number_of(part.number) > number_of(part.total)) return {};
  return part;
}

std::vector<std::string> PartSet::missing(std::size_t most) const {
  // Names of the set have passed part_name().
  const PartName like = *part_name(names.front());
  std::vector<std::string> lacking;
  std::uint64_t next = first;
  const auto lack_up_to = [&](std::uint64_t end) {
    for (; next < end && lacking.size() < most; ++next) lacking.push_back(name_of_part(like, next));
  };
  // Names are sorted by number, so each gap is seen once.
  for (const std::string& name : names) {
    const std::uint64_t number = number_of(part_name(name)->number);
    lack_up_to(number);
    next = number + 1;
  }
  lack_up_to(first + total);
  return lacking;
}

std::string PartSet::pattern() const {
  const PartName like = *part_name(names.front());
  return fmt::format("{}-{}N-of-{}{}", like.prefix, std::string(like.number.size() - 1, '0'), like.total, like.suffix);
}

std::vector<PartSet> part_sets(std::span<const std::string> names) {
  // Parts of one set differ only in the number, and its width is equal, so that names sort by number.
  std::map<std::tuple<std::string_view, std::string_view, std::string_view, std::size_t>, PartSet> sets;
  for (const std::string& name : names) {
    const auto part = part_name(name);
    if (!part) continue;
    PartSet& set = sets[{part->prefix, part->total, part->suffix, part->number.size()}];
    // Some writers count from 0.
    if (number_of(part->number) == 0) set.first = 0;
    set.total = number_of(part->total);
    set.names.push_back(name);
  }
  std::vector<PartSet> found;
  for (auto& [key, set] : sets) found.push_back(std::move(set));
  return found;
}

std::string listed(std::span<const std::string> names, std::size_t count) {
  std::string text;
  const std::size_t shown = count > max_listed ? std::min(max_listed, names.size()) : names.size();
  for (std::size_t i = 0; i < shown; ++i)
    text += fmt::format("{}'{}'", i == 0 ? "" : i + 1 == count ? " and " : ", ", core::escaped(names[i]));
  if (count > shown) text += fmt::format(" and {} more", count - shown);
  return text;
}

void require_plain_name(std::string_view name, std::string_view declared_in) {
  const bool plain = !name.empty() && name.size() <= max_name_bytes && name != "." && name != ".." &&
                     std::none_of(name.begin(), name.end(), [](char c) {
                       return c == '/' || c == '\\' || static_cast<unsigned char>(c) < 0x20 || c == 0x7F;
                     });
  if (!plain)
    throw Error(ErrorCode::refused,
                fmt::format("expected the plain name of a file in the same folder, found '{}'", core::escaped(name)),
                {.path = std::string(declared_in)});
}

}  // namespace heft::record
