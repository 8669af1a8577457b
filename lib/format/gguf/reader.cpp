// format/gguf/reader.cpp: reader of GGUF, the format of ggml and llama.cpp: versions 1 to 3, both byte orders.
//
//   "GGUF" | u32 version | len tensors | len pairs
//   pairs   x { string key | u32 type | value }
//   tensors x { string name | u32 rank | len dim[rank], innermost first | u32 type | u64 offset }
//   padding to the alignment; data starts here
//   data: each tensor at data + offset, a multiple of the alignment
//
//   len: u64, in version 1 u32 | string: len, bytes | array: u32 element type, len count, elements
//
// A big-endian file has the same magic and swaps all numbers, data included. The alignment is general.alignment, or 32.
// A part of a split does not contain the names of the others: they follow from split.no and split.count, as
// "<prefix>-00002-of-00003.gguf". The reader accepts all that ggml accepts, and also what some of its readers refuse
// although it is unambiguous: gaps, any order of the data, names over 63 bytes, version 1.
#include <algorithm>
#include <bit>
#include <optional>
#include <ranges>
#include <string>
#include <utility>

#include <fmt/format.h>

#include "core/checked.hpp"
#include "core/text.hpp"
#include "format/formats.hpp"
#include "format/gguf/byte_reader.hpp"
#include "format/gguf/layout.hpp"
#include "format/gguf/metadata.hpp"
#include "format/gguf/tensor_types.hpp"
#include "format/gguf/writer.hpp"
#include "format/range_checks.hpp"
#include "format/view_checks.hpp"
#include "heft/error.hpp"
#include "heft/shape.hpp"

namespace heft::format {
namespace gguf {
namespace {

// ---- the head ----

/// Reads version and byte order: a version in the wrong byte order has a low half of zeros.
Dialect read_dialect(core::Cursor& cursor) {
  cursor.skip(magic.size(), "the magic");
  const auto word = cursor.little<std::uint32_t>("the version");
  // Versions are small numbers: read in the wrong order, version 3 is 0x03000000.
  const bool big_endian = (word & 0xFFFF) == 0;
  const Dialect dialect{big_endian ? core::byte_swapped(word) : word, big_endian};
  if (dialect.version < 1 || dialect.version > newest_version)
    throw Error(ErrorCode::unsupported,
                fmt::format("GGUF version {}, heft reads 1 to {}", dialect.version, newest_version),
                {.offset = magic.size()});
  return dialect;
}

// Returns general.alignment, or ggml's default without it.
std::uint64_t read_alignment(const Catalog& catalog) {
  const Node* value = catalog.find_key(catalog.metadata, alignment_key);
  if (value == nullptr) return default_alignment;
  const auto alignment = static_cast<std::uint64_t>(value->integer);
  // ggml requires a u32; a value of another type is a different number in readers that do not convert.
  if (value->dtype != DType::u32 || !std::has_single_bit(alignment))
    throw Error(ErrorCode::corrupt, "general.alignment is expected to be a u32 and a power of two");
  return alignment;
}

// ---- tensors ----

/// Reads the tensors' descriptions and finds their bytes.
class TensorReader {
 public:
  TensorReader(ByteReader& reader, const Limits& limits, Catalog& catalog) noexcept
      : reader_(reader), limits_(limits), catalog_(catalog) {}

  void read_descriptions(std::uint64_t count);
  void place(std::uint64_t data, std::uint64_t alignment, std::uint64_t file_size);

 private:
  TensorEntry read_description();
  void read_dims(TensorEntry& entry);
  void read_type(TensorEntry& entry);
  [[nodiscard]] std::uint64_t packed_bytes(const TensorEntry& entry) const;
  void measure_unknown(std::uint64_t file_size);
  void note_oddities(std::uint64_t alignment, std::uint64_t file_size);

  ByteReader& reader_;
  const Limits& limits_;
  Catalog& catalog_;
  std::size_t long_names_ = 0;
};

[[noreturn]] void fail(const TensorEntry& entry, std::uint64_t at, std::string message) {
  throw Error(ErrorCode::corrupt, std::move(message), {.tensor = std::string(entry.name), .offset = at});
}

void TensorReader::read_descriptions(std::uint64_t count) {
  // A description has at least an empty name, rank, type and offset: 4 + 4 + 8 bytes after the length of the name.
  reader_.require_room(count, reader_.dialect().length_bytes() + 16, "the number of tensors");
  catalog_.tensors.reserve(count);
  for (std::uint64_t i = 0; i < count; ++i) catalog_.tensors.push_back(read_description());
  require_unique_names(catalog_.tensors);
}

TensorEntry TensorReader::read_description() {
  TensorEntry entry;
  const std::uint64_t at = reader_.offset();
  entry.name = reader_.name("a tensor's name");
  core::require_limit(entry.name.size(), limits_.name_bytes, "bytes of a tensor's name", "name_bytes", at);
  // Counted and noted once: ggml refuses such a file, but nothing about it is ambiguous.
  if (entry.name.size() > max_ggml_name_bytes) ++long_names_;
  read_dims(entry);
  read_type(entry);
  // Relative to the data until place() adds where these start, which is known after the last description.
  entry.begin = reader_.number<std::uint64_t>("a tensor's offset");
  return entry;
}

// Reads dims, which the file lists innermost first, and stores them outermost first.
void TensorReader::read_dims(TensorEntry& entry) {
  const std::uint64_t at = reader_.offset();
  const auto rank = reader_.number<std::uint32_t>("a tensor's rank");
  if (rank > max_rank) fail(entry, at, fmt::format("rank {}, expected at most {}", rank, max_rank));
  std::int64_t dims[max_rank] = {};
  for (std::uint32_t i = rank; i-- > 0;) {
    const std::uint64_t dim = reader_.length("a tensor's dim");
    if (dim > INT64_MAX) fail(entry, at, fmt::format("dim {} does not fit 63 bits", dim));
    dims[i] = static_cast<std::int64_t>(dim);
  }
  require_shape(std::span(dims, rank), limits_, entry.name, at);
  catalog_.set_dims(entry, std::span(dims, rank));
}

void TensorReader::read_type(TensorEntry& entry) {
  const std::uint64_t at = reader_.offset();
  const auto id = reader_.number<std::uint32_t>("a tensor's type");
  const std::optional<TensorType> type = tensor_type(id);
  if (type && type->dtype != DType::unknown) {
    entry.dtype = type->dtype;
    const DTypeInfo& row = info(entry.dtype);
    // Blocks contain f16 scales, so they need swapping inside, although their elements are bytes.
    if (reader_.dialect().big_endian && (row.swap_bytes > 1 || row.category == DTypeCategory::block))
      entry.flags |= swapped;
    try {
      entry.size = packed_bytes(entry);
    } catch (const Error& error) {
      throw Error(error.code(), error.message(), {.tensor = std::string(entry.name), .offset = at});
    }
    return;
  }
  // A type that ggml removed has a name in the table; one of a later ggml has only its number.
  catalog_.set_unknown_dtype(entry, type ? type->name : catalog_.arena.store(fmt::format("ggml type {}", id)));
}

std::uint64_t TensorReader::packed_bytes(const TensorEntry& entry) const {
  return bytes_for(entry.dtype, Shape(catalog_.sizes(entry)));
}

void TensorReader::place(std::uint64_t data, std::uint64_t alignment, std::uint64_t file_size) {
  // Before sorting: only for the note.
  const bool in_order = std::ranges::is_sorted(catalog_.tensors, {}, &TensorEntry::begin);
  for (TensorEntry& entry : catalog_.tensors) {
    if (entry.begin % alignment != 0)
      fail(entry, data,
           fmt::format("offset {} is expected to be a multiple of the alignment {}", entry.begin, alignment));
    // The first test keeps the sum of the second within the file.
    if (!core::inside(data, entry.begin, file_size) || !core::inside(data + entry.begin, entry.size, file_size))
      fail(entry, data,
           fmt::format("{} bytes at offset {} of the data, which start at {}, end past the file's {} bytes: the "
                       "download is incomplete",
                       entry.size, entry.begin, data, file_size));
    entry.begin += data;
  }
  // The size of an unknown type is the distance to the next tensor, so the order comes first; ranges can be compared
  // when all sizes are known.
  sort_by_place(catalog_.tensors);
  measure_unknown(file_size);
  require_disjoint(catalog_.tensors);
  if (!in_order)
    catalog_.notes.emplace_back("the tensors' data are in another order than their descriptions; ggml refuses that");
  note_oddities(alignment, file_size);
}

// Sets the sizes of tensors of unknown types: the bytes up to the next tensor, padding included, because the file does
// not contain their size.
void TensorReader::measure_unknown(std::uint64_t file_size) {
  // From the last tensor to the first: `end` is where the next one with bytes starts.
  std::uint64_t end = file_size;
  for (auto& entry : catalog_.tensors | std::views::reverse) {
    const std::span<const std::int64_t> sizes = catalog_.sizes(entry);
    if (entry.dtype == DType::unknown && std::ranges::find(sizes, 0) == sizes.end()) {
      entry.size = end - entry.begin;
      require_raw_bytes(catalog_, entry, entry.begin);
    }
    if (entry.size > 0) end = entry.begin;
  }
}

void TensorReader::note_oddities(std::uint64_t alignment, std::uint64_t file_size) {
  std::size_t gaps = 0;
  std::uint64_t end = 0;
  for (const TensorEntry& entry : catalog_.tensors) {
    // Padding up to the alignment is expected; more is a gap.
    if (end != 0 && entry.begin > core::align_up(end, alignment)) ++gaps;
    end = entry.begin + entry.size;
  }
  if (gaps > 0) catalog_.notes.push_back(fmt::format("{} gaps between tensors; ggml refuses them", gaps));
  if (end != 0 && file_size > core::align_up(end, alignment))
    catalog_.notes.push_back(fmt::format("{} bytes after the last tensor", file_size - end));
  if (long_names_ > 0)
    catalog_.notes.push_back(fmt::format("{} names of tensors are longer than the {} bytes that ggml reads",
                                         long_names_, max_ggml_name_bytes));
}

// ---- splits ----

// Returns the metadata's value of `key`, or nothing. Writers use several integer types for these keys.
std::optional<std::uint64_t> find_count(const Catalog& catalog, std::string_view key) {
  const Node* value = catalog.find_key(catalog.metadata, key);
  if (value == nullptr) return std::nullopt;
  if (value->kind != NodeKind::integer || value->integer < 0)
    throw Error(ErrorCode::corrupt, fmt::format("{} is expected to be an integer of at least 0", key));
  return static_cast<std::uint64_t>(value->integer);
}

// Returns the ending of a part's name as llama.cpp's gguf-split writes it, with numbers from 1.
std::string split_suffix(std::uint64_t index, std::uint64_t count) {
  return fmt::format("-{:05}-of-{:05}.gguf", index + 1, count);
}

// Derives the names of all parts from this file's own name.
void name_parts(Catalog& catalog, std::uint64_t count, std::string_view file_name) {
  const std::string suffix = split_suffix(catalog.split_index, count);
  // A part that was renamed would look for siblings of the old name, or find those of another model.
  if (!file_name.ends_with(suffix))
    throw Error(ErrorCode::ambiguous, fmt::format("part {} of {} of a split is expected to have a name that ends in {}",
                                                  catalog.split_index + 1, count, suffix));
  const std::string prefix(file_name.substr(0, file_name.size() - suffix.size()));
  for (std::uint64_t i = 0; i < count; ++i)
    catalog.shards.push_back(catalog.arena.store(prefix + split_suffix(i, count)));
}

// Sets the part's number and the names of all parts, if the metadata declare a split.
void read_split(Catalog& catalog, const ReadOptions& options) {
  const std::uint64_t count = find_count(catalog, "split.count").value_or(0);
  // A file with split.count 1 is whole.
  if (count <= 1) return;
  core::require_limit(count, options.limits.shards, "the number of parts", "shards");
  // Without split.no the part is unknown: the default fails the check below.
  const std::uint64_t index = find_count(catalog, "split.no").value_or(count);
  if (index >= count)
    throw Error(ErrorCode::corrupt, fmt::format("split.no is expected to be under split.count, which is {}", count));
  catalog.split_index = static_cast<std::uint32_t>(index);
  catalog.split_tensors = find_count(catalog, "split.tensors.count").value_or(0);
  catalog.detail += fmt::format(", part {} of {}", index + 1, count);
  if (!options.file_name.empty()) name_parts(catalog, count, options.file_name);
}

// ---- the format ----

bool matches(std::span<const std::byte> head, std::uint64_t) noexcept {
  return head.size() >= magic.size() && std::memcmp(head.data(), magic.data(), magic.size()) == 0;
}

Catalog read(const core::Input& input, const ReadOptions& options) {
  Catalog catalog(input.budget());
  core::Cursor cursor(input);
  ByteReader reader(cursor, read_dialect(cursor));
  catalog.format = "gguf";
  catalog.detail =
      fmt::format("GGUF v{}{}", reader.dialect().version, reader.dialect().big_endian ? ", big-endian" : "");

  // The counts come before the pairs, but tensors are described after them.
  const std::uint64_t tensors = reader.length("the number of tensors");
  const std::uint64_t pairs = reader.length("the number of key-value pairs");
  core::require_limit(tensors, options.limits.tensors, "the number of tensors", "tensors", magic.size() + 4);
  read_metadata(reader, pairs, options.limits, catalog);

  TensorReader tensor_reader(reader, options.limits, catalog);
  tensor_reader.read_descriptions(tensors);
  const std::uint64_t alignment = read_alignment(catalog);
  // A file with metadata only (a vocabulary) can end before the padding.
  if (tensors > 0) tensor_reader.place(core::align_up(cursor.offset(), alignment), alignment, input.size_bytes());
  read_split(catalog, options);
  catalog.kept = cursor.release();
  return catalog;
}

}  // namespace
}  // namespace gguf

const Format gguf_format = {
    .name = "gguf",
    .suffixes = ".gguf",
    .reads = "versions 1 to 3, both byte orders, splits; 35 tensor types, others as raw bytes",
    .matches = gguf::matches,
    .read = gguf::read,
    .writer = &gguf_writer,
};

}  // namespace heft::format
