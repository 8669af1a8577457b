// format/pickle/protocol0.hpp: how protocol 0 spells values in lines of text, and the names that Python 3 changed.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "format/pickle/opcodes.hpp"

namespace heft::format {

/// What a line of INT or LONG says: "12", "-3L", "00" and "01" (booleans, for INT only). `big` is set when 64 bits do
/// not suffice.
struct PickleNumber {
  PickleKind kind = PickleKind::integer;
  std::uint64_t bits = 0;  ///< Two's complement, or the unsigned integer.
  std::string big;         ///< Little-endian two's complement, minimal.
};

/// Nothing when the line is no decimal number, or has over 1024 digits.
std::optional<PickleNumber> parse_decimal(std::string_view line);

/// A float as Python prints it: "1.5", "1e-08", "inf", "nan".
std::optional<double> parse_real(std::string_view line);

/// The bytes of a STRING line: a Python literal in quotes, with escapes. Nothing when it is malformed.
std::optional<std::string> parse_string_literal(std::string_view line);

/// The text of a UNICODE line (raw-unicode-escape: \uXXXX and \UXXXXXXXX) as UTF-8, surrogates included. Nothing when
/// it is malformed.
std::optional<std::string> parse_raw_unicode(std::string_view line);

/// A number from its little-endian two's complement bytes, as LONG1 and LONG4 hold it; `big` stays empty and kind says
/// big_integer when it does not fit 64 bits.
PickleNumber parse_long(std::string_view bytes);

/// True when `text` is UTF-8 but for surrogates, which Python writes for bytes it could not decode.
bool is_utf8_with_surrogates(std::string_view text);

/// `global` in Python 3 spelling: "__builtin__" is "builtins", "copy_reg" is "copyreg", and so on. Compared as data,
/// nothing is imported.
PickleGlobal python3_name(PickleGlobal global) noexcept;

}  // namespace heft::format
