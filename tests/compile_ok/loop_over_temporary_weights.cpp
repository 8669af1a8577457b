// A loop keeps the Weights, and the Weights their tensors.
#include <heft/heft.hpp>

std::uint64_t bytes_of(const heft::LoadPlan& plan) {
  std::uint64_t bytes = 0;
  for (const heft::Tensor& tensor : heft::materialize(plan)) bytes += tensor.size_bytes();
  for (const heft::Tensor& tensor : heft::stream(plan)) bytes += tensor.size_bytes();
  return bytes;
}
