#include "format/archive/tar.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <optional>
#include <string_view>
#include <utility>

#include "core/checked.hpp"
#include "core/text.hpp"
#include "format/fail.hpp"
#include "heft/error.hpp"

namespace heft::format {
namespace {

constexpr std::uint64_t block_bytes = 512;
constexpr std::size_t max_members = 1024;
constexpr std::uint64_t max_pax_bytes = 64u << 10;
constexpr int max_extensions = 8;  // headers before that of the first member
constexpr std::size_t magic_at = 257;
constexpr std::string_view posix_magic{"ustar\0", 6};
constexpr std::string_view gnu_magic{"ustar  \0", 8};  // has no prefix field

std::string_view text_of(std::span<const std::byte> bytes) noexcept {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

/// Returns a field of the header up to its NUL.
std::string_view field(std::string_view header, std::size_t at, std::size_t size) noexcept {
  const std::string_view all = header.substr(at, size);
  return all.substr(0, std::min(all.find('\0'), all.size()));
}

std::string_view without_blanks(std::string_view text) noexcept {
  while (!text.empty() && text.front() == ' ') text.remove_prefix(1);
  while (!text.empty() && text.back() == ' ') text.remove_suffix(1);
  return text;
}

/// Parses an octal number with blanks around it, of at most 12 digits.
std::optional<std::uint64_t> octal(std::string_view text) noexcept {
  // Writers differ in how they fill the field: leading blanks, leading zeros, a blank or NUL at the end. Twelve
  // digits of three bits cannot overflow 64 bits.
  text = without_blanks(text);
  if (text.empty()) return {};
  std::uint64_t value = 0;
  for (const char digit : text) {
    if (digit < '0' || digit > '7') return {};
    value = value * 8 + static_cast<std::uint64_t>(digit - '0');
  }
  return value;
}

// The same for a field that must be a number; `what` names it in the error.
std::uint64_t octal(std::string_view text, std::uint64_t offset, std::string_view what) {
  const auto value = octal(text);
  if (!value)
    fail(ErrorCode::corrupt, fmt::format("expected {} in octal, found '{}'", what, core::escaped(text)), offset);
  return *value;
}

std::string_view checksum_field(std::string_view header) noexcept { return field(header, 148, 8); }

/// Returns the sum of the header's bytes, with blanks in place of the checksum field.
std::uint64_t checksum(std::string_view header) noexcept {
  std::uint64_t sum = 0;
  // The checksum field is at 148 and has 8 bytes; writers compute the sum before they fill it in.
  for (std::size_t i = 0; i < header.size(); ++i)
    sum += i >= 148 && i < 156 ? ' ' : static_cast<unsigned char>(header[i]);
  return sum;
}

// Requires the sum that the header declares. It is the only sign of damage: tar has no checksum of data.
void require_checksum(std::string_view header, std::uint64_t offset) {
  const std::uint64_t sum = checksum(header);
  const std::uint64_t expected = octal(checksum_field(header), offset, "a tar header's checksum");
  if (sum != expected)
    fail(ErrorCode::corrupt, fmt::format("expected a tar header with checksum {}, found {}", expected, sum), offset);
}

/// Returns true for keys of a PAX header that do not change the contents: times, owners, charset.
bool is_harmless(std::string_view key) noexcept {
  static constexpr std::array<std::string_view, 9> keys{"atime", "charset", "comment", "ctime", "gid",
                                                        "gname", "mtime",   "uid",     "uname"};
  return std::find(keys.begin(), keys.end(), key) != keys.end();
}

/// Requires harmless keys in a PAX header: lines of "length key=value\n", where the length is that of the whole line.
void require_harmless(std::string_view lines, std::uint64_t offset) {
  while (!lines.empty()) {
    std::size_t length = 0;
    // The length counts its own digits, the blank and the LF, so it must exceed the digits by 2 at least.
    const auto [end, error] = std::from_chars(lines.data(), lines.data() + lines.size(), length);
    const auto digits = static_cast<std::size_t>(end - lines.data());
    if (error != std::errc() || length > lines.size() || length < digits + 2 || lines[digits] != ' ' ||
        lines[length - 1] != '\n')
      fail(ErrorCode::corrupt, "expected lines of 'length key=value' in a PAX header of a tar", offset);
    const std::string_view line = lines.substr(digits + 1, length - digits - 2);
    const std::string_view key = line.substr(0, line.find('='));
    // Keys such as "path", "size" or "linkpath" replace fields of the next header: ignoring them would read other
    // bytes than tar extracts.
    if (!is_harmless(key))
      fail(ErrorCode::unsupported, fmt::format("a PAX header of the tar sets '{}'", core::escaped(key)), offset);
    lines.remove_prefix(length);
  }
}

constexpr char folder_type = '5';

/// "./model.bin", as `tar -C folder .` names it, is "model.bin".
std::string without_dot(std::string name) {
  if (name.starts_with("./")) name.erase(0, 2);
  return name;
}

bool is_pax(char type) noexcept { return type == 'x' || type == 'g'; }

// Reads a PAX header, whose lines are the data of its tar member, and refuses keys that change a member.
void check_pax(const core::Input& input, const TarMember& header) {
  core::require_format_bound(header.size, max_pax_bytes, "size of a PAX header", header.begin);
  const Bytes lines = input.read(header.begin, header.size);
  require_harmless({reinterpret_cast<const char*>(lines.data()), static_cast<std::size_t>(lines.size_bytes())},
                   header.begin);
}

// Requires a regular file with a name of one part. A link or a path could make another program write elsewhere.
void require_plain(std::string_view name, char type, std::uint64_t offset) {
  // GNU's long names ('L'), long link targets ('K') and sparse files ('S'): their data are not the member's bytes.
  if (type == 'L' || type == 'K' || type == 'S')
    fail(ErrorCode::unsupported, fmt::format("tar member '{}' is an extension of type '{}'", core::escaped(name), type),
         offset);
  // '0' is a regular file, and so is NUL in archives of before POSIX.
  if (type != '0' && type != '\0')
    fail(ErrorCode::refused, fmt::format("tar member '{}' is not a plain file", core::escaped(name)), offset);
  if (name.empty() || name.find('/') != name.npos || name == "..")
    fail(ErrorCode::refused, fmt::format("tar member '{}' is not a plain name", core::escaped(name)), offset);
}

// Returns the member's path: name at 0 with 100 bytes, and in POSIX archives a prefix at 345 with 155 bytes. GNU uses
// the place of the prefix for other data.
std::string member_name(std::string_view header) {
  std::string name(field(header, 0, 100));
  if (header.substr(magic_at).starts_with(posix_magic) && header[345] != '\0')
    name = fmt::format("{}/{}", field(header, 345, 155), name);
  return name;
}

/// Parses the header at `at` of a member. Its type and name are not checked here.
TarMember read_header(std::string_view header, std::uint64_t at) {
  require_checksum(header, at);
  TarMember member{member_name(header), at + block_bytes, 0};
  // The top bit marks a size in base 256, which GNU tar writes when 11 octal digits do not suffice.
  if (header[124] & '\x80') fail(ErrorCode::unsupported, "tar members over 8 GiB", at);
  member.size = octal(field(header, 124, 12), at, "a tar member's size");
  return member;
}

// Adds a member, whose name must be new.
void add_member(std::vector<TarMember>& members, TarMember member, std::uint64_t at) {
  // tar extracts the later of two members of one name, other readers find the first. Linear search: members are few.
  const bool twice =
      std::any_of(members.begin(), members.end(), [&](const TarMember& other) { return other.name == member.name; });
  if (twice)
    fail(ErrorCode::ambiguous, fmt::format("two tar members have the name '{}'", core::escaped(member.name)), at);
  core::require_format_bound(members.size() + 1, max_members, "number of tar members", at);
  members.push_back(std::move(member));
}

}  // namespace

bool is_tar(std::span<const std::byte> head) noexcept {
  if (!resembles_tar(head)) return false;
  const std::string_view header = text_of(head).substr(0, block_bytes);
  return octal(checksum_field(header)) == checksum(header);
}

bool resembles_tar(std::span<const std::byte> head) noexcept {
  if (head.size() < block_bytes) return false;
  const std::string_view magic = text_of(head).substr(magic_at);
  return magic.starts_with(posix_magic) || magic.starts_with(gnu_magic);
}

std::string first_tar_member(const core::Input& input) {
  // This function only names a member in an error message, so checksums are not compared and broken fields are not
  // errors.
  std::string folder;
  std::uint64_t at = 0;
  for (int header = 0; header < max_extensions && core::inside(at, block_bytes, input.size_bytes()); ++header) {
    const Bytes block = input.read(at, block_bytes);
    const std::string_view text = text_of(block.span());
    if (!resembles_tar(block.span())) return folder;
    // An unreadable size counts as 0; the next block is then hardly a header, which ends the loop.
    const std::uint64_t size = octal(field(text, 124, 12)).value_or(0);
    const bool is_long_name = text[156] == 'L';
    if (text[156] == folder_type && folder.empty()) folder = member_name(text);
    if (!is_pax(text[156]) && !is_long_name && text[156] != folder_type) return without_dot(member_name(text));
    if (!core::inside(at + block_bytes, size, input.size_bytes())) return folder;
    if (is_long_name && size <= max_pax_bytes) {
      // GNU's 'L' member has the name of the next member as its data.
      const Bytes name = input.read(at + block_bytes, size);
      return std::string(field(text_of(name.span()), 0, size));
    }
    at += block_bytes + core::align_up(size, block_bytes);
  }
  return folder;
}

std::vector<TarMember> read_tar(const core::Input& input) {
  std::vector<TarMember> members;
  for (std::uint64_t at = 0;;) {
    core::require_inside(at, block_bytes, input.size_bytes(), "a tar header");
    const Bytes block = input.read(at, block_bytes);
    const std::string_view header(reinterpret_cast<const char*>(block.data()), block_bytes);
    // The first block of zeros ends the archive, as for Python's tarfile, with which PyTorch reads it. The second
    // block and the padding to 10 KiB follow.
    if (header.find_first_not_of('\0') == header.npos) return members;
    TarMember member = read_header(header, at);
    const std::uint64_t next =
        core::add_or_throw(member.begin, core::align_up(member.size, block_bytes), "a tar member");
    core::require_inside(member.begin, member.size, input.size_bytes(),
                         fmt::format("tar member '{}'", core::escaped(member.name)));
    const char type = header[156];
    if (is_pax(type)) {
      check_pax(input, member);
    } else if (type != folder_type) {  // a folder holds nothing
      require_plain(member.name, type, at);
      add_member(members, std::move(member), at);
    }
    at = next;
  }
}

}  // namespace heft::format
