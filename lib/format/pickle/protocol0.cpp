#include "format/pickle/protocol0.hpp"

#include <algorithm>
#include <array>
#include <charconv>
#include <limits>
#include <utility>

#include "core/text.hpp"
#include "core/utf8.hpp"

namespace heft::format {
namespace {

constexpr std::size_t max_digits = 1024;  // conversion takes quadratic time

/// Parses exactly `width` hexadecimal digits at the start of `text`.
std::optional<std::uint32_t> hexadecimal(std::string_view text, std::size_t width) {
  if (text.size() < width) return std::nullopt;
  std::uint32_t value = 0;
  // from_chars() stops at the first other character, so the end must be that of the digits.
  const auto [end, error] = std::from_chars(text.data(), text.data() + width, value, 16);
  if (error != std::errc() || end != text.data() + width) return std::nullopt;
  return value;
}

bool is_octal(char c) noexcept { return c >= '0' && c <= '7'; }

/// Decodes the escape at the start of `text` (after its backslash) into `out`. Returns the number of characters used; 0
/// if it is malformed.
std::size_t decode_escape(std::string_view text, std::string& out) {
  static constexpr std::string_view letters = "\\'\"abfnrtv";
  static constexpr std::string_view meanings = "\\'\"\a\b\f\n\r\t\v";
  if (text.empty()) return 0;
  if (const std::size_t known = letters.find(text.front()); known != letters.npos) {
    out += meanings[known];
    return 1;
  }
  if (text.front() == 'x') {
    const auto code = hexadecimal(text.substr(1), 2);
    if (!code) return 0;
    out += static_cast<char>(*code);
    return 3;
  }
  // Up to three digits; the char keeps the lower 8 bits of "\777", as Python does.
  if (is_octal(text.front())) {
    std::size_t digits = 0;
    unsigned code = 0;
    for (; digits < 3 && digits < text.size() && is_octal(text[digits]); ++digits)
      code = code * 8 + static_cast<unsigned>(text[digits] - '0');
    out += static_cast<char>(code);
    return digits;
  }
  out += '\\';  // Python keeps an unknown escape as it is
  return text.front() == '\n' ? 0 : (out += text.front(), 1);
}

/// Returns the value of decimal digits in base 256, little-endian; nothing for other text.
std::optional<std::string> magnitude(std::string_view digits) {
  if (digits.empty() || digits.size() > max_digits) return std::nullopt;
  std::string bytes;
  for (const char digit : digits) {
    if (digit < '0' || digit > '9') return std::nullopt;
    // bytes = bytes * 10 + digit, as in writing: each digit passes over all bytes.
    auto carry = static_cast<unsigned>(digit - '0');
    for (char& byte : bytes) {
      carry += static_cast<unsigned char>(byte) * 10u;
      byte = static_cast<char>(carry);
      carry >>= 8;
    }
    if (carry != 0) bytes += static_cast<char>(carry);
  }
  return bytes;
}

// Replaces two's complement bytes by those of the negative number: inverts all bits and adds 1.
void negate(std::string& bytes) {
  unsigned carry = 1;
  for (char& byte : bytes) {
    carry += static_cast<unsigned char>(~static_cast<unsigned char>(byte));
    byte = static_cast<char>(carry);
    carry >>= 8;
  }
}

struct Renamed {
  PickleGlobal python2;
  PickleGlobal python3;
};

// Renames of Python's _compat_pickle that occur in pickles of data. An empty name stands for every name of the module.
constexpr std::array<Renamed, 18> renames{{
    {{"__builtin__", "xrange"}, {"builtins", "range"}},
    {{"__builtin__", "unicode"}, {"builtins", "str"}},
    {{"__builtin__", "long"}, {"builtins", "int"}},
    {{"__builtin__", "unichr"}, {"builtins", "chr"}},
    {{"__builtin__", "basestring"}, {"builtins", "str"}},
    {{"__builtin__", "reduce"}, {"functools", "reduce"}},
    {{"__builtin__", "intern"}, {"sys", "intern"}},
    {{"__builtin__", "raw_input"}, {"builtins", "input"}},
    {{"__builtin__", ""}, {"builtins", ""}},
    {{"exceptions", ""}, {"builtins", ""}},
    {{"UserDict", "UserDict"}, {"collections", "UserDict"}},
    {{"UserList", "UserList"}, {"collections", "UserList"}},
    {{"copy_reg", ""}, {"copyreg", ""}},
    {{"cPickle", ""}, {"pickle", ""}},
    {{"Queue", ""}, {"queue", ""}},
    {{"ConfigParser", ""}, {"configparser", ""}},
    {{"cStringIO", "StringIO"}, {"io", "StringIO"}},
    {{"StringIO", "StringIO"}, {"io", "StringIO"}},
}};

}  // namespace

std::optional<PickleNumber> parse_decimal(std::string_view line) {
  PickleNumber number;
  // Protocol 0 has no opcode for booleans; Python writes these two lines, which no integer has.
  if (line == "00" || line == "01") {
    number.kind = PickleKind::boolean;
    number.bits = line == "01";
    return number;
  }
  if (!line.empty() && line.back() == 'L') line.remove_suffix(1);
  const bool negative = !line.empty() && line.front() == '-';
  if (negative) line.remove_prefix(1);
  std::optional<std::string> bytes = magnitude(line);
  if (!bytes) return std::nullopt;
  *bytes += '\0';  // room for the sign
  if (negative) negate(*bytes);
  // The same rules as for binary integers decide which kind the number has.
  number = parse_long(*bytes);
  if (number.kind == PickleKind::big_integer) number.big = std::move(*bytes);
  return number;
}

std::optional<double> parse_real(std::string_view line) {
  double value = 0;
  const auto [end, error] = std::from_chars(line.data(), line.data() + line.size(), value);
  if (end != line.data() + line.size() || error == std::errc::invalid_argument) return std::nullopt;
  // Python prints the shortest digits of a double, so a number outside its range was not printed by Python.
  if (error == std::errc::result_out_of_range) return std::nullopt;
  return value;
}

std::optional<std::string> parse_string_literal(std::string_view line) {
  // A file that was written in text mode on Windows has CR before LF.
  while (!line.empty() && (line.back() == ' ' || line.back() == '\r')) line.remove_suffix(1);
  if (line.size() < 2 || line.front() != line.back() || (line.front() != '\'' && line.front() != '"'))
    return std::nullopt;
  line = line.substr(1, line.size() - 2);
  std::string out;
  for (std::size_t at = 0; at < line.size();) {
    if (line[at] != '\\') {
      out += line[at++];
      continue;
    }
    const std::size_t used = decode_escape(line.substr(at + 1), out);
    if (used == 0) return std::nullopt;
    at += 1 + used;
  }
  return out;
}

std::optional<std::string> parse_raw_unicode(std::string_view line) {
  std::string out;
  for (std::size_t at = 0; at < line.size();) {
    const char c = line[at];
    const char next = at + 1 < line.size() ? line[at + 1] : '\0';
    // A backslash itself is written as \u005c, so other backslashes are plain characters.
    if (c != '\\' || (next != 'u' && next != 'U')) {
      core::append_utf8(out, static_cast<unsigned char>(c));  // the rest is Latin-1
      ++at;
      continue;
    }
    const std::size_t width = next == 'u' ? 4 : 8;
    const auto code = hexadecimal(line.substr(at + 2), width);
    if (!code || *code > 0x10FFFF) return std::nullopt;
    core::append_utf8(out, *code);
    at += 2 + width;
  }
  return out;
}

PickleNumber parse_long(std::string_view bytes) {
  PickleNumber number;
  // The last byte has the sign. No bytes at all are 0.
  const bool negative = !bytes.empty() && (bytes.back() & 0x80) != 0;
  const char fill = negative ? '\xff' : '\0';
  while (!bytes.empty() && bytes.back() == fill)
    bytes.remove_suffix(1);  // redundant sign bytes, and possibly the one that is not
  // Extended by the sign, then filled from the most significant of at most eight bytes.
  std::uint64_t bits = negative ? ~std::uint64_t{0} : 0;
  for (std::size_t i = std::min<std::size_t>(bytes.size(), 8); i-- > 0;)
    bits = bits << 8 | static_cast<unsigned char>(bytes[i]);
  number.bits = bits;
  // Redundant bytes were removed, so more than eight bytes do not fit; eight do, unless bit 63 contradicts the sign.
  const bool sign_fits = (bits >> 63 != 0) == negative;
  if (bytes.size() > 8 || (negative && !sign_fits))
    number.kind = PickleKind::big_integer;
  else if (!sign_fits)
    number.kind = PickleKind::unsigned_integer;
  return number;
}

bool is_utf8_with_surrogates(std::string_view text) {
  std::string plain(text);
  for (std::size_t at = 0; at + 2 < plain.size(); ++at) {
    const auto byte = [&](std::size_t i) { return static_cast<unsigned char>(plain[at + i]); };
    // U+D800 to U+DFFF in the pattern of UTF-8 are ED A0 80 to ED BF BF. They are replaced by ASCII, and the rest is
    // checked.
    if (byte(0) != 0xED || byte(1) < 0xA0 || byte(1) > 0xBF || (byte(2) & 0xC0) != 0x80) continue;
    plain.replace(at, 3, "???");
  }
  return core::is_utf8(plain);
}

PickleGlobal python3_name(PickleGlobal global) noexcept {
  for (const Renamed& row : renames) {
    // Rows of single names precede the row of the whole module.
    if (row.python2.module != global.module || (!row.python2.name.empty() && row.python2.name != global.name)) continue;
    return {row.python3.module, row.python3.name.empty() ? global.name : row.python3.name};
  }
  return global;
}

}  // namespace heft::format
