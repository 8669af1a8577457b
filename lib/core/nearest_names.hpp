// core/nearest_names.hpp: the names nearest to one that was not found, for "did you mean".
#pragma once

#include <bitset>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace heft::core {

/// Finds, among the names that are offered to it one by one, up to three at the smallest edit distance from `wanted`;
/// names further away than a third of its length do not count. Names longer than 256 bytes are compared by their first
/// and last 128.
///
/// The work is bounded, however many names there are and however long: offered names are read once, and only the first
/// 8 MiB of them (a name counts as 8 bytes at least). The edit distance is computed for the 64 that share the most
/// pairs of neighbouring characters with `wanted`.
class NearestNames {
 public:
  explicit NearestNames(std::string_view wanted);

  /// Looks at one more name. Returns false when no further name will be looked at.
  bool offer(std::string_view name);

  /// Best first; of equally near names, those offered first.
  [[nodiscard]] std::vector<std::string> found() const;
  /// " (did you mean 'a' or 'b'?)", or nothing when no name is near.
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
  std::size_t bound_ = 1;  // largest distance of a near name
  std::bitset<pair_buckets> pairs_;
  std::uint64_t bytes_left_;  // of names, that will still be looked at
  std::uint64_t offered_ = 0;
  std::vector<Candidate> candidates_;  // a heap, the worst in front
};

/// NearestNames over `names`.
std::string did_you_mean(std::string_view wanted, std::span<const std::string_view> names);

}  // namespace heft::core
