// format/pickle/protocol0.hpp: parsers of the text lines of protocol 0, and the names that Python 3 changed.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "format/pickle/pickle.hpp"

namespace heft::format {

/// The value of a line of INT or LONG: "12", "-3L", "00" and "01" (booleans, for INT only). `big` is set if it does not
/// fit 64 bits.
struct PickleNumber {
  PickleKind kind = PickleKind::integer;
  std::uint64_t bits = 0;  ///< Two's complement, or the unsigned integer.
  std::string big;         ///< Little-endian two's complement, minimal.
};

/// Returns nothing if the line is not a decimal number or has over 1024 digits.
std::optional<PickleNumber> parse_decimal(std::string_view line);

/// Parses a float as Python prints it: "1.5", "1e-08", "inf", "nan".
std::optional<double> parse_real(std::string_view line);

/// Returns the bytes of a STRING line, a Python literal in quotes with escapes; nothing if it is malformed.
std::optional<std::string> parse_string_literal(std::string_view line);

/// Returns the text of a UNICODE line (raw-unicode-escape: \uXXXX and \UXXXXXXXX) as UTF-8, surrogates included;
/// nothing if it is malformed.
std::optional<std::string> parse_raw_unicode(std::string_view line);

/// Returns the number with these little-endian two's complement bytes, the operand of LONG1 and LONG4. If it does not
/// fit 64 bits, the kind is big_integer and `big` is empty.
PickleNumber parse_long(std::string_view bytes);

/// Returns true if `text` is UTF-8 except for surrogates, which Python writes for bytes it could not decode.
bool is_utf8_with_surrogates(std::string_view text);

/// Returns `global` with its name in Python 3: "__builtin__" is "builtins", "copy_reg" is "copyreg", and so on.
/// Compares names only; nothing is imported.
PickleGlobal python3_name(PickleGlobal global) noexcept;

}  // namespace heft::format
