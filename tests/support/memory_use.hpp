// How much memory this process has in use, as the kernel counts it.
#pragma once

#include <cstdint>

namespace heft::test {

/// Resident bytes now (VmRSS).
[[nodiscard]] std::uint64_t resident_bytes();
/// Most resident bytes since the last reset_peak() (VmHWM).
[[nodiscard]] std::uint64_t peak_resident_bytes();
/// Sets the peak back to what is resident now. False where the kernel does not let us: then the peak says nothing.
[[nodiscard]] bool reset_peak();
/// True when a sanitizer keeps freed memory and shadows, so that resident bytes are not the program's own.
[[nodiscard]] bool memory_is_shadowed() noexcept;

}  // namespace heft::test
