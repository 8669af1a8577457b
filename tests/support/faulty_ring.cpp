// A twin of lib/mmap/ring_uring.cpp that needs no io_uring: reads are made when they are sent, answers are returned
// last one first, and both fail as the FaultPlan states. It is as strict as the kernel: a wrong index of a buffer is
// its error.
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <utility>
#include <vector>

#include "mmap/ring.hpp"
#include "support/faulty_syscalls.hpp"

namespace heft::mmap::sys {

using test::Call;
using test::next_fault;

struct Ring::State {
  std::size_t entries = 0;
  std::vector<std::span<std::byte>> buffers;
  std::vector<Read> prepared;
  std::vector<Answer> answers;
};

namespace {

int failure(Call call) {
  const auto fault = next_fault(call);
  return fault ? -fault->os_error : 0;
}

bool lies_in(std::span<const std::byte> part, std::span<const std::byte> whole) {
  return part.data() >= whole.data() && part.data() + part.size() <= whole.data() + whole.size();
}

std::int64_t read_now(int handle, const Ring::Read& read) {
  std::size_t size = read.into.size();
  if (const auto fault = next_fault(Call::ring_read)) {
    if (fault->os_error != 0) return -fault->os_error;
    if (fault->at_most) size = std::min<std::size_t>(size, *fault->at_most);
    if (fault->ends_at)
      size = read.offset >= *fault->ends_at ? 0 : std::min<std::size_t>(size, *fault->ends_at - read.offset);
  }
  if (size == 0) return 0;
  // A short answer is cut from a whole read, because O_DIRECT refuses an odd size.
  const ssize_t got = ::pread(handle, read.into.data(), read.into.size(), static_cast<off_t>(read.offset));
  return got < 0 ? -errno : std::min<std::int64_t>(got, static_cast<std::int64_t>(size));
}

}  // namespace

Ring::Ring() noexcept = default;
Ring::~Ring() = default;

int Ring::open(unsigned entries) {
  if (const int error = failure(Call::ring_open)) return error;
  state_ = std::make_unique<State>();
  state_->entries = entries;
  return 0;
}

int Ring::register_buffers(std::span<const std::span<std::byte>> buffers) {
  if (const int error = failure(Call::ring_register_buffers)) return error;
  state_->buffers.assign(buffers.begin(), buffers.end());
  return 0;
}

void Ring::prepare(const Read& read) noexcept { state_->prepared.push_back(read); }

int Ring::submit(bool wait) noexcept {
  if (const int error = failure(Call::ring_submit)) return error;
  if (state_->prepared.size() > state_->entries) return -EBUSY;
  if (wait && state_->prepared.empty() && state_->answers.empty()) return -EDEADLK;  // the kernel would wait forever
  for (const Read& read : state_->prepared) {
    std::int64_t result = 0;
    if (read.buffer >= 0 && (static_cast<std::size_t>(read.buffer) >= state_->buffers.size() ||
                             !lies_in(read.into, state_->buffers[static_cast<std::size_t>(read.buffer)])))
      result = -EPROTO;
    else
      result = read_now(read.file, read);
    state_->answers.push_back({read.tag, result});
  }
  return static_cast<int>(std::exchange(state_->prepared, {}).size());
}

bool Ring::take(Answer& answer) noexcept {
  if (state_->answers.empty()) return false;
  answer = state_->answers.back();
  state_->answers.pop_back();
  return true;
}

}  // namespace heft::mmap::sys
