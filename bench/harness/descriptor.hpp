// bench/harness/descriptor.hpp: an open file.
#pragma once

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <filesystem>
#include <stdexcept>

namespace bench {

class Descriptor {
 public:
  /// `flags` are added to O_RDONLY. Throws std::runtime_error.
  explicit Descriptor(const std::filesystem::path& path, int flags = 0)
      : number_(::open(path.c_str(), O_RDONLY | O_CLOEXEC | flags)) {
    if (number_ < 0) throw std::runtime_error("open(\"" + path.string() + "\"): " + std::strerror(errno));
  }
  ~Descriptor() { ::close(number_); }
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;
  [[nodiscard]] int number() const noexcept { return number_; }

 private:
  int number_;
};

}  // namespace bench
