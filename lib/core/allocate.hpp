// core/allocate.hpp: memory whose size comes from a file, or an Error.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string_view>

#include "heft/error.hpp"

namespace heft::core {

/// Returns `size` uninitialized bytes at a multiple of `alignment`, a power of two. Throws Error{out_of_memory} with
/// `place`: "could not allocate SIZE bytes PURPOSE".
std::shared_ptr<std::byte[]> allocate_bytes(std::uint64_t size, std::string_view purpose, const ErrorPlace& place = {},
                                            std::size_t alignment = alignof(std::max_align_t));

}  // namespace heft::core
