// A loop keeps the range, and the range the checkpoint.
#include <heft/checkpoint.hpp>

std::uint64_t bytes_of(const char* path) {
  std::uint64_t bytes = 0;
  for (const heft::TensorView& tensor : heft::open(path).tensors("*.weight")) bytes += tensor.size_bytes();
  return bytes;
}
