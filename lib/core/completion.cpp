#include "heft/completion.hpp"

#include "heft/error.hpp"

namespace heft {
namespace {

// The failure of a request that was reported without an exception; std::bad_alloc if memory for the Error is short.
std::exception_ptr nameless_failure(const char* sentence) noexcept {
  try {
    throw Error(ErrorCode::io, sentence);
  } catch (...) {
    return std::current_exception();
  }
}

}  // namespace

Completion& Completion::operator=(Completion&& other) noexcept {
  if (this == &other) return *this;
  // The request for which this object stood is failed first: its report must not be lost with the assignment.
  drop();
  context_ = std::exchange(other.context_, nullptr);
  report_ = std::exchange(other.report_, nullptr);
  return *this;
}

Completion::~Completion() { drop(); }

void Completion::succeed() noexcept {
  // Taken out before it runs, so that no second call and no destructor reports again.
  if (const Report report = std::exchange(report_, nullptr)) report(std::exchange(context_, nullptr), nullptr);
}

void Completion::fail(std::exception_ptr failure) noexcept {
  const Report report = std::exchange(report_, nullptr);
  if (report == nullptr) return;
  // A null exception would read as success.
  if (!failure) failure = nameless_failure("expected the failure of a request, found none: it failed without a reason");
  report(std::exchange(context_, nullptr), std::move(failure));
}

void Completion::drop() noexcept {
  if (report_ != nullptr)
    fail(nameless_failure("expected the end of a request to be reported, its completion was dropped"));
}

}  // namespace heft
