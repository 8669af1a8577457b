#include "format/formats.hpp"

#include <algorithm>
#include <array>

namespace heft::format {
namespace {

constinit const std::array in_order{
#define HEFT_FORMAT(name) &name##_format,
#include "format/formats.inc"
#undef HEFT_FORMAT
};

// Returns an ASCII letter in lower case, independent of the locale.
constexpr char small_letter(char letter) noexcept {
  return letter >= 'A' && letter <= 'Z' ? static_cast<char>(letter - 'A' + 'a') : letter;
}

// Returns true if the name ends with `suffix`, in upper or lower case.
bool ends_with(std::string_view name, std::string_view suffix) noexcept {
  return name.size() >= suffix.size() &&
         std::ranges::equal(name.substr(name.size() - suffix.size()), suffix, {}, small_letter, small_letter);
}

}  // namespace

std::span<const Format* const> formats() noexcept { return in_order; }

const Format* find_format(std::string_view name) noexcept {
  const auto found = std::ranges::find(in_order, name, &Format::name);
  return found == in_order.end() ? nullptr : *found;
}

bool has_suffix(const Format& format, std::string_view file_name) noexcept {
  // Entries are separated by blanks; each pass takes one and the blank after it.
  for (std::string_view rest = format.suffixes; !rest.empty();) {
    const std::string_view suffix = rest.substr(0, rest.find(' '));
    rest.remove_prefix(std::min(suffix.size() + 1, rest.size()));
    // A file named only ".bin" has no base name, so it is not one of the format's.
    const bool is_ending = suffix.front() == '.' ? file_name.size() > suffix.size() : file_name.size() == suffix.size();
    if (is_ending && ends_with(file_name, suffix)) return true;
  }
  return false;
}

const Format* recognize(std::span<const std::byte> head, std::uint64_t file_size) noexcept {
  for (const Format* format : in_order)
    if (format->matches(head, file_size)) return format;
  for (const Format* format : in_order)
    // Signatures that other files can have by chance are only tried when no certain one matched.
    if (format->resembles != nullptr && format->resembles(head, file_size)) return format;
  return nullptr;
}

}  // namespace heft::format
