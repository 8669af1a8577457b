// format/numpy/npz_writer.cpp: plans NPZ files; npz_reader.cpp reads them, archive/zip_directory.hpp documents the
// layout.
//
// As in numpy.savez, members are stored as "<name>.npy" in the given order and dated 1980. Unlike in numpy.savez, each
// member is padded so that its data starts at a multiple of 64, which keeps mapped tensors aligned, and zip64 is used
// only where a size or an offset needs it. The CRC-32 of a member covers its head and its elements. The head comes
// first, so its CRC is the seed of the payload's; the local header receives the sum after the payload is written,
// before the file gets its final name.
#include <fmt/format.h>

#include <string>
#include <string_view>
#include <vector>

#include "core/checked.hpp"
#include "core/endian.hpp"
#include "core/text.hpp"
#include "format/archive/inflate.hpp"
#include "format/archive/zip_directory.hpp"
#include "format/archive/zip_records.hpp"
#include "format/archive/zip_writer.hpp"
#include "format/format.hpp"
#include "format/numpy/header.hpp"
#include "format/numpy/npz_writer.hpp"
#include "format/range_checks.hpp"
#include "heft/error.hpp"
#include "heft/limits.hpp"

namespace heft::format {
namespace {

constexpr std::uint64_t alignment = 64;
constexpr std::string_view suffix = ".npy";
constexpr std::size_t max_rank = 32;  // NPY_MAXDIMS of NumPy 1
// The name in the first local header must lie within the bytes that matches() receives.
constexpr std::size_t max_name_bytes = head_bytes - zip::local_bytes - suffix.size();

std::string member_of(std::string_view tensor) { return std::string(tensor) + std::string(suffix); }

// Refuses tensors whose name or rank NumPy, or a zip, cannot represent.
void require_representable(const TensorDeclaration& tensor) {
  if (const auto fault = zip_name_fault(member_of(tensor.name)))
    throw Error(ErrorCode::unsupported,
                fmt::format("no name for a member of a zip ({}); rename the tensor", fault->finding),
                {.tensor = tensor.name});
  if (tensor.name.size() > max_name_bytes)
    throw Error(ErrorCode::unsupported,
                fmt::format("expected a name of at most {} bytes for a member of a zip, found {}", max_name_bytes,
                            tensor.name.size()),
                {.tensor = tensor.name});
  if (tensor.shape.rank() > max_rank)
    throw Error(ErrorCode::unsupported,
                fmt::format("expected at most {} dims, as NumPy takes them, found {}", max_rank, tensor.shape.rank()),
                {.tensor = tensor.name});
}

// Refuses names that some reader cannot tell apart: some ignore the case of names in a zip, and numpy looks for "x.npy"
// among members before it looks among arrays.
void require_distinct(std::span<const TensorDeclaration> tensors) {
  std::vector<std::string> members;
  for (const TensorDeclaration& tensor : tensors) {
    members.push_back(zip_folded(member_of(tensor.name)));
    // numpy looks for "x.npy" among members first: it would return the tensor "x" in place of the tensor "x.npy".
    if (tensor.name.ends_with(suffix)) members.push_back(zip_folded(tensor.name));
  }
  if (const auto twice = duplicate({members.begin(), members.end()}))
    throw Error(ErrorCode::ambiguous,
                "expected each name once, whatever its case, found it twice among the tensors to be written",
                {.tensor = std::string(twice->substr(0, twice->size() - suffix.size()))});
}

// Returns the member's npy head, which precedes the elements.
std::string head_of(const TensorDeclaration& tensor) {
  try {
    return npy::head_of(tensor.dtype, tensor.shape);
  } catch (const Error& error) {
    throw error.with_tensor(tensor.name);
  }
}

}  // namespace

FilePlan npz_file_plan(std::span<const TensorDeclaration> tensors, const Limits& limits) {
  if (tensors.empty())
    throw Error(ErrorCode::unsupported, "expected at least one tensor for an npz: an empty zip has no format");
  core::require_limit(tensors.size(), limits.zip_entries, "the number of tensors", "zip_entries");
  FilePlan file;
  std::vector<PlannedRecord> records;
  std::uint64_t end = 0;
  for (std::uint32_t position = 0; position < tensors.size(); ++position) {
    const TensorDeclaration& tensor = tensors[position];
    require_representable(tensor);
    const std::string head = head_of(tensor);
    const std::uint64_t size = bytes_for(tensor.dtype, tensor.shape);
    records.push_back(
        {.name = member_of(tensor.name), .header = end, .size = core::add_or_throw(head.size(), size, "the member")});
    // The npy head has a multiple of 64 bytes, so aligning it aligns the elements.
    const std::string local = zip_local_header(records.back(), alignment);
    const std::uint64_t data = core::add_or_throw(end, local.size() + head.size(), "the file");
    file.segments.push_back({end, local + head});
    file.payloads.push_back(
        {.tensor = position, .offset = data, .size = size, .crc_seed = crc32(std::as_bytes(std::span(head)))});
    end = core::add_or_throw(data, size, "the file");
  }
  require_distinct(tensors);

  // The directory's size does not depend on the checksums, so zeros stand for them until the payloads are written.
  file.size_bytes = core::add_or_throw(
      end, zip_directory(records, std::vector<std::uint32_t>(records.size()), end).size(), "the file");
  file.finish = [records = std::move(records), end](std::span<const std::uint32_t> checksums) {
    std::vector<ByteSegment> segments;
    for (std::size_t i = 0; i < records.size(); ++i) {
      // The local headers were written with a CRC-32 of 0; only these four bytes are replaced.
      segments.push_back({.offset = records[i].header + zip_crc_offset, .bytes = {}});
      core::append_le(segments.back().bytes, checksums[i]);
    }
    segments.push_back({end, zip_directory(records, checksums, end)});
    return segments;
  };
  return file;
}

namespace {

// npz has no metadata. Metadata of the source are dropped with a note; metadata that the caller adds are an Error.
FileLayout layout(const MetadataToWrite& metadata, const Limits& limits, std::vector<std::string>& notes) {
  if (!metadata.added.empty())
    throw Error(ErrorCode::unsupported,
                fmt::format("npz has no metadata to hold '{}'", core::escaped(metadata.added.front().first)));
  if (!metadata.kept.empty())
    notes.push_back(
        fmt::format("{} not kept: npz has none", core::counted_are(metadata.kept.size(), "metadata value")));
  return [limits](std::span<const TensorDeclaration> tensors) { return npz_file_plan(tensors, limits); };
}

}  // namespace

constinit const Writer npz_writer{
    .name = "npz",
    .writes = "stored members, npy version 1.0",
    .has = npy::has,
    .layout = layout,
};

}  // namespace heft::format
