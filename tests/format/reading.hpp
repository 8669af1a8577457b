// Reads bytes as a format, in memory, the way the record room does with a file.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include <doctest/doctest.h>

#include "format/format.hpp"
#include "heft/error.hpp"

namespace heft::test {

/// One way to break a format's rules, and how it must be refused.
struct Hostile {
  const char* what;  ///< A message.
  std::string file;  ///< Its bytes.
  ErrorCode code;
  const char* words;  ///< Must occur in the message.
};

/// The catalog of `bytes`, which are copied to a block of exactly their size, so that a sanitizer sees a byte read too
/// far.
[[nodiscard]] format::Catalog read(const format::Format& format, std::string_view bytes,
                                   const format::ReadOptions& options = {});
/// The error that reading gives, or nothing when it succeeds. Any other exception fails the test.
[[nodiscard]] std::optional<Error> refusal(const format::Format& format, std::string_view bytes,
                                           const format::ReadOptions& options = {});

/// Reads every row and checks code and words.
void check_refusals(const format::Format& format, std::span<const Hostile> rows);
/// Every tensor of `catalog` lies inside the file, has the bytes its shape says, and a name.
void check_in_bounds(const format::Catalog& catalog, std::uint64_t file_size);
/// Reads every prefix of `file`, itself excluded: each must be refused.
void check_prefixes_refused(const format::Format& format, std::string_view file);
/// Flips every bit of the first `size` bytes in turn: each is refused, or gives a catalog in bounds.
void check_flipped_bits(const format::Format& format, std::string_view file, std::size_t size);

}  // namespace heft::test
