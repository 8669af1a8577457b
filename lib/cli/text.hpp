// cli/text.hpp: formats numbers and names as text and JSON.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "heft/shape.hpp"

namespace heft::cli {

/// Returns "0 B", "1.5 KB", "2.47 GB": powers of 1000, three digits.
std::string human_bytes(std::uint64_t bytes);
/// Parses "5GB", "512 MiB", "1000000". KB, MB, GB, TB are powers of 1000; KiB, ... of 1024. Throws Error{out_of_range}.
std::uint64_t bytes_from(std::string_view text);

/// Returns `text` as a JSON string with its quotes, see format::JsonEscapes::printable.
std::string json_text(std::string_view text);
/// Returns ["a","b"].
std::string json_texts(std::span<const std::string> texts);
/// Returns a JSON number; "nan", "inf" and "-inf" as strings, because JSON has no such numbers.
std::string json_number(double value);
std::string json_number(float value);
/// Returns "[1,2,3]".
std::string json_dims(const Dims& dims);
/// Returns {"$bytes":"hex"}.
std::string json_bytes(std::span<const std::byte> bytes);
/// Returns a little-endian two's complement number of any length in decimal. Takes quadratic time.
std::string decimal(std::span<const std::byte> number);
/// Returns lower-case hexadecimal.
std::string hexadecimal(std::span<const std::byte> bytes);

/// A column of an aligned table. Cells of the first column are cut in the middle until rows fit `width` (0: never cut).
/// Columns flagged `right` are right-aligned.
struct Column {
  bool right = false;
};
/// The layout of a table whose rows are not stored: measure() each row, then fit() the widths, then write each line().
class TableLayout {
 public:
  explicit TableLayout(std::span<const Column> columns) : columns_(columns), widths_(columns.size(), 0) {}
  void measure(std::span<const std::string> row);
  /// Shortens the first column so that rows fit `width`; 0: does nothing.
  void fit(unsigned width);
  [[nodiscard]] std::string line(std::span<const std::string> row) const;

 private:
  std::span<const Column> columns_;
  std::vector<std::size_t> widths_;
};

std::string table(std::span<const Column> columns, std::span<const std::vector<std::string>> rows, unsigned width);

}  // namespace heft::cli
