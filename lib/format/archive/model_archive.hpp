// format/archive/model_archive.hpp: archives of models, which are named and not read.
#pragma once

#include <span>
#include <string_view>

#include "heft/bytes.hpp"

namespace heft::format {

/// Throws Error{unsupported}: "this is a tar archive holding 'a', 'b' and 3 more: unpack it and open what it holds". `kind` is "a tar
/// archive"; `members` may be empty.
[[noreturn]] void refuse_archive(std::string_view kind, std::span<const std::string_view> members);

/// The same for what a gzip file holds, by its first inflated bytes; of a tar the first member is named.
[[noreturn]] void refuse_gzip(const Bytes& inflated_head);

}  // namespace heft::format
