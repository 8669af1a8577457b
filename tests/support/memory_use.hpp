// The memory of this process, as counted by the kernel.
#pragma once

#include <cstdint>

namespace heft::test {

/// Returns the resident bytes (VmRSS).
[[nodiscard]] std::uint64_t resident_bytes();
/// Returns the maximum of resident bytes since the last reset_peak() (VmHWM).
[[nodiscard]] std::uint64_t peak_resident_bytes();
/// Resets the peak to the current resident bytes. Returns false if the kernel refuses: the peak is then meaningless.
[[nodiscard]] bool reset_peak();
/// Returns true under a sanitizer, whose shadows and kept freed memory add to the resident bytes.
[[nodiscard]] bool memory_is_shadowed() noexcept;

}  // namespace heft::test
