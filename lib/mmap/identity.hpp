// mmap/identity.hpp: the signs by which a file is known again, and by which it shows that its bytes have changed.
#pragma once

#include <cstdint>
#include <string>

struct stat;

namespace heft::mmap {

/// The identity and the state of a file at one moment, from fstat.
struct Identity {
  std::uint64_t device = 0;
  std::uint64_t inode = 0;
  std::uint64_t size_bytes = 0;
  std::int64_t mtime_ns = 0;  ///< Changes with the bytes; a writer can set it back.
  std::int64_t ctime_ns = 0;  ///< Changes with the bytes and with the members below; no call sets it.
  std::uint64_t nlink = 0;
  std::uint32_t mode = 0;
  std::uint32_t uid = 0;
  std::uint32_t gid = 0;
  friend bool operator==(const Identity&, const Identity&) noexcept = default;

  [[nodiscard]] bool is_same_file(const Identity& other) const noexcept {
    return device == other.device && inode == other.inode;
  }
};

/// Returns the first sign that the bytes of a file have changed since `opened`, as a message: "expected size 12 as
/// when it was opened, found 13". Empty when there is none.
///
/// A change of the ctime alone is a sign: the file was written and its mtime set back. A change of the ctime together
/// with the number of links, the mode or the owner is not: link(2), chmod(2) and chown(2) change the ctime, and so does
/// a rename over the file, which removes a link.
[[nodiscard]] std::string difference(const Identity& opened, const Identity& now);

/// Returns true when the ctime changed, and no attribute that changes it except, possibly, the bytes.
[[nodiscard]] bool only_ctime_moved(const Identity& opened, const Identity& now) noexcept;

/// Returns the members of fstat()'s result that difference() compares.
[[nodiscard]] Identity identity_of(const struct ::stat& status) noexcept;

}  // namespace heft::mmap
