// mmap/direct_queue.cpp: the choice of a DirectQueue: by io_uring, or by pread.
#include <string>
#include <utility>

#include "heft/error.hpp"
#include "mmap/direct.hpp"
#include "mmap/direct_request.hpp"

namespace heft::mmap {
namespace {

constexpr unsigned max_in_flight = 4096;
constexpr std::size_t max_buffer_bytes = std::size_t{1} << 30;

// Throws Error{out_of_range} with `rule` unless it holds.
void require_setup(bool holds, const char* rule) {
  if (!holds) throw Error(ErrorCode::out_of_range, rule);
}

// Throws Error{out_of_range} for a setup that breaks the rules of DirectSetup.
void check(const DirectSetup& setup) {
  require_setup(setup.depth >= 1 && setup.depth <= max_in_flight, "a queue of direct reads is 1 to 4096 deep");
  for (const auto& buffer : setup.buffers)
    require_setup(!buffer.empty() && buffer.size() <= max_buffer_bytes, "buffers of direct reads hold 1 byte to 1 GiB");
}

}  // namespace

std::unique_ptr<DirectQueue> DirectQueue::open(DirectSetup setup) {
  check(setup);
  std::string reason;  // set by open_ring_queue() when it fails
  if (setup.allow_ring)
    if (auto ring = open_ring_queue(setup, reason)) return ring;
  return open_pread_queue(std::move(setup), std::move(reason));
}

}  // namespace heft::mmap
