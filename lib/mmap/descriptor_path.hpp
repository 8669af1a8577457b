// mmap/descriptor_path.hpp: the name of an open file in /proc.
#pragma once

#include <array>

namespace heft::mmap {

/// /proc/self/fd/N, which leads to the open file also when its own path leads to another, or nowhere.
class DescriptorPath {
 public:
  explicit DescriptorPath(int handle) noexcept;
  [[nodiscard]] const char* c_str() const noexcept { return text_.data(); }

 private:
  std::array<char, 32> text_;
};

}  // namespace heft::mmap
