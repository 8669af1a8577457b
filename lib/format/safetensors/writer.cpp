// format/safetensors/writer.cpp: plans safetensors files; reader.cpp documents the layout.
//
// Tensors are in the order of the reference writer: by dtype, the largest elements first, then by name. So each is
// aligned to its element size without gaps, which the format forbids, and the file equals that of the reference except
// for the padding of the header: the reference pads it to a multiple of 8, heft to where the data starts at a multiple
// of 64, so that mapped tensors are aligned for vector loads.
#include <fmt/format.h>

#include <algorithm>
#include <iterator>
#include <numeric>
#include <optional>
#include <string_view>

#include "core/checked.hpp"
#include "core/endian.hpp"
#include "core/text.hpp"
#include "format/json/writer.hpp"
#include "format/range_checks.hpp"
#include "format/safetensors/layout.hpp"
#include "format/safetensors/writer.hpp"
#include "heft/error.hpp"

namespace heft::format {
namespace {

constexpr std::uint64_t data_alignment = 64;
constexpr std::string_view metadata_key = "__metadata__";

using safetensors::length_bytes;
using safetensors::reference_header_bytes;
using safetensors::TypeRow;
using safetensors::types;

// Returns the position in the table, which is the rank of the dtype in the order of writing.
std::size_t rank_of(const TensorDeclaration& tensor) {
  const auto row = std::ranges::find(types, tensor.dtype, &TypeRow::dtype);
  if (row == types.end())
    throw Error(ErrorCode::unsupported, fmt::format("safetensors has no dtype for {}", name(tensor.dtype)),
                {.tensor = tensor.name});
  return static_cast<std::size_t>(row - types.begin());
}

// Requires UTF-8, which JSON and the format demand. Bytes of other encodings are not replaced silently.
void require_text(std::string_view text, std::string_view what) {
  if (!core::is_utf8(text))
    throw Error(ErrorCode::unsupported,
                fmt::format("expected {} in UTF-8 as safetensors demands, found '{}'", what, core::escaped(text)));
}

// Requires names that the format can represent, each once.
void require_names(std::span<const TensorDeclaration> tensors) {
  std::vector<std::string_view> names;
  names.reserve(tensors.size());
  for (const TensorDeclaration& tensor : tensors) {
    require_text(tensor.name, "a name");
    // A tensor of this name would be read as metadata.
    if (tensor.name == metadata_key)
      throw Error(ErrorCode::unsupported, "safetensors keeps this name for its metadata; rename the tensor",
                  {.tensor = tensor.name});
    names.push_back(tensor.name);
  }
  if (const auto twice = duplicate(std::move(names)))
    throw Error(ErrorCode::ambiguous, "expected each name once, found it twice among the tensors to be written",
                {.tensor = std::string(*twice)});
}

// Returns the tensors' positions in the order of their data.
std::vector<std::uint32_t> writing_order(std::span<const TensorDeclaration> tensors) {
  std::vector<std::size_t> ranks;
  ranks.reserve(tensors.size());
  for (const TensorDeclaration& tensor : tensors) ranks.push_back(rank_of(tensor));
  std::vector<std::uint32_t> order(tensors.size());
  std::iota(order.begin(), order.end(), 0u);
  // Names are unique, so the order is total and equal tensors make equal files.
  std::ranges::sort(order, [&](std::uint32_t a, std::uint32_t b) {
    return ranks[a] != ranks[b] ? ranks[a] < ranks[b] : tensors[a].name < tensors[b].name;
  });
  return order;
}

// Appends the member __metadata__.
void append_metadata(std::string& header, const TextMetadata& metadata) {
  std::vector<std::string_view> keys;
  append_json_string(header, metadata_key);
  header += ":{";
  for (const auto& [key, value] : metadata) {
    require_text(key, "a metadata key");
    require_text(value, "a metadata value");
    if (!keys.empty()) header += ',';
    append_json_string(header, key);
    header += ':';
    append_json_string(header, value);
    keys.push_back(key);
  }
  header += '}';
  if (const auto twice = duplicate(std::move(keys)))
    throw Error(ErrorCode::ambiguous,
                fmt::format("expected each metadata key once, found '{}' twice", core::escaped(*twice)));
}

// Appends a tensor's member to the header.
void append_tensor(std::string& header, const TensorDeclaration& tensor, std::string_view type, std::uint64_t begin,
                   std::uint64_t end) {
  if (header.size() > 1) header += ',';
  append_json_string(header, tensor.name);
  const std::span<const std::int64_t> dims = tensor.shape.span();
  fmt::format_to(std::back_inserter(header), R"(:{{"dtype":"{}","shape":[{}],"data_offsets":[{},{}]}})", type,
                 fmt::join(dims, ","), begin, end);
}

}  // namespace

FilePlan safetensors_file_plan(std::span<const TensorDeclaration> tensors, const TextMetadata& metadata) {
  require_names(tensors);
  FilePlan file;
  std::string header = "{";
  if (!metadata.empty()) append_metadata(header, metadata);
  std::uint64_t end = 0;
  for (const std::uint32_t position : writing_order(tensors)) {
    const TensorDeclaration& tensor = tensors[position];
    const std::uint64_t begin = end;
    end = core::add_or_throw(begin, bytes_for(tensor.dtype, tensor.shape), "the data");
    append_tensor(header, tensor, types[rank_of(tensor)].name, begin, end);
    file.payloads.push_back({.tensor = position, .offset = begin, .size = end - begin});
  }
  header += '}';
  const std::uint64_t data = core::align_up(length_bytes + header.size(), data_alignment);
  // White space after the object is padding by the specification.
  header.append(data - length_bytes - header.size(), ' ');
  // A longer header would be refused by the reference reader.
  core::require_format_bound(header.size(), reference_header_bytes, "bytes of the header");

  // Offsets in the header are relative to the data, those of the payloads to the file.
  for (Payload& payload : file.payloads) payload.offset += data;
  file.size_bytes = core::add_or_throw(data, end, "the file");
  std::string length(length_bytes, '\0');
  core::store_le(reinterpret_cast<std::byte*>(length.data()), static_cast<std::uint64_t>(header.size()));
  file.segments.push_back({0, length + header});
  return file;
}

namespace {

bool has(DType dtype) noexcept { return std::ranges::find(types, dtype, &TypeRow::dtype) != types.end(); }

// Returns a value of metadata as text; nothing for a kind without a text form.
std::optional<std::string> text_of(const Node& node) {
  const std::string_view text(node.kind == NodeKind::text ? node.text : "",
                              node.kind == NodeKind::text ? node.count : 0);
  switch (node.kind) {
    case NodeKind::text: return core::is_utf8(text) ? std::optional(std::string(text)) : std::nullopt;
    case NodeKind::boolean: return node.integer != 0 ? "true" : "false";
    case NodeKind::real: return fmt::format("{}", node.real);
    case NodeKind::integer: return fmt::format("{}", node.integer);
    case NodeKind::unsigned_integer: return fmt::format("{}", node.unsigned_integer);
    default: return std::nullopt;
  }
}

// Returns the pairs of the source that have a text form, and those that are added. A note counts the rest.
TextMetadata text_metadata(const MetadataToWrite& metadata, std::vector<std::string>& notes) {
  TextMetadata pairs;
  std::size_t left_out = 0;
  for (const auto& [key, value] : metadata.kept) {
    if (auto text = text_of(value.node))
      pairs.emplace_back(key, *std::move(text));
    else
      ++left_out;
  }
  if (left_out != 0)
    notes.push_back(
        fmt::format("{} not kept: safetensors has texts only", core::counted_are(left_out, "metadata value")));
  // An added pair takes the position of the pair that it replaces.
  auto last = last_of_each(metadata.added);
  for (auto& [key, value] : pairs)
    if (const auto found = last.find(key); found != last.end()) {
      value = metadata.added[found->second].second;
      last.erase(found);
    }
  for (const auto& [key, value] : metadata.added)
    if (const auto found = last.find(key); found != last.end()) {
      pairs.emplace_back(key, metadata.added[found->second].second);
      last.erase(found);
    }
  return pairs;
}

// Encodes the metadata once for all shards of a save, so that notes are made once.
FileLayout layout(const MetadataToWrite& metadata, const Limits&, std::vector<std::string>& notes) {
  return [pairs = text_metadata(metadata, notes)](std::span<const TensorDeclaration> tensors) {
    return safetensors_file_plan(tensors, pairs);
  };
}

}  // namespace

constinit const Writer safetensors_writer{
    .name = "safetensors",
    .writes = "all dtypes, one file or shards with an index",
    .has = has,
    .layout = layout,
    .index = index_json,
};

}  // namespace heft::format
