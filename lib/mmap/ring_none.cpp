// Stands in for ring_uring.cpp in a build without liburing: opening says so, and nothing else is called after that.
#include <cerrno>

#include "mmap/ring.hpp"

namespace heft::mmap::sys {

struct Ring::State {};

Ring::Ring() noexcept = default;
Ring::~Ring() = default;

int Ring::open(unsigned) { return -ENOSYS; }
int Ring::register_buffers(std::span<const std::span<std::byte>>) { return -ENOSYS; }
void Ring::prepare(const Read&) noexcept {}
int Ring::submit(bool) noexcept { return -ENOSYS; }
bool Ring::take(Answer&) noexcept { return false; }

}  // namespace heft::mmap::sys
