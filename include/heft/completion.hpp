// heft/completion.hpp: the report of one asynchronous request: it succeeded, or it failed and why.
#pragma once

#include <exception>
#include <utility>

#include "heft/export.hpp"

namespace heft {

/// The end of one request that a ByteSource or a Destination took. It is reported exactly once: by succeed(), by
/// fail(), or by the destructor, which fails the request with Error{io}. So a request that its owner forgets fails the
/// load, and the load never waits for it forever.
///
/// Report it from any thread, also before the call that took the request returns. A report only queues: it takes a lock
/// for a moment, runs no code of the caller's, and may be made under locks of the reporter's own.
///
/// Move-only. The moved-from object, and one that has reported, is empty: its members do nothing. One thread at a time.
///
/// Example:
///   struct Reply {
///     heft::Completion completion;
///     // The client library calls this on a thread of its own.
///     void on_end(std::exception_ptr failure) { failure ? completion.fail(failure) : completion.succeed(); }
///   };
class HEFT_API Completion {
 public:
  /// Receives the report. `failure` is null when the request succeeded. It is called once, on the thread that reports,
  /// and must not throw. The signature is that of a C callback with a context.
  using Report = void (*)(void* context, std::exception_ptr failure) noexcept;

  /// Requires that `context` lives until the report, and that `report` is not null.
  Completion(void* context, Report report) noexcept : context_(context), report_(report) {}
  Completion(Completion&& other) noexcept
      : context_(std::exchange(other.context_, nullptr)), report_(std::exchange(other.report_, nullptr)) {}
  /// Reports the request that this object held before as dropped.
  Completion& operator=(Completion&& other) noexcept;
  /// Fails the request with Error{io} unless it has been reported.
  ~Completion();

  /// Reports that the request is done: all bytes of a read are in memory, or those of a write are taken.
  void succeed() noexcept;
  /// Reports that the request failed. The load ends with the first failure. An Error gets path, tensor and offset of
  /// the request's first byte in its file, unless it has them; no offset where a write contains converted or gathered
  /// elements. A null `failure` counts as Error{io}.
  void fail(std::exception_ptr failure) noexcept;

 private:
  void drop() noexcept;

  void* context_;
  Report report_;
};

}  // namespace heft
