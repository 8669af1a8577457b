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
#include "format/common_dtype.hpp"
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
using format::NumberKind;

// Throws an Error with the path of the checkpoint and of the record.
[[noreturn]] void fail(const Record& record, ErrorCode code, std::string message) {
  const record::State* state = record::RecordAccess::state(record);
  throw Error(code, std::move(message),
              {.path = state == nullptr ? std::string() : state->path, .tensor = record.path()});
}

// Returns the kind of a number; `other` for anything else.
NumberKind kind_of(const Node& node) noexcept {
  switch (node.kind) {
    case NodeKind::boolean: return NumberKind::boolean;
    case NodeKind::integer: return NumberKind::integer;
    case NodeKind::unsigned_integer: return NumberKind::unsigned_integer;
    case NodeKind::real: return NumberKind::real64;
    default: return NumberKind::other;
  }
}

// Returns the dtype. Throws the errors of CommonDType::require() with the record's path.
DType required(const Record& record, const format::CommonDType& common) {
  try {
    return common.require();
  } catch (const Error& error) {
    fail(record, error.code(), error.message());
  }
}

// The nodes of a list and their catalog.
struct Items {
  const Record& record;
  const format::Catalog& catalog;
  Node list;

  [[nodiscard]] Node operator[](std::uint64_t position) const { return catalog.node(catalog.child(list, position)); }
};

// Returns the dtype of all items: the one that the format declares for them, else their common one.
DType common_dtype(const Items& items) {
  format::CommonDType common;
  const DType declared = items.list.count == 0 ? DType::unknown : items[0].dtype;
  for (std::uint64_t i = 0; i < items.list.count; ++i) {
    const Node node = items[i];
    const NumberKind kind = kind_of(node);
    // A number over 64 bits has bytes.
    if (kind == NumberKind::integer && node.count != 0)
      fail(items.record, ErrorCode::out_of_range, fmt::format("expected integers of 64 bits, item {} is longer", i));
    if (kind == NumberKind::other || node.dtype != declared)
      fail(items.record, ErrorCode::type_mismatch,
           fmt::format("expected a list of numbers of one kind, item {} is another", i));
    common.add(kind, node.unsigned_integer);
  }
  return declared != DType::unknown ? declared : required(items.record, common);
}

// Writes the number of `node` at `to` as `dtype`, in the host's byte order.
void put(const Node& node, DType dtype, std::byte* to) noexcept {
  const std::size_t width = info(dtype).block_bytes;
  if (dtype == DType::f32) {
    const auto value = static_cast<float>(node.real);
    std::memcpy(to, &value, width);
  } else if (dtype == DType::f64) {
    const double value = node.kind == NodeKind::real ? node.real : static_cast<double>(node.integer);
    std::memcpy(to, &value, width);
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
  const auto first = static_cast<std::uint32_t>(items.list.first);
  // The list is registered, and lists are sorted by their first element.
  return std::ranges::lower_bound(items.catalog.packed, first, {}, &format::PackedList::first)->elements;
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
    static_cast<void>(required(*this, stored->numbers()->dtype()));
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
