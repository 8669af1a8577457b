// cli/text.hpp: numbers and names as people and JSON read them.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "heft/shape.hpp"

namespace heft::cli {

/// "0 B", "1.5 KB", "2.47 GB": powers of 1000, three digits.
std::string human_bytes(std::uint64_t bytes);
/// "5GB", "512 MiB", "1000000" in bytes. KB, MB, GB, TB are powers of 1000; KiB, ... of 1024. Throws Error{out_of_range}.
std::uint64_t bytes_from(std::string_view text);

/// `text` as a JSON string with its quotes, printable: see format::JsonEscapes::printable.
std::string json_text(std::string_view text);
/// ["a","b"]
std::string json_texts(std::span<const std::string> texts);
/// A JSON number; "nan", "inf" and "-inf" (as strings) for what JSON has no numbers for.
std::string json_number(double value);
std::string json_number(float value);
/// "[1,2,3]"
std::string json_dims(const Dims& dims);
/// {"$bytes":"hex"}
std::string json_bytes(std::span<const std::byte> bytes);
/// A little-endian two's complement number of any length in decimal; quadratic in its length.
std::string decimal(std::span<const std::byte> number);
/// Lower-case hexadecimal.
std::string hexadecimal(std::span<const std::byte> bytes);

/// Rows in columns that line up; the first column is cut in its middle until a row fits `width` (0: never cut). Columns flagged `right`
/// line up at their right.
struct Column {
  bool right = false;
};
/// Lines of a table whose rows are made twice and never held: first each is measured, then the widths are fitted, then each is written.
class TableLayout {
 public:
  explicit TableLayout(std::span<const Column> columns) : columns_(columns), widths_(columns.size(), 0) {}
  void measure(std::span<const std::string> row);
  /// Shortens the first column to what `width` leaves; 0: does not.
  void fit(unsigned width);
  [[nodiscard]] std::string line(std::span<const std::string> row) const;

 private:
  std::span<const Column> columns_;
  std::vector<std::size_t> widths_;
};

std::string table(std::span<const Column> columns, std::span<const std::vector<std::string>> rows, unsigned width);

}  // namespace heft::cli
