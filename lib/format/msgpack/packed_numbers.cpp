#include "format/msgpack/packed_numbers.hpp"

#include <bit>
#include <utility>

namespace heft::format {
namespace {

// Numbers between two places, few enough to step over for each access of an element.
constexpr std::uint64_t place_step = 64;

// Returns the element type of a list without a declared one.
DType dtype_of(const NumberSteps& steps) noexcept {
  switch (steps.kind) {
    case NumberKind::boolean: return DType::boolean;
    case NumberKind::real32: return DType::f32;
    case NumberKind::real64: return DType::f64;
    default: return steps.over_i64 ? DType::u64 : DType::i64;
  }
}

// Returns the number as a node: reals of 32 bits become doubles, which is exact.
Node node_of(NumberHead head, const std::byte* at) noexcept {
  Node node;
  const std::uint64_t bits = number_bits(head, at);
  switch (head.kind) {
    case NumberKind::boolean:
      node.kind = NodeKind::boolean;
      node.unsigned_integer = bits;
      break;
    case NumberKind::real32:
      node.kind = NodeKind::real;
      node.real = std::bit_cast<float>(static_cast<std::uint32_t>(bits));
      break;
    case NumberKind::real64:
      node.kind = NodeKind::real;
      node.real = std::bit_cast<double>(bits);
      break;
    default:
      // The kind is `unsigned_integer` only for values that an i64 cannot hold, as Node requires.
      node.kind = head.kind == NumberKind::unsigned_integer && bits > INT64_MAX ? NodeKind::unsigned_integer
                                                                                : NodeKind::integer;
      node.unsigned_integer = bits;
  }
  return node;
}

}  // namespace

PackedNumbers::PackedNumbers(NumberSteps steps, SpelledNumbers spelled) : spelled_(std::move(spelled)) {
  // The copy grew by doubling, and it lives as long as the checkpoint.
  spelled_.bytes.shrink_to_fit();
  // Marks of the steps are 4096 numbers apart, too far for one element, so closer places are recorded.
  if (steps.stride == 0) {
    std::uint64_t at = 0;
    for (std::uint64_t number = 0; number < steps.count; ++number) {
      if (number % place_step == 0) places_.push_back(at);
      at += std::uint64_t{1} + number_head(spelled_.bytes[at]).width;
    }
  }
  spelled_.charge.add(places_.size() * sizeof(std::uint64_t) + steps.table_bytes());
  const DType dtype = dtype_of(steps);
  // Offsets were those in the file; now they are those in the copy.
  steps.move_to(0);
  auto lists = std::make_shared<NumberLists>();
  lists->add(std::move(steps), dtype);
  lists_ = std::move(lists);
}

Node PackedNumbers::element(std::uint32_t index) const noexcept {
  const std::uint32_t stride = lists_->lists()[0].steps.stride;
  // With one width the place is computed, else at most place_step - 1 numbers are stepped over.
  std::uint64_t at = stride != 0 ? std::uint64_t{index} * stride : places_[index / place_step];
  for (std::uint64_t left = stride != 0 ? 0 : index % place_step; left > 0; --left)
    at += std::uint64_t{1} + number_head(spelled_.bytes[at]).width;
  return node_of(number_head(spelled_.bytes[at]), spelled_.bytes.data() + at);
}

std::uint64_t PackedNumbers::table_bytes() const noexcept {
  return sizeof *this + spelled_.bytes.capacity() + places_.capacity() * sizeof(std::uint64_t) + lists_->table_bytes();
}

}  // namespace heft::format
