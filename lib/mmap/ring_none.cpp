// Replaces ring_uring.cpp in builds without liburing. open() returns -ENOSYS, after which no other function is called.
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
