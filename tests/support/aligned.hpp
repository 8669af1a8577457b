// Memory aligned to 4096 bytes, as direct reads require.
#pragma once

#include <cstddef>
#include <cstdlib>
#include <memory>
#include <new>
#include <span>
#include <string>

namespace heft::test {

/// `size` bytes of zeros. Movable.
class Aligned {
 public:
  explicit Aligned(std::size_t size) : size_(size), memory_(static_cast<std::byte*>(::operator new(size, alignment))) {
    for (std::byte& byte : span()) byte = std::byte{0};
  }
  [[nodiscard]] std::span<std::byte> span() const noexcept { return {memory_.get(), size_}; }
  [[nodiscard]] std::string text() const { return {reinterpret_cast<const char*>(memory_.get()), size_}; }

 private:
  static constexpr std::align_val_t alignment{4096};
  struct Free {
    void operator()(std::byte* memory) const noexcept { ::operator delete(memory, alignment); }
  };
  std::size_t size_;
  std::unique_ptr<std::byte, Free> memory_;
};

}  // namespace heft::test
