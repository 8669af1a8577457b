#include "format/tar.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <string_view>
#include <utility>

#include "core/checked.hpp"
#include "core/text.hpp"
#include "heft/error.hpp"

namespace heft::format {
namespace {

constexpr std::uint64_t block_bytes = 512;
constexpr std::size_t max_members = 1024;

[[noreturn]] void fail(ErrorCode code, std::string sentence, std::uint64_t offset) {
  throw Error(code, std::move(sentence), {.offset = offset});
}

/// A field of the header up to its NUL.
std::string_view field(std::string_view header, std::size_t at, std::size_t size) {
  const std::string_view all = header.substr(at, size);
  return all.substr(0, std::min(all.find('\0'), all.size()));
}

/// An octal number with blanks around it.
std::uint64_t octal(std::string_view text, std::uint64_t offset, std::string_view what) {
  while (!text.empty() && text.front() == ' ') text.remove_prefix(1);
  while (!text.empty() && text.back() == ' ') text.remove_suffix(1);
  std::uint64_t value = 0;
  for (const char digit : text) {
    if (digit < '0' || digit > '7')
      fail(ErrorCode::corrupt, fmt::format("expected {} in octal, found '{}'", what, core::escaped(text)), offset);
    value = value * 8 + static_cast<std::uint64_t>(digit - '0');  // at most 12 digits: fits
  }
  if (text.empty()) fail(ErrorCode::corrupt, fmt::format("expected {}, found nothing", what), offset);
  return value;
}

void require_checksum(std::string_view header, std::uint64_t offset) {
  std::uint64_t sum = 0;
  for (std::size_t i = 0; i < header.size(); ++i)
    sum += i >= 148 && i < 156 ? ' ' : static_cast<unsigned char>(header[i]);
  const std::uint64_t expected = octal(field(header, 148, 8), offset, "a tar header's checksum");
  if (sum != expected)
    fail(ErrorCode::corrupt, fmt::format("expected a tar header with checksum {}, found {}", expected, sum), offset);
}

void require_plain(std::string_view name, char type, std::uint64_t offset) {
  if (type == 'x' || type == 'g' || type == 'L' || type == 'K' || type == 'S')
    fail(ErrorCode::unsupported, fmt::format("tar member '{}' is an extension of type '{}'", core::escaped(name), type),
         offset);
  if (type != '0' && type != '\0')
    fail(ErrorCode::refused, fmt::format("tar member '{}' is no plain file", core::escaped(name)), offset);
  if (name.empty() || name.find('/') != name.npos || name == "..")
    fail(ErrorCode::refused, fmt::format("tar member '{}' is no plain name", core::escaped(name)), offset);
}

}  // namespace

std::vector<TarMember> read_tar(const core::Input& input) {
  std::vector<TarMember> members;
  for (std::uint64_t at = 0;;) {
    core::require_inside(at, block_bytes, input.size_bytes(), "a tar header");
    const Bytes block = input.read(at, block_bytes);
    const std::string_view header(reinterpret_cast<const char*>(block.data()), block_bytes);
    if (header.find_first_not_of('\0') == header.npos) return members;
    require_checksum(header, at);
    TarMember member{std::string(field(header, 0, 100)), at + block_bytes, 0};
    if (header[124] & '\x80') fail(ErrorCode::unsupported, "tar members over 8 GiB", at);
    member.size = octal(field(header, 124, 12), at, "a tar member's size");
    if (header[156] != '5') {  // a folder holds nothing
      require_plain(member.name, header[156], at);
      core::require_inside(member.begin, member.size, input.size_bytes(),
                           fmt::format("tar member '{}'", core::escaped(member.name)));
      const auto twin = std::find_if(members.begin(), members.end(),
                                     [&](const TarMember& other) { return other.name == member.name; });
      if (twin != members.end())
        fail(ErrorCode::ambiguous, fmt::format("two tar members have the name '{}'", core::escaped(member.name)), at);
      core::require_limit(members.size() + 1, max_members, "number of tar members", "1024 members", at);
      members.push_back(member);
    }
    at = core::add_or_throw(member.begin, core::align_up(member.size, block_bytes), "a tar member");
  }
}

}  // namespace heft::format
