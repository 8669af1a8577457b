// record/leaf_walk.hpp: iterates over the leaves under a record.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "heft/record.hpp"

namespace heft::record {

/// A record without children, or an empty container, and its path.
struct Leaf {
  std::string path;
  Record record;
};

/// Walks depth first, in the order of keys. Builds paths on the way, which is cheaper than Record::path() of each leaf.
///
/// Containers of a pickle can be shared or contain themselves, so the walk is bounded by the checkpoint's
/// Limits::record_depth and record_visits; was_cut() then returns true.
class LeafWalk {
 public:
  /// Skips containers whose path `prune` returns true for.
  LeafWalk(const Record& root, std::string path, std::function<bool(const std::string&)> prune = {});
  /// Reads the next leaf. Returns false after the last.
  bool next(Leaf& into);
  [[nodiscard]] bool was_cut() const noexcept { return was_cut_; }
  /// Throws Error{limit_exceeded} if the walk was cut.
  void require_whole() const;

 private:
  struct Step {
    Leaf leaf;
    std::uint64_t depth = 0;
  };

  std::vector<Step> left_;
  std::function<bool(const std::string&)> prune_;
  std::uint64_t visits_left_;
  std::uint64_t max_depth_;
  bool was_cut_ = false;
};

/// Returns the path of a child: `path`, a dot and `key`. The key of a leaf beside the children of its own name is
/// empty: its path is its container's.
[[nodiscard]] std::string join_path(const std::string& path, std::string_view key);

/// Returns true for lists, maps and opaque records.
[[nodiscard]] bool is_container(const Record& record) noexcept;

}  // namespace heft::record
