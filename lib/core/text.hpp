// core/text.hpp: strings from files on their way into sentences, and a place to keep strings.
#pragma once

#include <cstddef>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "core/metadata_budget.hpp"

namespace heft::core {

/// False for code points that act on a terminal or reorder what a reader sees: C0 and C1 controls, DEL, line and paragraph separators
/// (U+2028, U+2029) and marks of direction (U+061C, U+200E, U+200F, U+202A to U+202E, U+2066 to U+2069).
bool is_printable(char32_t code_point) noexcept;

/// A text from a file as it stands in a sentence: code points that are not printable as \n, \x1b, \u0085, \u202e, quotes and backslashes as \'
/// and \\, each byte that is no UTF-8 as \xff; cut after `limit` characters with "...".
std::string escaped(std::string_view text, std::size_t limit = 200);

/// A whole sentence, in which names are escaped already: as escaped(), but quotes and backslashes stay. The last line of defence of
/// everything that leaves heft; what is printable stays as it is.
std::string printable(std::string sentence, std::size_t limit = 8192);

/// A code point and its length in bytes. A byte that starts no well-formed UTF-8 has the length 0.
struct CodePoint {
  char32_t value = 0;
  std::size_t length = 0;
};
/// The first of `text`, which is not empty.
CodePoint first_code_point(std::string_view text) noexcept;

/// True when `text` is well-formed UTF-8 (no surrogates, no overlong forms).
bool is_utf8(std::string_view text) noexcept;

/// Keeps strings at addresses that do not move until it dies. Blocks grow with what is held, from 256 bytes to 16 KiB:
/// 92,000 names cost some hundred allocations, and an arena for each of many shards wastes little.
class Arena {
 public:
  Arena() noexcept = default;
  /// Counts its blocks.
  explicit Arena(std::shared_ptr<MetadataBudget> budget) noexcept : charge_(std::move(budget)) {}

  std::string_view store(std::string_view text);
  /// Bytes held, for accounting.
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
