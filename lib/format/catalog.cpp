#include "format/catalog.hpp"

#include <algorithm>
#include <utility>

#include <fmt/format.h>

#include "core/checked.hpp"
#include "format/archive/inflate.hpp"
#include "heft/error.hpp"

namespace heft::format {
namespace {

// Returns `size` as an index. Tables of a Catalog have 32-bit indices; only files read with raised Limits exceed them.
std::uint32_t next_index(std::size_t size, std::string_view table) {
  core::require_format_bound(size, none - 1, table);
  return static_cast<std::uint32_t>(size);
}

}  // namespace

void Catalog::set_dims(TensorEntry& entry, std::span<const std::int64_t> sizes, std::span<const std::int64_t> strides) {
  // TensorEntry stores the rank in 8 bits; Limits::rank can be raised beyond that.
  core::require_format_bound(sizes.size(), UINT8_MAX, "a tensor's rank");
  if (!strides.empty() && strides.size() != sizes.size())
    throw Error(ErrorCode::corrupt, "a tensor is expected to have as many strides as sizes",
                {.tensor = std::string(entry.name)});
  entry.dims = next_index(dims.size(), "the number of dims of all tensors");
  entry.rank = static_cast<std::uint8_t>(sizes.size());
  dims.insert(dims.end(), sizes.begin(), sizes.end());
  // Strides lie directly after the sizes, so one index finds both.
  if (strides.empty()) return;
  entry.flags |= strided;
  dims.insert(dims.end(), strides.begin(), strides.end());
}

void Catalog::set_unknown_dtype(TensorEntry& entry, std::string_view type_name) {
  entry.dtype = DType::unknown;
  entry.type_name = next_index(type_names.size(), "the number of names of dtypes");
  type_names.push_back(type_name);
}

std::span<const std::int64_t> Catalog::sizes(const TensorEntry& entry) const noexcept {
  return std::span(dims).subspan(entry.dims, entry.rank);
}

std::span<const std::int64_t> Catalog::strides(const TensorEntry& entry) const noexcept {
  if ((entry.flags & strided) == 0) return {};
  return std::span(dims).subspan(std::size_t{entry.dims} + entry.rank, entry.rank);
}

Node Catalog::node(std::uint32_t number) const {
  if (!is_packed(number)) return nodes[number];
  // The list with the last first number that is not over `number`. Ranges of packed lists follow each other without
  // gaps, so that list contains it.
  const auto next = std::ranges::upper_bound(packed, number, {}, &PackedList::first);
  const PackedList& list = *(next - 1);
  return list.elements->element(number - list.first);
}

std::string_view Catalog::detail_of(const Node& node) const noexcept {
  if (node.dtype != DType::unknown) return name(node.dtype);
  return node.word == 0 ? std::string_view() : words[node.word];
}

std::uint32_t Catalog::child(const Node& container, std::uint64_t position) const noexcept {
  // Elements of a packed list have consecutive numbers and no row in `children`.
  if ((container.first & packed_list) != 0) return static_cast<std::uint32_t>(container.first + position);
  return children[container.first + position];
}

const Node* Catalog::find_key(std::uint32_t map, std::string_view key) const noexcept {
  // Maps, their keys and their values are ordinary nodes; only elements of packed lists are not in `nodes`.
  if (map == none || nodes[map].kind != NodeKind::map) return nullptr;
  for (std::uint64_t pair = 0; pair < nodes[map].count; ++pair) {
    // A map's children alternate: key, value, key, value.
    const std::uint64_t at = nodes[map].first + 2 * pair;
    const Node& name = nodes[children[at]];
    if (name.kind == NodeKind::text && std::string_view(name.text, name.count) == key) return &nodes[children[at + 1]];
  }
  return nullptr;
}

Node Catalog::add_packed(std::shared_ptr<const PackedElements> elements, std::uint64_t count) {
  // Numbers from 2^31 on belong to packed lists, so that a number alone shows where the node is.
  const std::uint32_t first = packed.empty() ? first_packed : packed.back().first + packed.back().count;
  core::require_format_bound(count, none - first, "the number of elements of packed lists");
  Node list;
  list.kind = NodeKind::list;
  list.count = static_cast<std::uint32_t>(count);
  list.first = packed_list | first;
  // An empty list has no node of its own.
  if (count > 0) packed.push_back({first, list.count, std::move(elements)});
  return list;
}

std::uint32_t Catalog::add_deflated(Member member, std::uint64_t at) {
  // Deflate's best case is 258 bytes for 2 bits. A larger declared size is impossible, and would reserve memory in
  // vain. Divided, because the product can overflow.
  if (member.full_size / deflate_max_ratio > member.size)
    throw Error(ErrorCode::corrupt,
                fmt::format("zip record '{}': {} bytes cannot inflate to {}", core::escaped(member.name), member.size,
                            member.full_size),
                {.offset = at});
  const std::uint32_t index = next_index(members.size(), "the number of members");
  members.push_back(std::move(member));
  return index;
}

std::uint32_t Catalog::add_node(Node node) {
  const std::uint32_t index = next_index(nodes.size(), "the number of nodes");
  nodes.push_back(node);
  return index;
}

std::uint32_t Catalog::add_text(std::string_view text) {
  Node node;
  node.kind = NodeKind::text;
  node.count = next_index(text.size(), "bytes of a text");
  node.text = text.data();
  return add_node(node);
}

std::uint32_t Catalog::add_integer(std::int64_t value) {
  Node node;
  node.kind = NodeKind::integer;
  node.integer = value;
  return add_node(node);
}

std::uint32_t Catalog::add_container(NodeKind kind, std::span<const std::uint32_t> items, std::uint8_t word) {
  Node node;
  node.kind = kind;
  node.word = word;
  node.count = next_index(kind == NodeKind::map ? items.size() / 2 : items.size(), "the number of items");
  // The items must be complete: containers inside them have added their own children before.
  node.first = children.size();
  children.insert(children.end(), items.begin(), items.end());
  return add_node(node);
}

}  // namespace heft::format
