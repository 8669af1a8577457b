// format/archive/model_archive.hpp: errors for archives that contain models, which heft does not read.
#pragma once

#include <span>
#include <string_view>

#include "heft/bytes.hpp"

namespace heft::format {

/// Throws Error{unsupported}: "this is a tar archive holding 'a', 'b' and 3 more, which heft does not read: unpack it
/// and open what it holds". `kind` is "a tar archive"; `members` can be empty.
[[noreturn]] void refuse_archive(std::string_view kind, std::span<const std::string_view> members);

/// The same for the contents of a gzip file, recognized by the first inflated bytes. For a tar the message contains the
/// name of the first member.
[[noreturn]] void refuse_gzip(const Bytes& inflated_head);

}  // namespace heft::format
