// The number of open descriptors of this process, and its limit.
#pragma once

#include <doctest/doctest.h>
#include <sys/resource.h>

#include <cstddef>
#include <filesystem>
#include <iterator>

namespace heft::test {

[[nodiscard]] inline std::size_t open_descriptors() {
  const std::filesystem::directory_iterator entries("/proc/self/fd");
  return static_cast<std::size_t>(std::distance(begin(entries), end(entries))) - 1;  // without the one of the listing
}

/// Sets the soft RLIMIT_NOFILE until it is destroyed.
class DescriptorLimit {
 public:
  explicit DescriptorLimit(::rlim_t limit) {
    REQUIRE(::getrlimit(RLIMIT_NOFILE, &before_) == 0);
    const ::rlimit now{.rlim_cur = limit, .rlim_max = before_.rlim_max};
    REQUIRE(::setrlimit(RLIMIT_NOFILE, &now) == 0);
  }
  ~DescriptorLimit() { ::setrlimit(RLIMIT_NOFILE, &before_); }
  DescriptorLimit(const DescriptorLimit&) = delete;
  DescriptorLimit& operator=(const DescriptorLimit&) = delete;

 private:
  ::rlimit before_{};
};

}  // namespace heft::test
