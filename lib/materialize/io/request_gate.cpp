#include "materialize/io/request_gate.hpp"

#include <algorithm>
#include <utility>

namespace heft::engine {

RequestGate::RequestGate(const Schedule& schedule)
    : schedule_(schedule), in_flight_(schedule.transfers->sources.size()) {
  // Sources that are files have limits too, which are never reached: indices stay those of the schedule.
  for (const auto& source : schedule.transfers->sources) {
    limits_.push_back(source->request_limits());
    max_in_flight_ = std::max(max_in_flight_, limits_.back().max_in_flight);
  }
}

bool RequestGate::admits(SourceIndex source) const noexcept {
  return all_in_flight_ < max_in_flight_ && in_flight_[position(source)] < limits_[position(source)].max_in_flight;
}

bool RequestGate::enter(Request& request) {
  std::unique_lock lock(mutex_);
  // A failure of this worker ends the wait: its load is over, and the report that it waits for may never come.
  changed_.wait(lock, [&] { return stopped_ || request.of->failed != nullptr || admits(request.source); });
  if (stopped_ || request.of->failed != nullptr) return false;
  ++all_in_flight_;
  ++in_flight_[position(request.source)];
  // Counted before the request is sent: its report may come before send() returns.
  ++request.of->outstanding;
  ++*request.left;
  bytes_ += limits_[position(request.source)].bytes_per_request;
  peak_bytes_ = std::max(peak_bytes_, bytes_);
  return true;
}

void RequestGate::send(Request& request, std::span<std::byte> into) {
  // The request keeps the gate for its report, which may come after the load has ended.
  request.gate = shared_from_this();
  try {
    schedule_.source(request.source)
        .read_async({.offset = request.range.begin, .into = into}, stop_.get_token(), Completion(&request, &report));
  } catch (...) {
    // The completion may have been destroyed with the exception, or wait on another thread: the exception is the
    // failure.
    const std::scoped_lock lock(mutex_);
    request.failure = std::current_exception();
    if (request.of->failed == nullptr) request.of->failed = &request;
  }
}

// The worker may go on, and the load end, as soon as the request is counted out.
void RequestGate::report(void* context, std::exception_ptr failure) noexcept {
  Request& request = *static_cast<Request*>(context);
  // A copy, since the request may be destroyed as soon as it is counted out.
  const std::shared_ptr<RequestGate> gate = request.gate;
  const std::scoped_lock lock(gate->mutex_);
  if (failure && !request.failure) request.failure = std::move(failure);
  if (request.failure && request.of->failed == nullptr) request.of->failed = &request;
  --gate->all_in_flight_;
  --gate->in_flight_[position(request.source)];
  --request.of->outstanding;
  // Last of the request's own fields: its worker may destroy it when the lock is released.
  --*request.left;
  gate->bytes_ -= gate->limits_[position(request.source)].bytes_per_request;
  // All waiters: those for room, and the worker whose bytes are complete.
  gate->changed_.notify_all();
}

bool RequestGate::await(const Requests& requests, const std::size_t& left) {
  std::unique_lock lock(mutex_);
  changed_.wait(lock, [&] { return stopped_ || requests.failed != nullptr || left == 0; });
  return !stopped_ && requests.failed == nullptr;
}

bool RequestGate::has_outstanding(const Requests& requests) const noexcept {
  const std::scoped_lock lock(mutex_);
  return requests.outstanding != 0;
}

void RequestGate::await_all(const Requests& requests) noexcept {
  std::unique_lock lock(mutex_);
  changed_.wait(lock, [&] { return requests.outstanding == 0; });
}

const RequestGate::Request* RequestGate::failure(const Requests& requests) const noexcept {
  const std::scoped_lock lock(mutex_);
  return requests.failed;
}

// A stop request runs callbacks of the sources, which may report: not under the lock.
void RequestGate::stop() noexcept {
  {
    const std::scoped_lock lock(mutex_);
    stopped_ = true;
    changed_.notify_all();
  }
  stop_.request_stop();
}

std::uint64_t RequestGate::peak_bytes() const noexcept {
  const std::scoped_lock lock(mutex_);
  return peak_bytes_;
}

}  // namespace heft::engine
