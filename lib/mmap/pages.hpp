// mmap/pages.hpp: sizes of pages, and ranges of whole pages around or inside a range of bytes.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

namespace heft::mmap {

/// Returns the bytes of a page: 4 KiB, on some machines 16 or 64 KiB.
[[nodiscard]] std::size_t page_size() noexcept;

/// Bytes of a transparent huge page with pages of 4 KiB. Larger pages have larger ones, and use this as a unit only.
inline constexpr std::size_t huge_page_bytes = 2u << 20;

/// Returns the smallest range of whole pages that contains `bytes`, which must be mapped: mappings end on pages.
[[nodiscard]] inline std::span<const std::byte> pages_around(std::span<const std::byte> bytes,
                                                             std::size_t page_size) noexcept {
  if (bytes.empty()) return {};
  const std::size_t before = reinterpret_cast<std::uintptr_t>(bytes.data()) % page_size;
  const std::size_t size = (before + bytes.size() + page_size - 1) / page_size * page_size;
  return {bytes.data() - before, size};
}

/// Returns the whole pages inside `bytes`; empty when there are none.
[[nodiscard]] inline std::span<const std::byte> pages_inside(std::span<const std::byte> bytes,
                                                             std::size_t page_size) noexcept {
  const std::size_t into_page = reinterpret_cast<std::uintptr_t>(bytes.data()) % page_size;
  const std::size_t before = into_page == 0 ? 0 : page_size - into_page;
  if (bytes.size() < before) return {};
  return bytes.subspan(before, (bytes.size() - before) / page_size * page_size);
}

}  // namespace heft::mmap
