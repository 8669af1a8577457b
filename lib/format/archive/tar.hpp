// format/archive/tar.hpp: reader of tar archives for PyTorch's oldest files: plain files with short names.
//
//   header   512 bytes: name, size in octal, checksum, type, "ustar"
//   data     padded to 512 bytes
//   ...
//   512 zero bytes, twice
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "core/input.hpp"

namespace heft::format {

inline constexpr std::uint64_t tar_header_bytes = 512;

struct TarMember {
  std::string name;
  std::uint64_t begin = 0;
  std::uint64_t size = 0;
};

/// Returns true for a header of POSIX or GNU tar with a correct checksum.
bool is_tar(std::span<const std::byte> head) noexcept;
/// The same without the checksum.
bool resembles_tar(std::span<const std::byte> head) noexcept;

/// Returns the name of the first plain member, or of a folder if `input` shows no plain one; empty if the headers
/// before it do not fit `input`.
std::string first_tar_member(const core::Input& input);

/// Returns the plain files of the archive, in order.
///
/// Throws Error{corrupt} for a malformed header, Error{refused} for links, devices and names that leave the folder,
/// Error{unsupported} for extensions that change a name or size (PAX headers of times and owners are ignored),
/// Error{ambiguous} for a repeated name, Error{limit_exceeded} for more than 1024 members.
std::vector<TarMember> read_tar(const core::Input& input);

}  // namespace heft::format
