// record/numbers.cpp: Record::numbers(), which makes a view of a list of numbers in any encoding.
#include <algorithm>
#include <bit>
#include <cstring>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include <fmt/format.h>

#include "core/text.hpp"
#include "format/stored_numbers.hpp"
#include "heft/error.hpp"
#include "heft/record.hpp"
#include "record/record_access.hpp"
#include "record/state.hpp"
#include "record/tree.hpp"
#include "record/view_access.hpp"

namespace heft {
namespace {

using format::Node;
using format::NodeKind;

// Throws an Error with the path of the checkpoint and of the record.
[[noreturn]] void fail(const Record& record, ErrorCode code, std::string message) {
  const record::State* state = record::RecordAccess::state(record);
  throw Error(code, std::move(message),
              {.path = state == nullptr ? std::string() : state->path, .tensor = record.path()});
}

// Returns the dtype that the format declares for a number, else the widest of its kind.
DType dtype_of(const Node& node) noexcept {
  if (node.dtype != DType::unknown) return node.dtype;
  switch (node.kind) {
    case NodeKind::boolean: return DType::boolean;
    case NodeKind::integer: return node.count == 0 ? DType::i64 : DType::unknown;  // unknown: over 64 bits
    case NodeKind::unsigned_integer: return DType::u64;
    case NodeKind::real: return DType::f64;
    default: return DType::unknown;
  }
}

// Returns true for the kinds that have a dtype.
bool is_number(const Node& node) noexcept {
  return node.kind == NodeKind::boolean || node.kind == NodeKind::integer || node.kind == NodeKind::unsigned_integer ||
         node.kind == NodeKind::real;
}

// The nodes of a list and their catalog.
struct Items {
  const Record& record;
  const format::Catalog& catalog;
  Node list;

  [[nodiscard]] Node operator[](std::uint64_t position) const { return catalog.node(catalog.child(list, position)); }
};

// Returns the dtype of all items: i64 for plain integers, or u64 if one of them exceeds it.
DType common_dtype(const Items& items) {
  // An empty list has no type; f64 can hold any number that a caller expects.
  DType common = items.list.count == 0 ? DType::f64 : dtype_of(items[0]);
  bool negative = false;
  for (std::uint64_t i = 0; i < items.list.count; ++i) {
    const Node node = items[i];
    const DType dtype = dtype_of(node);
    negative = negative || (node.kind == NodeKind::integer && node.integer < 0);
    if (is_number(node) && dtype == DType::unknown)
      fail(items.record, ErrorCode::out_of_range, fmt::format("expected integers of 64 bits, item {} is longer", i));
    // An integer over INT64_MAX has the dtype u64 in a list whose others are i64, so the list becomes u64.
    const bool wide = (dtype == DType::u64 && common == DType::i64) || (dtype == DType::i64 && common == DType::u64);
    if (wide) common = DType::u64;
    if (!is_number(node) || (dtype != common && !wide))
      fail(items.record, ErrorCode::type_mismatch,
           fmt::format("expected a list of numbers of one kind, item {} is another", i));
  }
  // No dtype has both.
  if (common == DType::u64 && negative)
    fail(items.record, ErrorCode::out_of_range, "expected integers of 64 bits, with a sign or without");
  return common;
}

// Writes the number of `node` at `to` as `dtype`, in the host's byte order.
void put(const Node& node, DType dtype, std::byte* to) noexcept {
  const std::size_t width = info(dtype).block_bytes;
  if (dtype == DType::f32) {
    const auto value = static_cast<float>(node.real);
    std::memcpy(to, &value, width);
  } else if (dtype == DType::f64) {
    std::memcpy(to, &node.real, width);
  } else {
    for (std::size_t byte = 0; byte < width; ++byte)
      // Two's complement: the low bytes of the wide number are those of the narrow one.
      to[std::endian::native == std::endian::little ? byte : width - 1 - byte] =
          static_cast<std::byte>(node.unsigned_integer >> (8 * byte));
  }
}

// Returns the elements as packed memory.
Bytes gathered(const Items& items, DType dtype) {
  const std::size_t width = info(dtype).block_bytes;
  auto memory = std::make_shared<std::vector<std::byte>>(std::size_t{items.list.count} * width);
  for (std::uint64_t i = 0; i < items.list.count; ++i) put(items[i], dtype, memory->data() + i * width);
  const std::span<const std::byte> bytes(*memory);
  return {bytes, std::move(memory)};
}

// Returns the elements of a list in encoded form.
std::shared_ptr<const format::PackedElements> packed_elements(const Items& items) {
  if ((items.list.first & format::packed_list) == 0 || items.list.count == 0) return nullptr;
  const std::uint32_t first = static_cast<std::uint32_t>(items.list.first);
  // The list is registered, and lists are sorted by their first element.
  return std::ranges::lower_bound(items.catalog.packed, first, {}, &format::PackedList::first)->elements;
}

// Throws the errors of common_dtype() for a list that was stepped over.
void require_one_type(const Record& record, const format::SegmentedNumbers& numbers) {
  if (numbers.odd())
    fail(record, ErrorCode::type_mismatch,
         fmt::format("expected a list of numbers of one kind, item {} is another", *numbers.odd()));
  if (numbers.dtype() == DType::u64 && numbers.exceeds_types())
    fail(record, ErrorCode::out_of_range, "expected integers of 64 bits, with a sign or without");
}

// Returns a view of one dim over the whole of `source`, under the record's path.
TensorView view_of(const Record& record, std::shared_ptr<const record::Source> source, std::uint64_t size,
                   DType dtype) {
  const std::int64_t count[] = {static_cast<std::int64_t>(record.size())};
  ViewAccess::Parts parts;
  parts.source = std::move(source);
  parts.size = size;
  parts.sizes = count;
  parts.dtype = dtype;
  // Set for gathered memory too, so that the same calls work on a list in any encoding.
  parts.flags = format::spelled;
  TensorView view = ViewAccess::make(std::move(parts));
  auto name = std::make_shared<const std::string>(record.path());
  ViewAccess::set_name(view, *name, name);
  return view;
}

}  // namespace

TensorView Record::numbers() const {
  const auto place = record::RecordAccess::place(*this);
  if (kind() != RecordKind::list || !place) fail(*this, ErrorCode::type_mismatch, "expected a list of numbers");
  // Guessing f64 for "1" would lose integers over 2^53, and i64 would fail on "1.0" beside it.
  if (place->catalog->format.ends_with("json"))
    fail(*this, ErrorCode::type_mismatch, "expected numbers of a type, JSON's have none: read them one by one");
  const Items items{*this, *place->catalog, *record::RecordAccess::node(*this)};
  const std::shared_ptr<const format::PackedElements> elements = packed_elements(items);
  // Elements in encoded form stay as they are, and are gathered when they are read.
  if (const auto* stored = dynamic_cast<const format::StoredNumbers*>(elements.get())) {
    require_one_type(*this, *stored->numbers());
    auto lists = std::make_shared<format::NumberLists>();
    const format::NumberList& list = lists->add(stored->numbers(), stored->base());
    auto bytes = stored->memory().empty() ? place->source : record::memory_source(stored->memory(), place->source);
    return view_of(*this, record::number_source(std::move(bytes), lists), list.size, list.dtype);
  }
  const DType dtype = common_dtype(items);
  Bytes bytes = gathered(items, dtype);
  const std::uint64_t size = bytes.size_bytes();
  return view_of(*this, record::memory_source(std::move(bytes), place->source), size, dtype);
}

}  // namespace heft
