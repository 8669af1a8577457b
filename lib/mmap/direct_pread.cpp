// Direct reads without io_uring: each wait() makes one pread.
#include <deque>
#include <utility>

#include "heft/error.hpp"
#include "mmap/direct_request.hpp"
#include "mmap/syscalls.hpp"

namespace heft::mmap {
namespace {

class PreadQueue final : public DirectQueue {
 public:
  PreadQueue(DirectSetup setup, std::string reason) : setup_(std::move(setup)), reason_(std::move(reason)) {}

  void submit(std::shared_ptr<const DirectFile> file, std::uint64_t offset, std::span<std::byte> into,
              std::uint64_t token) override {
    if (in_flight() == setup_.depth)
      throw Error(ErrorCode::out_of_range, "the queue is full: wait() before the next submit()");
    // Checks the request here, not in wait(), so that the caller gets the same errors as with io_uring.
    requests_.emplace_back(std::move(file), offset, into, token);
  }

  // Nothing can be sent ahead: each pread() blocks the thread that calls wait().
  void flush() override {}

  DirectCompletion wait() override {
    if (requests_.empty()) throw Error(ErrorCode::out_of_range, "nothing is in flight");
    // Taken out before it is read: a request that throws is not in flight any more.
    DirectRequest request = requests_.front();
    requests_.pop_front();
    auto step = DirectRequest::Step::again;
    while (step == DirectRequest::Step::again)
      // A short read leaves a rest, which the next pread() continues. stats_ counts as io_uring's queue does.
      step = request.settle(sys::pread(request.handle(), request.offset(), request.rest()), stats_);
    return request.completion();
  }

  [[nodiscard]] unsigned in_flight() const noexcept override { return static_cast<unsigned>(requests_.size()); }
  [[nodiscard]] bool is_asynchronous() const noexcept override { return false; }
  [[nodiscard]] const std::string& reason() const noexcept override { return reason_; }
  [[nodiscard]] const DirectStats& stats() const noexcept override { return stats_; }

 private:
  DirectSetup setup_;
  std::string reason_;
  DirectStats stats_;
  std::deque<DirectRequest> requests_;
};

}  // namespace

std::unique_ptr<DirectQueue> open_pread_queue(DirectSetup setup, std::string reason) {
  return std::make_unique<PreadQueue>(std::move(setup), std::move(reason));
}

}  // namespace heft::mmap
