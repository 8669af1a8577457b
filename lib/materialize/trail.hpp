// materialize/trail.hpp: what a load leaves in the page cache, and how it is taken away again.
#pragma once

#include <cstdint>
#include <vector>

#include "materialize/transfer.hpp"

namespace heft::engine {

/// Which pages of a layout's files were in the page cache before the load. Immutable once made; const members may be
/// called from several threads.
///
/// Where the kernel does not tell (to who neither owns nor may write the file), nothing is given up: what is not
/// known to be new may be old.
class Trail {
 public:
  /// Looks now: before anything of the layout, which outlives this, is read.
  explicit Trail(const Layout& layout);

  /// Gives up pages of [range.begin, range.end) of a source, partly covered ones too, that are in the page cache now
  /// and were not before. Pages that somebody has mapped, or that are dirty, stay. Returns the bytes given up.
  std::uint64_t give_up(std::uint32_t source, Range range) const noexcept;
  /// The same for all that the layout reads and what the kernel reads ahead of it: after the last read.
  std::uint64_t give_up_all() const noexcept;

  /// Memory that the tables for `layout` take.
  static std::uint64_t table_bytes(const Layout& layout) noexcept;

 private:
  // Pages of one source, from a multiple of the page size on. Empty: unknown, or nothing to read.
  struct Pages {
    std::uint64_t begin = 0;
    std::vector<bool> resident;
  };

  [[nodiscard]] std::uint64_t drop_new(const mmap::File& file, const Pages& before, Range range) const;

  const Layout& layout_;
  std::vector<Pages> before_;
};

}  // namespace heft::engine
