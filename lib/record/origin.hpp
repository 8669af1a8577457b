// record/origin.hpp: the paths that a checkpoint was opened from, and what lies there now.
#pragma once

#include <span>
#include <string>

#include "heft/checkpoint.hpp"
#include "mmap/file.hpp"

namespace heft::record {

/// A path that open() looked at, and what it found: a folder, an index, a shard.
struct Origin {
  std::string path;
  mmap::Identity identity;
};

/// What lies at the path now, beside what was opened. Of a folder only which one it is counts. Throws Error{io}.
[[nodiscard]] Freshness freshness_of(const Origin& origin);

/// The worst of all.
[[nodiscard]] Freshness freshness_of(std::span<const Origin> origins);

/// Throws Error{changed_on_disk} where one of several files is another one by now: what was opened may be a part of the
/// old model and a part of the new one. A file that stands alone is whole, whatever its path leads to.
void require_one_model(std::span<const Origin> origins);

}  // namespace heft::record
