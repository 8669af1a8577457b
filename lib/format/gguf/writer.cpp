// format/gguf/writer.cpp: plans GGUF files of version 3, little-endian; reader.cpp documents the layout.
//
// Follows rules of ggml that the reader does not require: names have fewer than 64 bytes, tensors' data follow each
// other in the order of the descriptions, and each, also the last, is padded to the alignment.
#include <fmt/format.h>

#include <bit>
#include <string>
#include <string_view>
#include <vector>

#include "core/checked.hpp"
#include "core/endian.hpp"
#include "core/text.hpp"
#include "format/gguf/byte_reader.hpp"
#include "format/gguf/layout.hpp"
#include "format/gguf/tensor_types.hpp"
#include "format/gguf/writer.hpp"
#include "format/range_checks.hpp"
#include "heft/error.hpp"
#include "heft/limits.hpp"

namespace heft::format {
namespace {

using core::append_le;
using gguf::append_string;
using gguf::max_rank;

constexpr std::size_t max_key_bytes = 65535;

// Returns the alignment that the metadata declare, or ggml's default.
std::uint64_t alignment_of(std::span<const GgufPair> metadata) {
  for (const GgufPair& pair : metadata) {
    // The reader applies the declared alignment, so the data must have it.
    if (pair.key != gguf::alignment_key) continue;
    if (pair.type == gguf::ValueType::u32)
      if (const auto value = core::load_le<std::uint32_t>(reinterpret_cast<const std::byte*>(pair.value.data()));
          std::has_single_bit(value))
        return value;
    throw Error(ErrorCode::unsupported, "general.alignment is expected to be a u32 and a power of two");
  }
  return gguf::default_alignment;
}

// ---- checks ----

// Refuses tensors that ggml cannot read: by dtype, name or rank.
void require_representable(const TensorDeclaration& tensor) {
  const auto refuse = [&](std::string message) {
    throw Error(ErrorCode::unsupported, std::move(message), {.tensor = tensor.name});
  };
  if (!gguf::type_id(tensor.dtype)) refuse(fmt::format("GGUF has no dtype for {}", name(tensor.dtype)));
  if (tensor.name.size() > gguf::max_ggml_name_bytes)
    refuse(fmt::format("expected a name of at most {} bytes, which ggml reads, found {}; rename the tensor",
                       gguf::max_ggml_name_bytes, tensor.name.size()));
  if (!core::is_utf8(tensor.name) || tensor.name.find('\0') != tensor.name.npos)
    refuse("expected a name in UTF-8 without NULs, as GGUF demands; rename the tensor");
  if (tensor.shape.rank() > max_rank)
    refuse(fmt::format("expected at most {} dims, which ggml has, found {}", max_rank, tensor.shape.rank()));
}

// The same for all tensors, whose names must differ.
void require_representable(std::span<const TensorDeclaration> tensors) {
  std::vector<std::string_view> names;
  names.reserve(tensors.size());
  for (const TensorDeclaration& tensor : tensors) {
    require_representable(tensor);
    names.push_back(tensor.name);
  }
  if (const auto twice = duplicate(std::move(names)))
    throw Error(ErrorCode::ambiguous, "expected each name once, found it twice among the tensors to be written",
                {.tensor = std::string(*twice)});
}

// Refuses keys that ggml cannot read, and two of one name.
void require_representable(std::span<const GgufPair> metadata) {
  std::vector<std::string_view> keys;
  keys.reserve(metadata.size());
  for (const GgufPair& pair : metadata) {
    if (pair.key.empty() || pair.key.size() > max_key_bytes || pair.key.find('\0') != pair.key.npos)
      throw Error(ErrorCode::unsupported,
                  fmt::format("expected a metadata key of 1 to {} bytes without NULs, found '{}'", max_key_bytes,
                              core::escaped(pair.key)));
    keys.push_back(pair.key);
  }
  if (const auto twice = duplicate(std::move(keys)))
    throw Error(ErrorCode::ambiguous,
                fmt::format("expected each metadata key once, found '{}' twice", core::escaped(*twice)));
}

// ---- the head ----

void append_pair(std::string& head, const GgufPair& pair) {
  append_string(head, pair.key);
  append_le(head, static_cast<std::uint32_t>(pair.type));
  head += pair.value;
}

// Dims go innermost first.
void append_description(std::string& head, const TensorDeclaration& tensor, std::uint64_t offset) {
  append_string(head, tensor.name);
  append_le(head, static_cast<std::uint32_t>(tensor.shape.rank()));
  for (std::size_t dim = tensor.shape.rank(); dim-- > 0;)
    append_le(head, static_cast<std::uint64_t>(tensor.shape[dim]));
  append_le(head, *gguf::type_id(tensor.dtype));
  append_le(head, offset);
}

}  // namespace

FilePlan gguf_file_plan(std::span<const TensorDeclaration> tensors, std::span<const GgufPair> metadata,
                        const Limits& limits) {
  require_representable(tensors);
  require_representable(metadata);
  core::require_limit(tensors.size(), limits.tensors, "the number of tensors", "tensors");
  const std::uint64_t alignment = alignment_of(metadata);

  // The head is made whole in memory: it has metadata and descriptions only.
  std::string head(gguf::magic);
  append_le(head, gguf::newest_version);
  append_le(head, static_cast<std::uint64_t>(tensors.size()));
  append_le(head, static_cast<std::uint64_t>(metadata.size()));
  for (const GgufPair& pair : metadata) append_pair(head, pair);

  FilePlan file;
  std::uint64_t end = 0;  // bytes of data so far
  for (std::uint32_t position = 0; position < tensors.size(); ++position) {
    const std::uint64_t size = bytes_for(tensors[position].dtype, tensors[position].shape);
    // Offsets are relative to the data, so the size of the head need not be known yet.
    append_description(head, tensors[position], end);
    file.payloads.push_back({.tensor = position, .offset = end, .size = size});
    // ggml requires the padding behind the last tensor as well.
    end = core::align_up(core::add_or_throw(end, size, "the data"), alignment);
  }
  // A file without tensors ends with its metadata.
  const std::uint64_t data = tensors.empty() ? head.size() : core::align_up(head.size(), alignment);
  for (Payload& payload : file.payloads) payload.offset += data;
  file.size_bytes = core::add_or_throw(data, end, "the file");
  file.segments.push_back({0, std::move(head)});
  return file;
}

namespace {

bool has(DType dtype) noexcept { return gguf::type_id(dtype).has_value(); }

// Encodes the metadata once, so that notes are made once.
FileLayout layout(const MetadataToWrite& metadata, const Limits& limits, std::vector<std::string>& notes) {
  return [pairs = gguf::encode_metadata(metadata, limits, notes), limits](std::span<const TensorDeclaration> tensors) {
    return gguf_file_plan(tensors, pairs, limits);
  };
}

}  // namespace

constinit const Writer gguf_writer{
    .name = "GGUF",
    .writes = "version 3: plain types converted, block types as they are; metadata kept",
    .has = has,
    .layout = layout,
};

}  // namespace heft::format
