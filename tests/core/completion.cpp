#include "heft/completion.hpp"

#include <exception>
#include <stdexcept>
#include <string>
#include <thread>
#include <type_traits>
#include <utility>
#include <vector>

#include <doctest/doctest.h>

#include "heft/error.hpp"

using heft::Completion;
using heft::Error;
using heft::ErrorCode;

namespace {

// The reports of a completion, in order: "" for a success.
struct Reports {
  std::vector<std::exception_ptr> failures;

  Completion completion() {
    return {this, [](void* context, std::exception_ptr failure) noexcept {
              static_cast<Reports*>(context)->failures.push_back(std::move(failure));
            }};
  }
  [[nodiscard]] ErrorCode code(std::size_t at) const {
    try {
      std::rethrow_exception(failures.at(at));
    } catch (const Error& error) {
      return error.code();
    }
  }
};

static_assert(!std::is_copy_constructible_v<Completion> && !std::is_copy_assignable_v<Completion>);
static_assert(std::is_nothrow_move_constructible_v<Completion> && std::is_nothrow_move_assignable_v<Completion>);
static_assert(!std::is_default_constructible_v<Completion>);

}  // namespace

TEST_CASE("completion: succeed() reports no failure, once") {
  Reports reports;
  {
    Completion completion = reports.completion();
    completion.succeed();
    CHECK(reports.failures.size() == 1);
    completion.succeed();
    completion.fail(std::make_exception_ptr(std::runtime_error("late")));
  }
  CHECK(reports.failures == std::vector<std::exception_ptr>{nullptr});
}

TEST_CASE("completion: fail() passes the exception itself, once") {
  Reports reports;
  const auto failure = std::make_exception_ptr(std::runtime_error("no such bucket"));
  {
    Completion completion = reports.completion();
    completion.fail(failure);
    completion.succeed();
  }
  CHECK(reports.failures == std::vector{failure});
}

TEST_CASE("completion: fail() without an exception is a failure and no success") {
  Reports reports;
  reports.completion().fail(nullptr);
  REQUIRE(reports.failures.size() == 1);
  CHECK(reports.code(0) == ErrorCode::io);
}

TEST_CASE("completion: the destructor of one that was not reported fails the request") {
  Reports reports;
  { const Completion completion = reports.completion(); }
  REQUIRE(reports.failures.size() == 1);
  CHECK(reports.code(0) == ErrorCode::io);
}

TEST_CASE("completion: a move takes the duty to report along") {
  Reports reports;
  {
    Completion first = reports.completion();
    Completion second = std::move(first);
    first.succeed();  // NOLINT(bugprone-use-after-move): it is empty
    CHECK(reports.failures.empty());
    second.succeed();
  }
  CHECK(reports.failures == std::vector<std::exception_ptr>{nullptr});
}

TEST_CASE("completion: assignment drops the request that was held before") {
  Reports replaced;
  Reports kept;
  {
    Completion completion = replaced.completion();
    completion = kept.completion();
    REQUIRE(replaced.failures.size() == 1);
    CHECK(replaced.code(0) == ErrorCode::io);
    Completion& itself = completion;
    completion = std::move(itself);
    CHECK(kept.failures.empty());
    completion.succeed();
  }
  CHECK(kept.failures == std::vector<std::exception_ptr>{nullptr});
}

TEST_CASE("completion: another thread may report") {
  Reports reports;
  std::thread([completion = reports.completion()]() mutable { completion.succeed(); }).join();
  CHECK(reports.failures == std::vector<std::exception_ptr>{nullptr});
}
