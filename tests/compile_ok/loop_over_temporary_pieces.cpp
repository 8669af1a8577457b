// A loop keeps the pieces that a temporary view returns.
#include <heft/checkpoint.hpp>

std::uint64_t bytes_of_pieces(const char* path) {
  std::uint64_t bytes = 0;
  for (const heft::Piece& piece : heft::open(path).tensor("embedding").pieces()) bytes += piece.part.size_bytes();
  return bytes;
}
