#include "core/nearest_names.hpp"

#include <algorithm>
#include <array>
#include <utility>

#include <fmt/format.h>

#include "core/text.hpp"

namespace heft::core {
namespace {

// Bounds of the work for one message: see the class. 256 bytes of each name keep a row of the distance on the stack; a
// name that is empty still costs the work of its iteration.
constexpr std::size_t max_compared = 256;
constexpr std::size_t max_candidates = 64;
constexpr std::size_t max_found = 3;
constexpr std::uint64_t max_bytes = 8u << 20;
constexpr std::uint64_t min_bytes_per_name = 8;

// Returns the bucket of a pair of neighbouring characters. Two pairs in one bucket only make a name seem nearer, which
// lets one candidate more through to the exact distance.
std::size_t bucket(char first, char second, std::size_t buckets) noexcept {
  return (static_cast<unsigned char>(first) * std::size_t{31} + static_cast<unsigned char>(second)) % buckets;
}

// Returns the bytes of a name that are compared; `buffer` holds them when they are its first and last bytes.
std::string_view compared_part(std::string_view name, std::array<char, max_compared>& buffer) noexcept {
  if (name.size() <= max_compared) return name;
  constexpr std::size_t half = max_compared / 2;
  std::ranges::copy(name.substr(0, half), buffer.begin());
  std::ranges::copy(name.substr(name.size() - half), buffer.begin() + half);
  return {buffer.data(), buffer.size()};
}

// Drops the common prefix and suffix, which do not change the distance.
void drop_common_ends(std::string_view& a, std::string_view& b) noexcept {
  const auto front = static_cast<std::size_t>(std::mismatch(a.begin(), a.end(), b.begin(), b.end()).first - a.begin());
  a.remove_prefix(front);
  b.remove_prefix(front);
  const auto back =
      static_cast<std::size_t>(std::mismatch(a.rbegin(), a.rend(), b.rbegin(), b.rend()).first - a.rbegin());
  a.remove_suffix(back);
  b.remove_suffix(back);
}

// Returns the edit distance of a and b, or a number over `bound` when the distance is over `bound`.
std::size_t distance(std::string_view a, std::string_view b, std::size_t bound) {
  drop_common_ends(a, b);
  // The row is as long as the shorter name.
  if (a.size() > b.size()) std::swap(a, b);
  // Each character that one name has more costs an insertion.
  if (b.size() - a.size() > bound) return bound + 1;
  // Levenshtein's table, of which only one row is kept: before step j, row[i] is the distance of the first i characters
  // of a from the first j - 1 of b.
  std::array<std::size_t, max_compared + 1> row;
  for (std::size_t i = 0; i <= a.size(); ++i) row[i] = i;
  for (std::size_t j = 1; j <= b.size(); ++j) {
    std::size_t diagonal = std::exchange(row[0], j);
    std::size_t best = j;
    for (std::size_t i = 1; i <= a.size(); ++i) {
      // diagonal is row[i - 1] of the step before, which the inner loop has overwritten.
      const std::size_t substituted = diagonal + (a[i - 1] == b[j - 1] ? 0 : 1);
      diagonal = row[i];
      row[i] = std::min({substituted, row[i] + 1, row[i - 1] + 1});
      best = std::min(best, row[i]);
    }
    // The minimum of a row never falls from one step to the next, so the distance is over the bound too.
    if (best > bound) return bound + 1;
  }
  return row[a.size()];
}

}  // namespace

NearestNames::NearestNames(std::string_view wanted) : bytes_left_(max_bytes) {
  std::array<char, max_compared> buffer;
  wanted_ = compared_part(wanted, buffer);
  // At least 1, so that a name of one or two characters has neighbours.
  bound_ = std::max<std::size_t>(wanted_.size() / 3, 1);
  for (std::size_t i = 1; i < wanted_.size(); ++i) pairs_.set(bucket(wanted_[i - 1], wanted_[i], pair_buckets));
}

bool NearestNames::offer(std::string_view name) {
  std::array<char, max_compared> buffer;
  const std::string_view part = compared_part(name, buffer);
  // Only the part that is compared is read and paid for.
  const std::uint64_t cost = std::max<std::uint64_t>(part.size(), min_bytes_per_name);
  if (bytes_left_ < cost) return false;
  bytes_left_ -= cost;
  ++offered_;
  // A difference of lengths over the bound excludes the name before its pairs are counted.
  const std::size_t longer = std::max(part.size(), wanted_.size());
  if (longer - std::min(part.size(), wanted_.size()) <= bound_) keep(pairs_apart(part), name);
  return true;
}

// Counts the pairs of neighbouring characters of `name` that `wanted` lacks. One edit adds at most two such pairs.
std::size_t NearestNames::pairs_apart(std::string_view name) const noexcept {
  std::size_t apart = 0;
  for (std::size_t i = 1; i < name.size(); ++i)
    apart += pairs_.test(bucket(name[i - 1], name[i], pair_buckets)) ? 0 : 1;
  return apart;
}

void NearestNames::keep(std::size_t pairs_apart, std::string_view name) {
  const auto before = [](const Candidate& a, const Candidate& b) {
    return std::pair(a.pairs_apart, a.order) < std::pair(b.pairs_apart, b.order);
  };
  // Each edit accounts for at most two of the pairs, so the distance is over the bound.
  if (pairs_apart > 2 * bound_) return;
  // Among equals the earlier one stays, so that the result does not depend on how many names follow.
  if (candidates_.size() == max_candidates) {
    if (pairs_apart >= candidates_.front().pairs_apart) return;
    std::ranges::pop_heap(candidates_, before);
    candidates_.pop_back();
  }
  candidates_.push_back({pairs_apart, offered_, std::string(name)});
  std::ranges::push_heap(candidates_, before);
}

std::vector<std::string> NearestNames::found() const {
  struct Near {
    std::size_t distance;
    const Candidate* candidate;
  };
  std::vector<Near> near;
  std::array<char, max_compared> buffer;
  // Candidates were chosen by half of pairs_apart, a lower bound of the distance. Only here is the distance computed,
  // at most 64 times.
  for (const Candidate& candidate : candidates_)
    if (const std::size_t cost = distance(wanted_, compared_part(candidate.name, buffer), bound_); cost <= bound_)
      near.push_back({cost, &candidate});
  // The order of offering decides between equal distances: the heap has lost it.
  std::ranges::sort(near, {}, [](const Near& one) { return std::pair(one.distance, one.candidate->order); });
  std::vector<std::string> names;
  for (const Near& one : near)
    if (names.size() < max_found) names.push_back(one.candidate->name);
  return names;
}

std::string NearestNames::did_you_mean() const {
  const std::vector<std::string> near = found();
  if (near.empty()) return {};
  std::string out = " (did you mean ";
  for (std::size_t i = 0; i < near.size(); ++i) {
    if (i > 0) out += i + 1 == near.size() ? " or " : ", ";
    out += fmt::format("'{}'", escaped(near[i]));
  }
  return out + "?)";
}

std::string did_you_mean(std::string_view wanted, std::span<const std::string_view> names) {
  NearestNames nearest(wanted);
  for (const std::string_view name : names)
    if (!nearest.offer(name)) break;
  return nearest.did_you_mean();
}

}  // namespace heft::core
