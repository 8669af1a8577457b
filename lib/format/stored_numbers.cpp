#include "format/stored_numbers.hpp"

#include <bit>

#include "heft/error.hpp"

namespace heft::format {
namespace {

Node node_of(const SpelledNumber& number) noexcept {
  Node node;
  switch (number.kind) {
    case NumberKind::boolean: node.kind = NodeKind::boolean; break;
    // Widened, which is exact.
    case NumberKind::real32:
      node.kind = NodeKind::real;
      node.real = std::bit_cast<float>(static_cast<std::uint32_t>(number.bits));
      return node;
    case NumberKind::real64:
      node.kind = NodeKind::real;
      node.real = std::bit_cast<double>(number.bits);
      return node;
    case NumberKind::unsigned_integer: node.kind = NodeKind::unsigned_integer; break;
    default: node.kind = NodeKind::integer;
  }
  node.unsigned_integer = number.bits;
  return node;
}

}  // namespace

std::shared_ptr<const NumberBytes> number_bytes(Catalog& catalog, const core::Input& input) {
  if (const Bytes memory = input.in_memory(); !memory.empty()) return std::make_shared<NumberBytes>(memory);
  if (!catalog.file_numbers) catalog.file_numbers = std::make_shared<NumberBytes>();
  return catalog.file_numbers;
}

std::vector<Node> nodes_of(Spelling spelling, std::span<const std::byte> bytes, std::uint64_t offset,
                           std::uint64_t count) {
  std::vector<Node> nodes;
  nodes.reserve(static_cast<std::size_t>(count));
  std::size_t at = 0;
  for (; nodes.size() < count && at < bytes.size();) {
    const SpelledNumber number = spelled_number(spelling, bytes.subspan(at));
    if (number.kind == NumberKind::other || number.size > bytes.size() - at) break;
    nodes.push_back(node_of(number));
    at += number.size;
  }
  if (nodes.size() == count && at == bytes.size()) return nodes;
  throw Error(ErrorCode::changed_on_disk,
              "a list of numbers: expected the numbers that it had when the file was opened, found others",
              {.offset = offset + at});
}

Node NumberBytes::element(const SegmentedNumbers& numbers, std::uint64_t base, std::uint64_t number) const {
  const std::size_t wanted = numbers.segment_of(number);
  const NumberSegment& segment = numbers.segments()[wanted];
  const std::lock_guard lock(mutex_);
  if (list_ != &numbers || segment_ != wanted) {
    const std::uint64_t offset = base + segment.begin;
    // Unset first: a failure leaves no nodes of another segment behind.
    list_ = nullptr;
    if (!file_ && memory_.empty()) throw Error(ErrorCode::io, "a list of numbers: its file is not open");
    const Bytes bytes = file_ ? file_->read(offset, segment.size) : memory_.subrange(offset, segment.size);
    nodes_ = nodes_of(numbers.spelling(), bytes.span(), offset, numbers.count_of(wanted));
    segment_ = wanted;
    list_ = &numbers;
  }
  return nodes_[static_cast<std::size_t>(number - segment.first)];
}

std::uint64_t StoredNumbers::table_bytes() const noexcept {
  return sizeof *this + sizeof *numbers_ + numbers_->segments().capacity() * sizeof(NumberSegment);
}

}  // namespace heft::format
