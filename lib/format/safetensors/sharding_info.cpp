#include "format/safetensors/sharding_info.hpp"

#include <algorithm>
#include <string>

#include <fmt/format.h>

#include "core/checked.hpp"
#include "format/json/reader.hpp"
#include "heft/error.hpp"

namespace heft::format {
namespace {

constexpr std::string_view key = "DCP_SHARDING_INFO";
constexpr std::uint64_t max_offset = INT64_MAX;

/// The text of that key in the metadata.
std::optional<std::string_view> text_of(const Catalog& catalog) {
  if (catalog.metadata == none) return {};
  const Node& map = catalog.nodes[catalog.metadata];
  for (std::uint32_t pair = 0; map.kind == NodeKind::map && pair < map.count; ++pair) {
    const Node name = catalog.node(catalog.child(map, 2 * std::uint64_t{pair}));
    const Node value = catalog.node(catalog.child(map, 2 * std::uint64_t{pair} + 1));
    if (name.kind == NodeKind::text && value.kind == NodeKind::text && std::string_view(name.text, name.count) == key)
      return std::string_view(value.text, value.count);
  }
  return {};
}

// Reads one offset of a box in the whole tensor, in elements.
std::int64_t offset_from(json::Document& document, json::Value& value) {
  const char* const at = value.at();
  const std::uint64_t offset = value.unsigned_integer("saved_offsets");
  if (offset > max_offset)
    document.fail(ErrorCode::corrupt, fmt::format("saved_offsets: {} is no place in a tensor", offset), at);
  return static_cast<std::int64_t>(offset);
}

}  // namespace

std::optional<ShardingInfo> ShardingInfo::of(const Catalog& catalog, const Limits& limits) {
  const auto text = text_of(catalog);
  if (!text) return {};
  ShardingInfo info;
  try {
    // The JSON is a string inside the header's JSON: its offsets are not those of the file, so errors name the key.
    info.read(*text, limits);
  } catch (const Error& error) {
    throw Error(error.code(), fmt::format("{}: {}", key, error.message()), {.offset = 0});
  }
  return info;
}

void ShardingInfo::read(std::string_view text, const Limits& limits) {
  // The text is owned by the catalog, which outlives the document, so these bytes have no owner.
  json::Document document(Bytes(std::as_bytes(std::span(text)), nullptr), 0, limits);
  document.members([&](const json::Key& name, json::Value& tensor) {
    core::require_limit(ends_.size() + 1, limits.tensors, "the number of tensors", "tensors");
    if (!names_.add(arena_.store(name.text)).fresh)
      document.fail(ErrorCode::ambiguous, "the name occurs twice", name.at);
    tensor.members("a tensor", [&](const json::Key& member, json::Value& value) {
      if (!member.is("saved_offsets")) return value.skip("an unknown member");
      value.elements("saved_offsets", [&](json::Value& offset) { offsets_.push_back(offset_from(document, offset)); });
    });
    // Offsets of all tensors lie in one table, and each tensor has the end of its part.
    ends_.push_back(offsets_.size());
  });
}

std::span<const std::int64_t> ShardingInfo::offsets(std::string_view tensor, std::size_t rank) const {
  const auto found = names_.find(tensor);
  // The part of a tensor starts where that of the one before it ends.
  const std::size_t begin = !found || *found == 0 ? 0 : ends_[*found - 1];
  if (!found || ends_[*found] - begin != rank)
    throw Error(ErrorCode::corrupt, fmt::format("{}: expected {} saved_offsets of this tensor", key, rank),
                {.tensor = std::string(tensor), .offset = 0});
  return std::span(offsets_).subspan(begin, rank);
}

bool ShardingInfo::begins_at_zero() const noexcept {
  return std::ranges::all_of(offsets_, [](std::int64_t offset) { return offset == 0; });
}

}  // namespace heft::format
