#include "cli/text.hpp"

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "core/checked.hpp"
#include "core/text.hpp"
#include "format/json/writer.hpp"
#include "heft/error.hpp"

namespace heft::cli {
namespace {

struct Unit {
  std::string_view name;
  std::uint64_t bytes;
};

// Names in upper case, as bytes_from() compares them.
constexpr std::array<Unit, 10> units = {{
    {"", 1},
    {"B", 1},
    {"KB", 1000},
    {"MB", 1'000'000},
    {"GB", 1'000'000'000},
    {"TB", 1'000'000'000'000},
    {"KIB", 1ull << 10},
    {"MIB", 1ull << 20},
    {"GIB", 1ull << 30},
    {"TIB", 1ull << 40},
}};

// Returns the number of characters, by UTF-8 lead bytes. Names are escaped before, so no character is wider than two
// cells.
std::size_t cells(std::string_view text) {
  return static_cast<std::size_t>(
      std::ranges::count_if(text, [](char c) { return (static_cast<unsigned char>(c) & 0xC0) != 0x80; }));
}

// Cuts the middle of a name, which is less distinctive than its start and end.
std::string shortened(std::string_view text, std::size_t room) {
  if (cells(text) <= room || room < 5) return std::string(text);
  // Two cells are for "..".
  const std::size_t tail = (room - 2) / 2;
  const std::size_t head = room - 2 - tail;
  // Returns the byte at which character n starts, so that no character is cut.
  const auto nth = [&](std::size_t n) {
    std::size_t at = 0;
    while (at < text.size() && n-- > 0) do
        ++at;
      while (at < text.size() && (static_cast<unsigned char>(text[at]) & 0xC0) == 0x80);
    return at;
  };
  return fmt::format("{}..{}", text.substr(0, nth(head)), text.substr(nth(cells(text) - tail)));
}

// Returns the number as JSON; NaN and infinities as strings.
template <class Float>
std::string json_float(Float value) {
  // JSON has no such numbers; strings keep them apart from null.
  if (std::isnan(value)) return "\"nan\"";
  if (std::isinf(value)) return value > 0 ? "\"inf\"" : "\"-inf\"";
  // The shortest digits that read back as the same number of this type.
  std::string text = fmt::format("{}", value);
  // "1" would be read back as an integer.
  if (text.find_first_of(".e") == std::string::npos) text += ".0";
  return text;
}

}  // namespace

std::string human_bytes(std::uint64_t bytes) {
  if (bytes < 1000) return fmt::format("{} B", bytes);
  auto value = static_cast<double>(bytes);
  std::size_t unit = 0;
  constexpr std::array names = {"B", "KB", "MB", "GB", "TB", "PB", "EB"};
  // 999.5 and above would be shown as "1000" with three digits.
  while (value >= 999.5 && unit + 1 < names.size()) {
    value /= 1000;
    ++unit;
  }
  return fmt::format("{:.{}f} {}", value, value < 9.995 ? 2 : value < 99.95 ? 1 : 0, names[unit]);
}

std::uint64_t bytes_from(std::string_view text) {
  double value = 0;
  // A real number: "1.5GB" is a size.
  const auto [end, failed] = std::from_chars(text.data(), text.data() + text.size(), value);
  std::string unit(end, text.data() + text.size());
  std::erase(unit, ' ');
  std::ranges::transform(unit, unit.begin(), [](unsigned char c) { return static_cast<char>(std::toupper(c)); });
  const auto* row = std::ranges::find(units, unit, &Unit::name);
  // Negative for an unknown unit, which the test below refuses together with "-1GB"; its form refuses NaN too.
  const double bytes = row == units.end() ? -1 : value * static_cast<double>(row->bytes);
  if (failed != std::errc() || !(bytes >= 0) || bytes >= 9e18)
    throw Error(ErrorCode::out_of_range,
                fmt::format("expected a size such as 5GB or 512MiB, found '{}'", core::escaped(text)));
  return static_cast<std::uint64_t>(bytes);
}

std::string json_text(std::string_view text) {
  std::string out;
  format::append_json_string(out, text, format::JsonEscapes::printable);
  return out;
}

std::string json_texts(std::span<const std::string> texts) {
  std::string list = "[";
  for (const std::string& text : texts) list += (list.size() > 1 ? "," : "") + json_text(text);
  return list + "]";
}

std::string json_number(double value) { return json_float(value); }
std::string json_number(float value) { return json_float(value); }

std::string json_dims(const Dims& dims) { return fmt::format("[{}]", fmt::join(dims.begin(), dims.end(), ",")); }

std::string json_bytes(std::span<const std::byte> bytes) {
  return fmt::format("{{\"$bytes\":\"{}\"}}", hexadecimal(bytes));
}

std::string decimal(std::span<const std::byte> number) {
  std::vector<std::uint32_t> magnitude;
  for (const std::byte byte : number) magnitude.push_back(std::to_integer<std::uint32_t>(byte));
  // The sign is the highest bit of the last byte.
  const bool negative = !magnitude.empty() && magnitude.back() >= 0x80;
  if (negative) {
    // Negates: flips all bits and adds one.
    std::uint32_t carry = 1;
    for (std::uint32_t& byte : magnitude) {
      const std::uint32_t flipped = (byte ^ 0xFF) + carry;
      byte = flipped & 0xFF;
      carry = flipped >> 8;
    }
  }
  std::string digits;
  // Divides by ten, from the highest byte on; each remainder is the next digit from the right.
  while (std::ranges::any_of(magnitude, [](std::uint32_t byte) { return byte != 0; })) {
    std::uint32_t rest = 0;
    for (std::size_t i = magnitude.size(); i-- > 0;) {
      const std::uint32_t part = rest << 8 | magnitude[i];
      magnitude[i] = part / 10;
      rest = part % 10;
    }
    digits += static_cast<char>('0' + rest);
  }
  if (digits.empty()) return "0";
  if (negative) digits += '-';
  return {digits.rbegin(), digits.rend()};
}

std::string hexadecimal(std::span<const std::byte> bytes) {
  constexpr std::string_view digits = "0123456789abcdef";
  std::string out;
  out.reserve(bytes.size() * 2);
  for (const std::byte byte : bytes) {
    out += digits[std::to_integer<std::size_t>(byte >> 4)];
    out += digits[std::to_integer<std::size_t>(byte & std::byte{15})];
  }
  return out;
}

void TableLayout::measure(std::span<const std::string> row) {
  for (std::size_t i = 0; i < columns_.size(); ++i) widths_[i] = std::max(widths_[i], cells(row[i]));
}

void TableLayout::fit(unsigned width) {
  std::size_t others = 0;
  for (std::size_t i = 1; i < widths_.size(); ++i) others += widths_[i] + 2;
  if (width > 0 && widths_[0] + others > width)
    // Only names are cut; numbers must stay whole, even if rows become too long.
    widths_[0] = std::max<std::size_t>(12, width > others ? width - others : 0);
}

std::string TableLayout::line(std::span<const std::string> row) const {
  std::string line;
  for (std::size_t i = 0; i < columns_.size(); ++i) {
    const std::string cell = i == 0 ? shortened(row[i], widths_[0]) : row[i];
    const std::string pad(widths_[i] - std::min(widths_[i], cells(cell)), ' ');
    line +=
        fmt::format("{}{}{}", i > 0 ? "  " : "", columns_[i].right ? pad + cell : cell, columns_[i].right ? "" : pad);
  }
  // Without trailing spaces, which would wrap on a narrow terminal.
  line.erase(line.find_last_not_of(' ') + 1);
  return line + '\n';
}

std::string table(std::span<const Column> columns, std::span<const std::vector<std::string>> rows, unsigned width) {
  TableLayout layout(columns);
  for (const auto& row : rows) layout.measure(row);
  layout.fit(width);
  std::string out;
  for (const auto& row : rows) out += layout.line(row);
  return out;
}

}  // namespace heft::cli
