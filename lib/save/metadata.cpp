#include "save/metadata.hpp"

#include <algorithm>
#include <utility>

#include "record/record_access.hpp"
#include "record/scalar.hpp"

namespace heft::writer {
namespace {

using format::MetadataValue;
using format::NodeKind;

// Returns the node of an integer that fits 64 bits, else a null node.
format::Node integer_node(const format::Node& stored) {
  format::Node node;
  const auto whole = record::integer_of(stored);
  if (!whole) return node;
  node.dtype = stored.dtype;
  node.kind = whole->negative || whole->magnitude <= INT64_MAX ? NodeKind::integer : NodeKind::unsigned_integer;
  // Two's complement: the negation of the magnitude, also of 2^63, which no signed integer holds.
  node.unsigned_integer = whole->negative ? ~whole->magnitude + 1 : whole->magnitude;
  return node;
}

MetadataValue value_of(const Record& record) {
  MetadataValue value;
  const auto node = record::RecordAccess::node(record);
  switch (record.kind()) {
    case RecordKind::list:
      value.node.kind = NodeKind::list;
      value.node.count = static_cast<std::uint32_t>(record.size());
      // Items are made when the writer asks: a list may have millions, and most writers keep none. The copy of the
      // record keeps its checkpoint.
      value.item = [record](std::size_t position) { return value_of(record.child(position)); };
      return value;
    case RecordKind::integer: return {.node = integer_node(*node)};
    case RecordKind::boolean:
    case RecordKind::real:
    case RecordKind::text: return {.node = *node};
    // Null: no format keeps maps and bytes, and the writer notes that they are left out.
    default: return value;
  }
}

}  // namespace

format::MetadataToWrite metadata_of(std::span<const SaveItem> items, const SaveOptions& options) {
  format::MetadataToWrite metadata{.kept = {}, .added = options.metadata};
  const Record& kept = options.keep_metadata;
  for (std::size_t i = 0; i < kept.size(); ++i) metadata.kept.emplace_back(kept.key(i), value_of(kept.child(i)));
  metadata.converted = std::ranges::any_of(items, [](const SaveItem& item) { return item.dtype != item.view.dtype(); });
  return metadata;
}

}  // namespace heft::writer
