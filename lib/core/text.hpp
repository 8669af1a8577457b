// core/text.hpp: escaping of strings from files for messages, UTF-8 checks, and an arena of strings.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "core/metadata_budget.hpp"

namespace heft::core {

/// Returns false for code points that control a terminal or reorder the text that a reader sees: C0 and C1 controls,
/// DEL, line and paragraph separators (U+2028, U+2029) and direction marks (U+061C, U+200E, U+200F, U+202A to U+202E,
/// U+2066 to U+2069).
bool is_printable(char32_t code_point) noexcept;

/// Returns a text from a file as messages quote it: code points that are not printable become \n, \x1b, \u0085, \u202e,
/// quotes and backslashes \' and \\, each byte that is not UTF-8 \xff. Longer texts are cut after `limit` characters,
/// with "..." appended.
std::string escaped(std::string_view text, std::size_t limit = 200);

/// Returns a whole message with escapes as in escaped(), except that quotes and backslashes are kept, because names in
/// it are escaped already. Every Error passes through it, so that no message can control a terminal.
std::string printable(std::string message, std::size_t limit = 8192);

/// A code point and its length in bytes. The length is 0 for a byte that starts no well-formed UTF-8 sequence.
struct CodePoint {
  char32_t value = 0;
  std::size_t length = 0;
};
/// Returns the first code point of `text`, which is not empty.
CodePoint first_code_point(std::string_view text) noexcept;

/// Returns "a WORD" or "an WORD", by the first letter of `word`, which is not empty.
std::string with_article(std::string_view word);

/// Returns "1 WORD" or "12 WORDs".
std::string counted(std::uint64_t count, std::string_view word);
/// Returns "1 WORD is" or "12 WORDs are".
std::string counted_are(std::uint64_t count, std::string_view word);

/// Returns true when `text` is well-formed UTF-8 (no surrogates, no overlong forms).
bool is_utf8(std::string_view text) noexcept;

/// Stores strings at fixed addresses until it is destroyed. A new block is as large as all blocks so far, between 256
/// bytes and 16 KiB: 92,000 names need some hundred allocations, and a small arena wastes little.
class Arena {
 public:
  Arena() noexcept = default;
  /// Counts its blocks in `budget`.
  explicit Arena(std::shared_ptr<MetadataBudget> budget) noexcept : charge_(std::move(budget)) {}

  std::string_view store(std::string_view text);
  /// Bytes allocated for blocks.
  [[nodiscard]] std::size_t size_bytes() const noexcept { return held_; }

 private:
  char* room_for(std::size_t size);
  std::vector<std::unique_ptr<char[]>> blocks_;
  char* at_ = nullptr;
  std::size_t left_ = 0;
  std::size_t held_ = 0;
  MetadataCharge charge_;
};

}  // namespace heft::core
