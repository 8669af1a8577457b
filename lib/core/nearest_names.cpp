#include "core/nearest_names.hpp"

#include <algorithm>
#include <array>
#include <utility>

#include <fmt/format.h>

#include "core/text.hpp"

namespace heft::core {
namespace {

constexpr std::size_t max_compared = 256;
constexpr std::size_t max_candidates = 64;
constexpr std::size_t max_found = 3;
constexpr std::uint64_t max_bytes = 8u << 20;
constexpr std::uint64_t min_bytes_per_name = 8;

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
  if (a.size() > b.size()) std::swap(a, b);
  if (b.size() - a.size() > bound) return bound + 1;
  std::array<std::size_t, max_compared + 1> row;
  for (std::size_t i = 0; i <= a.size(); ++i) row[i] = i;
  for (std::size_t j = 1; j <= b.size(); ++j) {
    std::size_t diagonal = std::exchange(row[0], j);
    std::size_t best = j;
    for (std::size_t i = 1; i <= a.size(); ++i) {
      const std::size_t substituted = diagonal + (a[i - 1] == b[j - 1] ? 0 : 1);
      diagonal = row[i];
      row[i] = std::min({substituted, row[i] + 1, row[i - 1] + 1});
      best = std::min(best, row[i]);
    }
    if (best > bound) return bound + 1;
  }
  return row[a.size()];
}

}  // namespace

NearestNames::NearestNames(std::string_view wanted) : bytes_left_(max_bytes) {
  std::array<char, max_compared> buffer;
  wanted_ = compared_part(wanted, buffer);
  bound_ = std::max<std::size_t>(wanted_.size() / 3, 1);
  for (std::size_t i = 1; i < wanted_.size(); ++i) pairs_.set(bucket(wanted_[i - 1], wanted_[i], pair_buckets));
}

bool NearestNames::offer(std::string_view name) {
  std::array<char, max_compared> buffer;
  const std::string_view part = compared_part(name, buffer);
  const std::uint64_t cost = std::max<std::uint64_t>(part.size(), min_bytes_per_name);
  if (bytes_left_ < cost) return false;
  bytes_left_ -= cost;
  ++offered_;
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
  if (pairs_apart > 2 * bound_) return;
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
  for (const Candidate& candidate : candidates_)
    if (const std::size_t cost = distance(wanted_, compared_part(candidate.name, buffer), bound_); cost <= bound_)
      near.push_back({cost, &candidate});
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
