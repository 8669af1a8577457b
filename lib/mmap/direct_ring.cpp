// Direct reads through io_uring, with registered buffers where the system allows it. Files are not registered: that
// saves too little to measure at this size of reads, and a registered file keeps a descriptor as long as the queue
// lives.
#include <algorithm>
#include <cerrno>
#include <functional>
#include <optional>
#include <system_error>
#include <utility>

#include "heft/error.hpp"
#include "mmap/direct_request.hpp"
#include "mmap/ring.hpp"
#include "mmap/syscalls.hpp"

namespace heft::mmap {
namespace {

// Consecutive refusals of io_uring_enter (EAGAIN: no memory for a request, EBUSY) after which the load fails.
constexpr unsigned max_refusals = 10'000;

// Returns "CALL: text of errno" for a call that returned -errno.
std::string message(const char* call, int result) {
  return std::string(call) + ": " + std::generic_category().message(-result);
}

// A registered buffer, found again by address.
struct Registered {
  std::span<std::byte> memory;
  int index;
};

// The order of buffers by address. std::less, because < is not defined between pointers into different arrays.
bool lies_before(const Registered& a, const Registered& b) noexcept {
  return std::less<>()(a.memory.data(), b.memory.data());
}

class RingQueue final : public DirectQueue {
 public:
  explicit RingQueue(const DirectSetup& setup) : setup_(setup), slots_(setup.depth) {
    // Slots are taken from the back of free_, so that slot 0 is the first.
    for (unsigned slot = setup.depth; slot > 0; --slot) free_.push_back(slot - 1);
  }
  ~RingQueue() override { drain(); }

  /// Returns 0, or -errno: then the queue is unusable.
  int open() {
    const int result = ring_.open(setup_.depth);
    if (result < 0) return result;
    register_buffers();
    return 0;
  }

  void submit(std::shared_ptr<const DirectFile> file, std::uint64_t offset, std::span<std::byte> into,
              std::uint64_t token) override {
    if (free_.empty()) throw Error(ErrorCode::out_of_range, "the queue is full: wait() before the next submit()");
    const unsigned slot = free_.back();
    // The constructor throws for a bad range; the slot is taken from free_ only after it, so nothing has to be undone.
    slots_[slot].emplace(std::move(file), offset, into, token);
    free_.pop_back();
    prepare(slot);
  }

  void flush() override {
    // The kernel can accept fewer requests than were queued.
    while (unsent_ > 0 && !refused_) send(/*wait=*/false);
  }

  DirectCompletion wait() override {
    if (in_flight() == 0) throw Error(ErrorCode::out_of_range, "nothing is in flight");
    flush();
    // The first io_uring_enter shows whether it is refused; is_asynchronous() returns false from then on.
    if (refused_) return read_now();
    for (;;) {
      const sys::Ring::Answer answer = next_answer();
      const auto slot = static_cast<unsigned>(answer.tag);
      // A short read, EINTR or EAGAIN: the same slot is queued again for the rest. next_answer() sends it with the
      // others.
      if (settle(slot, answer.result) == DirectRequest::Step::again) {
        prepare(slot);
        continue;
      }
      const DirectCompletion completion = slots_[slot]->completion();
      release(slot);
      return completion;
    }
  }

  [[nodiscard]] unsigned in_flight() const noexcept override {
    return setup_.depth - static_cast<unsigned>(free_.size());
  }
  [[nodiscard]] bool is_asynchronous() const noexcept override { return !refused_; }
  [[nodiscard]] const std::string& reason() const noexcept override { return reason_; }
  [[nodiscard]] const DirectStats& stats() const noexcept override { return stats_; }

 private:
  // Registers the buffers of the setup, which saves pinning their pages in each request. Without (RLIMIT_MEMLOCK, a
  // sandbox) the ring works with plain reads.
  void register_buffers() {
    if (setup_.buffers.empty()) return;
    if (const int result = ring_.register_buffers(setup_.buffers); result < 0) {
      reason_ = message("io_uring_register_buffers", result);
      return;
    }
    for (std::size_t i = 0; i < setup_.buffers.size(); ++i)
      buffers_.push_back({setup_.buffers[i], static_cast<int>(i)});
    std::sort(buffers_.begin(), buffers_.end(), lies_before);
  }

  // Returns the index of the registered buffer that contains all of `into`, or -1.
  [[nodiscard]] int buffer_of(std::span<std::byte> into) const noexcept {
    // The buffers are disjoint, so only the last one that starts at or before `into` can contain it.
    auto after = std::upper_bound(buffers_.begin(), buffers_.end(), Registered{into, 0}, lies_before);
    if (after == buffers_.begin()) return -1;
    const auto& [memory, index] = *--after;
    const auto begin = static_cast<std::size_t>(into.data() - memory.data());
    return begin <= memory.size() && into.size() <= memory.size() - begin ? index : -1;
  }

  // Queues the rest of the request for the next send(). The ring has at least as many entries as there are slots, so
  // one is free.
  void prepare(unsigned slot) noexcept {
    // read_now() takes requests from their slots; a refused ring sends nothing.
    if (refused_) return;
    const DirectRequest& request = *slots_[slot];
    ring_.prepare({.file = request.handle(),
                   .buffer = buffer_of(request.rest()),
                   .offset = request.offset(),
                   .into = request.rest(),
                   .tag = slot});
    ++unsent_;
  }

  // Sends the queued requests and, with `wait`, waits for an answer. Sets refused_, or throws, if the kernel does not
  // serve the ring.
  void send(bool wait) {
    const int result = ring_.submit(wait);
    // 0 without unsent requests: the call only waited, and an answer is there.
    if (result > 0 || (result == 0 && unsent_ == 0)) {
      unsent_ -= std::min(unsent_, static_cast<unsigned>(result));
      sent_any_ = sent_any_ || result > 0;
      refusals_ = 0;
    } else if (result == 0 || result == -EAGAIN || result == -EBUSY) {
      // The kernel is short of memory, or its queue of answers is full. The callers repeat the call.
      if (++refusals_ > max_refusals) throw Error(ErrorCode::out_of_memory, "io_uring_enter()", {.os_error = -result});
    } else if (!sent_any_ && (result == -EPERM || result == -EACCES || result == -ENOSYS)) {
      // A sandbox that allows io_uring_setup but not io_uring_enter. The kernel has received none of the requests, so
      // they are read with pread.
      refused_ = true;
      unsent_ = 0;
      reason_ = (reason_.empty() ? "" : reason_ + "; ") + message("io_uring_enter", result);
    } else if (result != -EINTR) {
      // After a signal, EINTR, the callers repeat the call.
      throw Error(ErrorCode::io, "io_uring_enter()", {.os_error = -result});
    }
  }

  // Sends first, even when an answer is available, so that the device works while the caller handles the answer.
  sys::Ring::Answer next_answer() {
    flush();
    sys::Ring::Answer answer;
    while (!ring_.take(answer)) send(/*wait=*/true);
    return answer;
  }

  // Reads one request with pread, after io_uring_enter was refused.
  DirectCompletion read_now() {
    // Any request can be next: answers have no order. wait() has checked that one is in flight.
    const auto taken = std::find_if(slots_.begin(), slots_.end(), [](const auto& each) { return each.has_value(); });
    const auto slot = static_cast<unsigned>(taken - slots_.begin());
    auto step = DirectRequest::Step::again;
    while (step == DirectRequest::Step::again) {
      const DirectRequest& request = **taken;
      // A request that throws is released by settle(); the others are read by later calls.
      step = settle(slot, sys::pread(request.handle(), request.offset(), request.rest()));
    }
    const DirectCompletion completion = (*taken)->completion();
    release(slot);
    return completion;
  }

  // Gives `result` to the request of the slot. A request that fails is finished: its slot is released before the Error
  // leaves.
  DirectRequest::Step settle(unsigned slot, std::int64_t result) {
    try {
      return slots_[slot]->settle(result, stats_);
    } catch (...) {
      release(slot);
      throw;
    }
  }

  void release(unsigned slot) noexcept {
    slots_[slot].reset();
    free_.push_back(slot);  // never allocates: the capacity is the depth
  }

  // Waits for all answers, because the kernel writes to the callers' memory until the last one. The bound on refusals
  // ends the wait only with a kernel that no longer serves the ring.
  void drain() noexcept {
    sys::Ring::Answer answer;
    for (unsigned refusals = 0; !refused_ && in_flight() > 0 && refusals < max_refusals;) {
      // Results do not matter any more, and a short read is not continued.
      if (ring_.take(answer)) {
        release(static_cast<unsigned>(answer.tag));
      } else if (ring_.submit(/*wait=*/true) < 0) {
        ++refusals;
      }
    }
  }

  DirectSetup setup_;
  sys::Ring ring_;
  std::string reason_;
  DirectStats stats_;
  std::vector<std::optional<DirectRequest>> slots_;  // by tag
  std::vector<unsigned> free_;
  std::vector<Registered> buffers_;  // by address
  bool sent_any_ = false;
  bool refused_ = false;  // by io_uring_enter: requests are read one after the other
  unsigned unsent_ = 0;
  unsigned refusals_ = 0;
};

}  // namespace

std::unique_ptr<DirectQueue> open_ring_queue(const DirectSetup& setup, std::string& reason) {
  auto queue = std::make_unique<RingQueue>(setup);
  const int result = queue->open();
  if (result == 0) return queue;
  reason = message("io_uring_setup", result);
  return nullptr;
}

}  // namespace heft::mmap
