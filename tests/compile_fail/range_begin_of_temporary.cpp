// An iterator into a range that dies at the semicolon would dangle; a loop over one keeps it alive.
// expect: deleted (member )?function
#include <heft/checkpoint.hpp>

std::uint64_t bytes_of_first(const heft::Checkpoint& checkpoint) {
#ifdef MUST_FAIL
  const auto at = checkpoint.tensors().begin();
#else
  const heft::TensorRange range = checkpoint.tensors();
  const auto at = range.begin();
#endif
  return (*at).size_bytes();
}
