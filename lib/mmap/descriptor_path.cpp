#include "mmap/descriptor_path.hpp"

#include <charconv>
#include <string_view>

namespace heft::mmap {

DescriptorPath::DescriptorPath(int handle) noexcept : text_{} {
  constexpr std::string_view folder = "/proc/self/fd/";
  char* const number = text_.data() + folder.copy(text_.data(), folder.size());
  // text_ has room for every int; its last byte stays 0 and ends the text.
  std::to_chars(number, text_.data() + text_.size() - 1, handle);
}

}  // namespace heft::mmap
