// core/text.hpp: strings from files on their way into sentences, and a place to keep strings.
#pragma once

#include <cstddef>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "core/metadata_budget.hpp"

namespace heft::core {

/// `text` made harmless for logs and terminals: control characters, quotes, backslashes and invalid UTF-8 as \n, \x1b, \u0085...; cut after
/// `limit` characters with "...".
std::string escaped(std::string_view text, std::size_t limit = 200);

/// True when `text` is well-formed UTF-8 (no surrogates, no overlong forms).
bool is_utf8(std::string_view text) noexcept;

/// Keeps strings at addresses that do not move until it dies. Blocks of 16 KiB: 92,000 names cost some hundred
/// allocations, and an arena for each of many shards wastes little.
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
