// core/nearest_names.hpp: the names nearest to a name that was not found, for "did you mean".
#pragma once

#include <bitset>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace heft::core {

/// Finds, among names that are offered one by one, up to three at the smallest edit distance from `wanted`. Names at a
/// distance over a third of its length are ignored. Names longer than 256 bytes are compared by their first and last
/// 128 bytes.
///
/// The work is bounded for any number of names of any length: only the first 8 MiB of offered names are read, once each
/// (a name counts as at least 8 bytes), and the edit distance is computed for the 64 names that share the most pairs of
/// neighbouring characters with `wanted`.
class NearestNames {
 public:
  explicit NearestNames(std::string_view wanted);

  /// Considers one more name. Returns false when no further name will be considered.
  bool offer(std::string_view name);

  /// Returns the names, nearest first; names at equal distance in the order in which they were offered.
  [[nodiscard]] std::vector<std::string> found() const;
  /// Returns " (did you mean 'a' or 'b'?)", or an empty string when no name is near.
  [[nodiscard]] std::string did_you_mean() const;

 private:
  static constexpr std::size_t pair_buckets = 512;
  struct Candidate {
    std::size_t pairs_apart = 0;
    std::uint64_t order = 0;
    std::string name;
  };
  [[nodiscard]] std::size_t pairs_apart(std::string_view name) const noexcept;
  void keep(std::size_t pairs_apart, std::string_view name);

  std::string wanted_;
  std::size_t bound_ = 1;  // max distance of a near name
  std::bitset<pair_buckets> pairs_;
  std::uint64_t bytes_left_;  // of names, that will still be considered
  std::uint64_t offered_ = 0;
  std::vector<Candidate> candidates_;  // a heap, the worst in front
};

/// NearestNames over `names`.
std::string did_you_mean(std::string_view wanted, std::span<const std::string_view> names);

}  // namespace heft::core
