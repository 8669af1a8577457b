// materialize/io/request_gate.hpp: the requests in flight to the sources of one load, of all workers together.
#pragma once

#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <exception>
#include <memory>
#include <mutex>
#include <stop_token>
#include <vector>

#include "heft/completion.hpp"
#include "materialize/schedule.hpp"

namespace heft::engine {

/// Admits requests while each source has fewer than its maximum in flight, and the load fewer than the largest of
/// these; wakes the workers that wait for one to end.
///
/// Threads: all members may be called from any thread. A completion may outlast the load by the time that it takes to
/// notify: it keeps the gate, and the gate keeps nothing.
class RequestGate : public std::enable_shared_from_this<RequestGate> {
 public:
  struct Request;
  /// The requests of one worker.
  struct Requests {
    std::size_t outstanding = 0;
    Request* failed = nullptr;  ///< The first that failed.
  };
  /// One request, which the worker keeps until it has ended.
  struct Request {
    std::shared_ptr<RequestGate> gate;
    Requests* of = nullptr;
    SourceIndex source = {};
    Range range;                  ///< Of the source.
    std::size_t* left = nullptr;  ///< Counts the requests that its bytes still wait for.
    std::exception_ptr failure = {};
  };

  /// `schedule` outlives the last send().
  explicit RequestGate(const Schedule& schedule);

  /// Waits until the request is admitted, and counts it. Returns false, without counting it, once a request of the same
  /// worker has failed, or after stop().
  [[nodiscard]] bool enter(Request& request);
  /// Makes the request to its source, to fill `into`. Requires enter().
  void send(Request& request, std::span<std::byte> into);
  /// Waits until `left` is 0. Returns false once a request of the worker has failed, or after stop().
  [[nodiscard]] bool await(const Requests& requests, const std::size_t& left);
  /// Returns true while requests of a worker are in flight.
  [[nodiscard]] bool has_outstanding(const Requests& requests) const noexcept;
  /// Waits for the end of all requests of a worker, however they end.
  void await_all(const Requests& requests) noexcept;
  /// Returns the failure of the worker's first request that failed, with its bytes; null if there is none.
  [[nodiscard]] const Request* failure(const Requests& requests) const noexcept;

  /// Admits no more requests, gives those in flight a stop request, and ends the waiting.
  void stop() noexcept;
  /// Returns the memory that the sources stated for the requests that were in flight at once, at most. In bytes.
  [[nodiscard]] std::uint64_t peak_bytes() const noexcept;

 private:
  static void report(void* context, std::exception_ptr failure) noexcept;
  [[nodiscard]] bool admits(SourceIndex source) const noexcept;

  // Not owned, and not used by a report: a completion must not destroy the source that makes it.
  const Schedule& schedule_;
  std::vector<record::RequestLimits> limits_;  // of each source
  unsigned max_in_flight_ = 1;                 // of the load
  std::stop_source stop_;
  mutable std::mutex mutex_;
  std::condition_variable changed_;
  std::vector<unsigned> in_flight_;  // of each source
  unsigned all_in_flight_ = 0;
  std::uint64_t bytes_ = 0;
  std::uint64_t peak_bytes_ = 0;
  bool stopped_ = false;
};

}  // namespace heft::engine
