// format/safetensors/reader.cpp: reader of the safetensors format.
//
//   0        8                     8 + N                       end
//   +--------+---------------------+---------------------------+
//   | u64 N  | N bytes of JSON     | data                      |
//   +--------+---------------------+---------------------------+
//
//   {"__metadata__": {"format": "pt"},
//    "model.norm.weight": {"dtype": "BF16", "shape": [4096], "data_offsets": [0, 8192]},
//    ...}
//
// "__metadata__" is optional and contains strings only. White space before and after the object is padding.
// data_offsets are relative to 8 + N. The tensors cover the data exactly: no gap, no overlap, nothing after the last
// one. Data has no alignment. A name is any string and is never used as a path.
//
// The checks are those of the reference reader (huggingface/safetensors, tensor.rs), in its order. Files that two
// readers can understand differently are refused: a name or a metadata key that is declared twice (Error{ambiguous}), a
// tensor written as a list, a dtype written as an object. An unknown dtype is an error, although other formats list
// such a tensor as raw bytes: data_offsets must equal shape times dtype, which cannot be checked without the size of
// the dtype.
#include <algorithm>
#include <numeric>
#include <optional>
#include <tuple>
#include <vector>

#include <fmt/format.h>

#include "core/checked.hpp"
#include "core/endian.hpp"
#include "core/name_table.hpp"
#include "core/text.hpp"
#include "format/formats.hpp"
#include "format/json/reader.hpp"
#include "format/name_table.hpp"
#include "format/safetensors/layout.hpp"
#include "format/safetensors/writer.hpp"
#include "heft/error.hpp"

namespace heft::format {
namespace {

constexpr std::uint64_t min_header_bytes = 2;     // "{}"
constexpr std::uint64_t usual_entry_bytes = 112;  // of a tensor in the header of a large model; for reserving tables

using safetensors::length_bytes;
using safetensors::reference_header_bytes;
using safetensors::TypeRow;
using safetensors::types;

// Returns the header's length. Checks 1 to 3.
std::uint64_t header_bytes(const core::Input& input, const Limits& limits) {
  const std::uint64_t size = input.size_bytes();
  core::require_inside(0, length_bytes, size, "the header's length");
  const Bytes length = input.read(0, length_bytes);
  const auto header = core::load_le<std::uint64_t>(length.data());
  // Compared with the limit before the file's size: a length of random bytes is then named as a limit and not as a
  // download that was cut.
  core::require_limit(header, limits.safetensors_header_bytes, "the header's length", "safetensors_header_bytes", 0);
  if (!core::inside(length_bytes, header, size))
    throw Error(ErrorCode::corrupt,
                fmt::format("the header declares {} bytes, the file has {} after its first {}: the download is "
                            "incomplete",
                            header, size - length_bytes, length_bytes),
                {.offset = 0});
  return header;
}

// The data_offsets of a tensor. They can be checked only in the order of the data, when the whole header has been read.
struct Extent {
  std::uint64_t begin = 0;
  std::uint64_t end = 0;
  std::uint32_t shape_at = 0;  // offsets in the header's text, for errors; a text has at most 4 GiB
  std::uint32_t offsets_at = 0;
};

// Reads the header: fills the catalog's tensors and dims, and an extent for each tensor. Checks 4 and 5: the header is
// JSON with the required members.
class HeaderReader {
 public:
  HeaderReader(json::Document& document, std::size_t expected, const Limits& limits, Catalog& catalog);

  std::vector<Extent> read() &&;

 private:
  enum Part : unsigned { dtype_part = 1, shape_part = 2, offsets_part = 4, all_parts = 7 };

  void metadata(const json::Key& key, json::Value& value);
  void tensor(const json::Key& key, json::Value& value);
  void part(const json::Key& key, json::Value& value);
  void once(Part part, const json::Key& key);
  void dtype(json::Value& value);
  void shape(json::Value& value);
  void offsets(json::Value& value);

  [[nodiscard]] std::uint32_t place(const char* at) const noexcept {
    return static_cast<std::uint32_t>(document_.offset(at) - length_bytes);
  }

  json::Document& document_;
  const Limits& limits_;
  Catalog& catalog_;
  core::NameTable names_;  // of catalog_.tensors
  std::vector<Extent> extents_;
  TensorEntry entry_;  // the current tensor
  Extent extent_;
  unsigned parts_ = 0;
  const TypeRow* type_ = types.data();  // the row of the previous tensor
};

HeaderReader::HeaderReader(json::Document& document, std::size_t expected, const Limits& limits, Catalog& catalog)
    : document_(document), limits_(limits), catalog_(catalog), names_(expected) {
  // `expected` follows from the header's bytes, so that tables of large models grow once. Reserved memory that stays
  // unused is never touched.
  catalog.tensors.reserve(expected);
  catalog.dims.reserve(expected * 2);
  extents_.reserve(expected);
}

std::vector<Extent> HeaderReader::read() && {
  document_.members([this](const json::Key& key, json::Value& value) {
    // The one name that no tensor can have.
    if (key.is("__metadata__")) return metadata(key, value);
    try {
      tensor(key, value);
    } catch (const Error& error) {
      throw error.with_tensor(key.text);
    }
  });
  return std::move(extents_);
}

void HeaderReader::metadata(const json::Key& key, json::Value& value) {
  if (catalog_.metadata != none)
    document_.fail(ErrorCode::ambiguous, "expected one __metadata__, found a second", key.at);
  std::vector<std::uint32_t> pairs;
  NameTable keys;
  // The reference declares the metadata as optional, so null passes as none.
  if (value.kind("__metadata__") == json::Kind::null)
    value.null("__metadata__");
  else
    value.members("__metadata__", [&](const json::Key& name, json::Value& text) {
      if (!keys.add(name.text).fresh)
        document_.fail(ErrorCode::ambiguous,
                       fmt::format("__metadata__: the key '{}' occurs twice", core::escaped(name.text)), name.at);
      // Copied: the header's text is freed when it has been read.
      pairs.push_back(catalog_.add_text(catalog_.arena.store(name.text)));
      pairs.push_back(catalog_.add_text(catalog_.arena.store(text.text("__metadata__"))));
    });
  catalog_.metadata = catalog_.add_container(NodeKind::map, pairs);
}

void HeaderReader::tensor(const json::Key& key, json::Value& value) {
  core::require_limit(catalog_.tensors.size() + 1, limits_.tensors, "the number of tensors", "tensors",
                      document_.offset(key.at));
  core::require_limit(key.text.size(), limits_.name_bytes, "the length of a name", "name_bytes",
                      document_.offset(key.at));
  // The parts of a tensor come in any order; they are collected in members until all were met.
  entry_ = {};
  extent_ = {};
  parts_ = 0;
  value.members("the tensor", [this](const json::Key& name, json::Value& member) { part(name, member); });
  // Each part was met at most once, so all three bits mean that nothing is missing.
  if (parts_ != all_parts) {
    const std::string_view missing = (parts_ & dtype_part) == 0   ? "dtype"
                                     : (parts_ & shape_part) == 0 ? "shape"
                                                                  : "data_offsets";
    document_.fail(ErrorCode::corrupt, fmt::format("expected a member '{}', found none", missing), value.at());
  }
  entry_.name = catalog_.arena.store(key.text);
  const auto name_of = [this](std::uint32_t number) { return catalog_.tensors[number].name; };
  if (names_.add(entry_.name, name_of) != names_.none)
    document_.fail(ErrorCode::ambiguous, "the name is declared twice", key.at);
  catalog_.tensors.push_back(entry_);
  extents_.push_back(extent_);
}

void HeaderReader::part(const json::Key& key, json::Value& value) {
  if (key.is("dtype")) {
    once(dtype_part, key);
    dtype(value);
  } else if (key.is("shape")) {
    once(shape_part, key);
    shape(value);
  } else if (key.is("data_offsets")) {
    once(offsets_part, key);
    offsets(value);
  } else {
    // The format's schema forbids other members, but its reader ignores them, so a later version can add one.
    value.skip("an unknown member");
  }
}

void HeaderReader::once(Part part, const json::Key& key) {
  if ((parts_ & part) != 0)
    document_.fail(ErrorCode::ambiguous, fmt::format("the member '{}' occurs twice", key.text), key.at);
  parts_ |= part;
}

void HeaderReader::dtype(json::Value& value) {
  const std::string_view name = value.text("dtype");
  // Neighbours mostly share a dtype.
  if (name != type_->name) type_ = std::ranges::find(types, name, &TypeRow::name);
  if (type_ == types.end())
    document_.fail(ErrorCode::unsupported,
                   fmt::format("expected one of the format's {} dtypes, found '{}'", types.size(), core::escaped(name)),
                   value.at());
  entry_.dtype = type_->dtype;
}

void HeaderReader::shape(json::Value& value) {
  extent_.shape_at = place(value.at());
  constexpr std::uint64_t most = 255;  // TensorEntry::rank is a byte
  const std::uint64_t limit = std::min(limits_.rank, most);
  core::Table<std::int64_t>& dims = catalog_.dims;
  // Checked once for the whole shape: it adds at most 255 dims.
  core::require_format_bound(dims.size(), none - most, "the number of dims of all tensors",
                             document_.offset(value.at()));
  entry_.dims = static_cast<std::uint32_t>(dims.size());
  // Dims are appended to the table of all tensors directly; an error discards the catalog, so nothing is undone.
  value.elements("shape", [&](json::Value& dim) {
    core::require_limit(std::uint64_t{entry_.rank} + 1, limit, "the number of dims", "rank",
                        document_.offset(dim.at()));
    const std::uint64_t size = dim.unsigned_integer("shape");
    if (size > INT64_MAX)
      document_.fail(ErrorCode::corrupt, fmt::format("shape: expected a dim below 2^63, found {}", size), dim.at());
    dims.push_back(static_cast<std::int64_t>(size));
    ++entry_.rank;
  });
}

void HeaderReader::offsets(json::Value& value) {
  extent_.offsets_at = place(value.at());
  std::size_t count = 0;
  value.elements("data_offsets", [&](json::Value& offset) {
    const std::uint64_t number = offset.unsigned_integer("data_offsets");
    // More than two numbers are counted and reported below; all are checked to be integers.
    if (count == 0) extent_.begin = number;
    if (count == 1) extent_.end = number;
    ++count;
  });
  if (count != 2)
    document_.fail(ErrorCode::corrupt, fmt::format("data_offsets: expected 2 numbers, found {}", count), value.at());
}

// Sorts tensors by the offset of their data; at equal offsets empty ones come first. The headers of most writers are
// already sorted.
void order_by_data(std::span<TensorEntry> tensors, std::vector<Extent>& extents) {
  const auto follows = [](const Extent& a, const Extent& b) {
    return std::tie(a.begin, a.end) >= std::tie(b.begin, b.end);
  };
  // No extent is at or after the next one, so the order is strict and names are not needed.
  if (std::ranges::adjacent_find(extents, follows) == extents.end()) return;
  std::vector<std::uint32_t> order(tensors.size());
  std::iota(order.begin(), order.end(), 0);
  const auto before = [&](std::uint32_t a, std::uint32_t b) {
    return std::tie(extents[a].begin, extents[a].end, tensors[a].name) <
           std::tie(extents[b].begin, extents[b].end, tensors[b].name);
  };
  // Numbers are sorted and each row is moved once, because two tables must get the same order.
  std::ranges::sort(order, before);
  std::vector<TensorEntry> sorted_tensors;
  std::vector<Extent> sorted_extents;
  sorted_tensors.reserve(order.size());
  sorted_extents.reserve(order.size());
  for (const std::uint32_t i : order) {
    sorted_tensors.push_back(tensors[i]);
    sorted_extents.push_back(extents[i]);
  }
  std::ranges::copy(sorted_tensors, tensors.begin());
  extents = std::move(sorted_extents);
}

// Returns the bytes of a tensor. Checks 7 to 9: shape times dtype is a whole number of bytes and does not overflow.
std::uint64_t expected_bytes(const Catalog& catalog, const TensorEntry& entry, const Extent& extent) {
  try {
    return bytes_for(entry.dtype, Shape(catalog.sizes(entry)));
  } catch (const Error& error) {
    throw Error(error.code(), error.message(),
                {.tensor = std::string(entry.name), .offset = length_bytes + extent.shape_at});
  }
}

// Sets the offset and size of one tensor, whose data must start where those of the previous one end. Checks 6 to 10.
void place_tensor(const Catalog& catalog, TensorEntry& entry, const Extent& extent, std::uint64_t previous_end,
                  std::uint64_t data_begin) {
  const auto fail = [&](std::string message) {
    throw Error(ErrorCode::corrupt, std::move(message),
                {.tensor = std::string(entry.name), .offset = length_bytes + extent.offsets_at});
  };
  // Equality with the end of the previous one excludes gaps and overlaps in one comparison, because the order is that
  // of the offsets.
  if (extent.begin != previous_end)
    fail(fmt::format("expected data_offsets to start at {}, where the previous tensor ends, found {}", previous_end,
                     extent.begin));
  if (extent.end < extent.begin)
    fail(fmt::format("expected data_offsets in ascending order, found [{}, {}]", extent.begin, extent.end));
  // The subtraction below cannot wrap: the offsets are in ascending order.
  entry.size = expected_bytes(catalog, entry, extent);
  if (extent.end - extent.begin != entry.size)
    fail(fmt::format("expected {} bytes, data_offsets span {}", entry.size, extent.end - extent.begin));
  // The end of the data is compared with the file only after the last tensor, so this offset can still be any number.
  const auto begin = core::checked_add(data_begin, extent.begin);
  if (!begin) fail(fmt::format("expected data_offsets within 64 bits of the file, found {}", extent.begin));
  entry.begin = *begin;
}

// Sets the offsets and sizes of all tensors. Checks 6 to 11: the tensors cover the data exactly.
void place_tensors(Catalog& catalog, const std::vector<Extent>& extents, std::uint64_t data_begin,
                   std::uint64_t file_size) {
  std::uint64_t end = 0;
  for (std::size_t i = 0; i < extents.size(); ++i) {
    place_tensor(catalog, catalog.tensors[i], extents[i], end, data_begin);
    end = extents[i].end;
  }
  // Two messages for one check: a file that is too short was cut, a longer one has other data than
  // this header.
  if (end > file_size - data_begin)
    throw Error(ErrorCode::corrupt,
                fmt::format("the header declares a file of {} bytes, it has {}: the download is incomplete",
                            core::add_or_throw(data_begin, end, "the end of the data"), file_size),
                {.offset = data_begin});
  if (end != file_size - data_begin)
    throw Error(ErrorCode::corrupt,
                fmt::format("expected {} bytes of data, the file has {} after its header", end, file_size - data_begin),
                {.offset = data_begin});
}

// Returns the header's length if `head` starts with a length and a JSON object, which can be incomplete.
std::optional<std::uint64_t> length_before_object(std::span<const std::byte> head) noexcept {
  if (head.size() <= length_bytes) return {};
  const std::string_view text(reinterpret_cast<const char*>(head.data()) + length_bytes, head.size() - length_bytes);
  constexpr std::string_view white_space = " \t\n\r";
  // A writer can pad the front of the header to a page: the head then shows only white space.
  const bool is_whole_head = head.size() == head_bytes;
  const std::size_t brace = text.find_first_not_of(white_space);
  // The character after the brace, if the head has it, excludes other texts that have a brace at byte 8.
  const std::size_t next = brace == text.npos ? brace : text.find_first_not_of(white_space, brace + 1);
  const bool is_object = brace == text.npos
                             ? is_whole_head
                             : text[brace] == '{' && (next == text.npos || text[next] == '"' || text[next] == '}');
  return is_object ? std::optional(core::load_le<std::uint64_t>(head.data())) : std::nullopt;
}

// Returns true for a length up to the reference's bound and a JSON object. Bytes 4 to 7 are then zero and byte 8 is '{'
// or white space: no valid file of another format has both. A file cut within its header matches too: it is a corrupt
// safetensors file.
bool matches(std::span<const std::byte> head, std::uint64_t) noexcept {
  const auto header = length_before_object(head);
  return header && *header >= min_header_bytes && *header <= reference_header_bytes;
}

// Returns true also for a header over the reference's bound, which Limits can allow. Large files of other formats can
// start with the same bytes.
bool resembles(std::span<const std::byte> head, std::uint64_t file_size) noexcept {
  const auto header = length_before_object(head);
  return header && (*header < min_header_bytes || core::inside(length_bytes, *header, file_size));
}

Catalog read(const core::Input& input, const ReadOptions& options) {
  Catalog catalog(input.budget());
  catalog.format = safetensors_format.name;
  const std::uint64_t header = header_bytes(input, options.limits);
  std::vector<Extent> extents;
  {
    // The text and the decoded escapes are freed at the end of this block, before the tables are sorted: the header
    // of a large model has several MiB.
    json::Document document(input.read(length_bytes, header), length_bytes, options.limits);
    extents = HeaderReader(document, header / usual_entry_bytes, options.limits, catalog).read();
  }
  order_by_data(catalog.tensors, extents);
  place_tensors(catalog, extents, core::add_or_throw(length_bytes, header, "the start of the data"),
                input.size_bytes());
  return catalog;
}

}  // namespace

constinit const Format safetensors_format{
    .name = "safetensors",
    .suffixes = ".safetensors .sft",
    .reads = "all 22 dtypes; one file, or shards with an index",
    .matches = matches,
    .read = read,
    .resembles = resembles,
    .writer = &safetensors_writer,
};

}  // namespace heft::format
