#include "materialize/repeated_bytes.hpp"

#include <algorithm>
#include <iterator>
#include <string>

#include <fmt/format.h>

#include "heft/error.hpp"
#include "record/view_access.hpp"

namespace heft::engine {
namespace {

// Gaps up to this are taken for covered: so most files are one range.
constexpr std::uint64_t small_gap = 4096;

}  // namespace

void RepeatedBytes::Cover::cover(std::uint64_t begin, std::uint64_t end) {
  // Ranges are apart, so only the one that begins before `begin` can contain it or come near it.
  auto next = ranges.upper_bound(begin);
  if (next != ranges.begin() && std::prev(next)->second + small_gap >= begin) {
    const auto last = std::prev(next);
    if (end <= last->second) return;
    if (next == ranges.end() || next->first > end + small_gap) {  // in most files each view goes on where one ends
      covered += end - last->second;
      last->second = end;
      return;
    }
    next = last;
    begin = next->first;
  }
  // Merges the ranges that the new one reaches. Each is erased once: n views cost O(n log n).
  while (next != ranges.end() && next->first <= end + small_gap) {
    end = std::max(end, next->second);
    covered -= next->second - next->first;
    next = ranges.erase(next);
  }
  ranges.emplace_hint(next, begin, end);
  covered += end - begin;
}

// Views lie inside their storage, so that nothing here overflows.
RepeatedBytes::Window RepeatedBytes::window_of(const TensorView& view) {
  const std::uint64_t shown = view.size_bytes();
  const std::uint64_t first = ViewAccess::first_byte(view);
  // Bytes of an unknown dtype are one run.
  if (view.is_contiguous() || view.dtype() == DType::unknown) return {first, first + shown, shown};
  const auto width = static_cast<std::int64_t>(info(view.dtype()).block_bytes);
  const auto block = static_cast<std::int64_t>(info(view.dtype()).block_elements);
  // A negative stride reaches to bytes before the first element, so both directions are added up apart.
  std::int64_t before = 0;
  std::int64_t after = 0;
  for (std::size_t dim = 0; dim < view.rank(); ++dim) {
    const std::int64_t reach = (view.shape()[dim] - 1) * view.strides()[dim];
    (reach < 0 ? before : after) += reach;
  }
  return {first - static_cast<std::uint64_t>(-before / block * width),
          first + static_cast<std::uint64_t>(after / block * width + width), shown};
}

void RepeatedBytes::add(const TensorView& view) {
  if (view.pieces().empty()) return add_stored(view);
  std::size_t counted = 0;
  try {
    for (; counted < view.pieces().size(); ++counted) add(view.pieces()[counted].part);
  } catch (...) {
    // All pieces or none: a view that is refused must not be counted against the next one.
    while (counted > 0) take_back(view.pieces()[--counted].part);
    throw;
  }
}

void RepeatedBytes::add_stored(const TensorView& view) {
  const record::Source* const source = ViewAccess::source(view).get();
  if (source == nullptr || !view.has_data() || view.size_bytes() == 0) return;
  Cover& cover = covers_[source];
  const Window window = window_of(view);
  const std::uint64_t covered = cover.covered;
  const std::uint64_t repeated = cover.repeated();
  // Updates the sums over all sources by the change of this one.
  const auto settle = [&] {
    covered_ = covered_ - covered + cover.covered;
    repeated_ = repeated_ - repeated + cover.repeated();
  };
  try {
    cover.cover(window.begin, window.end);
  } catch (...) {
    // cover() may have merged ranges before it ran out of memory: the sums follow them.
    settle();
    throw;
  }
  cover.shown += window.shown;
  settle();
  // As many repeated bytes as covered ones are always allowed: tied weights are common, and memory at most doubles.
  const std::uint64_t found = repeated_;
  if (found <= std::max(limit_, covered_)) return;
  show_less(cover, window.shown);
  throw Error(
      ErrorCode::limit_exceeded,
      fmt::format("expected at most {} bytes that repeat others (Limits::repeated_bytes), found {}: this tensor has "
                  "{} bytes in a storage of {}",
                  limit_, found, window.shown, view.storage_bytes()),
      {.path = std::string(view.shard_path()), .tensor = std::string(view.name())});
}

void RepeatedBytes::show_less(Cover& cover, std::uint64_t bytes) noexcept {
  repeated_ -= cover.repeated();
  cover.shown -= bytes;
  repeated_ += cover.repeated();
}

void RepeatedBytes::take_back(const TensorView& view) noexcept {
  for (const Piece& piece : view.pieces()) take_back(piece.part);
  const auto cover = covers_.find(ViewAccess::source(view).get());
  if (view.pieces().empty() && cover != covers_.end()) show_less(cover->second, view.size_bytes());
}

}  // namespace heft::engine
