// format/burn/burnpack.cpp: reader of burnpack (.bpk), the format of Burn since 0.19, version 1.
//
//   u32 0x4255524E, the bytes "NRUB" | u16 version | u32 bytes of the metadata
//   metadata, CBOR: {tensors:  {name: {dtype, shape: [..], data_offsets: [begin, end], param_id?: unsigned}},
//                    metadata?: {text: text}, scalars?: {name: {"Int" | "UInt" | "Float" | "Bool": value}}}
//   padding to 256
//   data: data_offsets are relative to its start, each tensor at a multiple of 256
//
//   dtype: "F32", or a variant with a parameter: {"Bool": "Native"}; "Bool" before bools had two encodings
//
// Burn 0.19 wrote version 1 without padding: the data follow the metadata immediately, and each tensor the previous
// one. The file does not declare its layout, but it ends with the last tensor, so the size of the file determines it:
// see Reader::find_data(). A padded file of one tensor that was cut by exactly the padding looks like a file of 0.19.
//
// Burn's caps (100 MB of metadata, 100,000 tensors, depth 128) are Limits here. Its cap of 10 GB for a tensor limits an
// allocation that heft does not make. The reader is stricter than Burn: ranges must not overlap, sizes must fit their
// shapes, and the metadata must end with their map.
#include <algorithm>
#include <string>
#include <utility>

#include <fmt/format.h>

#include "core/checked.hpp"
#include "core/cursor.hpp"
#include "core/text.hpp"
#include "format/burn/dtypes.hpp"
#include "format/cbor/nodes.hpp"
#include "format/cbor/tokenizer.hpp"
#include "format/formats.hpp"
#include "format/range_checks.hpp"
#include "format/view_checks.hpp"
#include "heft/error.hpp"
#include "heft/shape.hpp"

namespace heft::format {
namespace burnpack {
namespace {

constexpr std::string_view magic = "NRUB";
constexpr std::uint16_t newest_version = 1;
constexpr std::uint64_t header_bytes = 10;
constexpr std::uint64_t alignment = 256;

bool matches(std::span<const std::byte> head, std::uint64_t) noexcept {
  return std::string_view(reinterpret_cast<const char*>(head.data()), head.size()).starts_with(magic);
}

class Reader {
 public:
  Reader(const core::Input& input, const Limits& limits) noexcept : input_(input), limits_(limits) {}

  Catalog read();

 private:
  void find_metadata();
  void read_map(CborReader& cbor);
  void read_tensors(CborReader& cbor);
  TensorEntry read_tensor(CborReader& cbor, std::string_view name);
  void read_dtype(CborReader& cbor, TensorEntry& tensor);
  void read_shape(CborReader& cbor, TensorEntry& tensor);
  void read_offsets(CborReader& cbor, TensorEntry& tensor);
  void read_pairs(CborReader& cbor);
  void read_scalars(CborReader& cbor);
  std::uint32_t read_scalar(CborReader& cbor, std::string_view name);
  void add_parameter_ids();
  void add_others();
  std::uint64_t find_data();
  void place(std::uint64_t data);

  const core::Input& input_;
  const Limits& limits_;
  Catalog catalog_{input_.budget()};
  std::uint64_t metadata_end_ = 0;
  std::vector<std::uint32_t> pairs_;                                // of the metadata map
  std::vector<std::pair<std::string_view, std::uint32_t>> others_;  // other keys of the map, at most 64
  std::vector<std::pair<std::string_view, std::uint64_t>> parameter_ids_;
};

[[noreturn]] void fail(ErrorCode code, std::string_view tensor, std::uint64_t at, std::string message) {
  throw Error(code, std::move(message), {.tensor = std::string(tensor), .offset = at});
}

Catalog Reader::read() {
  catalog_.format = "burnpack";
  find_metadata();
  CborReader cbor(input_, header_bytes, metadata_end_, limits_);
  read_map(cbor);
  if (cbor.remaining() > 0)
    fail(ErrorCode::corrupt, {}, cbor.offset(),
         fmt::format("expected nothing after the metadata's map, found {} bytes", cbor.remaining()));
  // The map's keys are names: a repeated key would let two readers load different tensors.
  require_unique_names(catalog_);
  place(find_data());
  add_parameter_ids();
  add_others();
  if (!pairs_.empty()) catalog_.metadata = catalog_.add_container(NodeKind::map, pairs_);
  // Names and texts point into the metadata.
  catalog_.kept = cbor.release();
  return std::move(catalog_);
}

void Reader::find_metadata() {
  core::Cursor cursor(input_, 0, input_.size_bytes(), header_bytes);
  cursor.skip(magic.size(), "the magic");
  const auto version = cursor.little<std::uint16_t>("the version");
  if (version > newest_version)
    fail(ErrorCode::unsupported, {}, magic.size(),
         fmt::format("burnpack version {}, heft reads up to {}", version, newest_version));
  const auto size = cursor.little<std::uint32_t>("the size of the metadata");
  // Before the limit: a size beyond the file is damage, and raising the limit would not help.
  core::require_inside(header_bytes, size, input_.size_bytes(), "the metadata");
  core::require_limit(size, limits_.burnpack_metadata_bytes, "bytes of the metadata", "burnpack_metadata_bytes",
                      magic.size() + 2);
  catalog_.detail = fmt::format("burnpack v{}", version);
  metadata_end_ = header_bytes + size;
}

// Adds `key` to the keys of a map. Throws Error{ambiguous} for a repeated key. Unknown keys are allowed, as in Burn.
void require_new(std::vector<std::string_view>& keys, const CborItem& key) {
  if (std::ranges::find(keys, key.text) != keys.end())
    fail(ErrorCode::ambiguous, {}, key.offset, fmt::format("the key '{}' occurs twice", core::escaped(key.text)));
  keys.push_back(key.text);
}

void Reader::read_map(CborReader& cbor) {
  constexpr std::uint64_t max_keys = 64;  // each is compared with all others
  const CborItem map = cbor.next(CborKind::map, "the metadata");
  std::vector<std::string_view> keys;
  for (std::uint64_t pair = 0; !cbor.ends(map, pair); ++pair) {
    if (std::max(pair + 1, map.number) > max_keys)
      fail(ErrorCode::corrupt, {}, map.offset,
           fmt::format("expected tensors, metadata and scalars, found over {} keys", max_keys));
    const CborItem key = cbor.next(CborKind::text, "a key of the metadata");
    require_new(keys, key);
    if (key.text == "tensors")
      read_tensors(cbor);
    else if (key.text == "metadata")
      read_pairs(cbor);
    else if (key.text == "scalars")
      read_scalars(cbor);
    else
      // Kept until the pairs of the metadata were read, which can come later in the map.
      others_.emplace_back(key.text, add_nodes(cbor, cbor.next("a value of the metadata"), catalog_, limits_));
  }
  // Burn writes the key also for a model without tensors.
  if (std::ranges::find(keys, "tensors") == keys.end())
    fail(ErrorCode::corrupt, {}, map.offset, "expected the key 'tensors' in the metadata, found none");
}

// ---- tensors ----

void Reader::read_tensors(CborReader& cbor) {
  const CborItem map = cbor.next(CborKind::map, "the map of tensors");
  // The reader has compared the count with the remaining bytes, so reserving is safe.
  core::require_limit(map.number, limits_.tensors, "the number of tensors", "tensors", map.offset);
  catalog_.tensors.reserve(map.number);
  for (std::uint64_t pair = 0; !cbor.ends(map, pair); ++pair) {
    core::require_limit(pair + 1, limits_.tensors, "the number of tensors", "tensors", map.offset);
    const CborItem key = cbor.next(CborKind::text, "a tensor's name");
    core::require_limit(key.text.size(), limits_.name_bytes, "bytes of a tensor's name", "name_bytes", key.offset);
    try {
      catalog_.tensors.push_back(read_tensor(cbor, key.text));
    } catch (const Error& error) {
      throw error.with_tensor(key.text);
    }
  }
}

TensorEntry Reader::read_tensor(CborReader& cbor, std::string_view name) {
  constexpr std::uint64_t max_keys = 64;
  const CborItem map = cbor.next(CborKind::map, "a tensor's description");
  TensorEntry tensor{.name = name};
  std::vector<std::string_view> keys;
  for (std::uint64_t pair = 0; !cbor.ends(map, pair); ++pair) {
    if (std::max(pair + 1, map.number) > max_keys)
      fail(ErrorCode::corrupt, {}, map.offset, fmt::format("a tensor's description of over {} keys", max_keys));
    const CborItem key = cbor.next(CborKind::text, "a key of a tensor's description");
    require_new(keys, key);
    if (key.text == "dtype")
      read_dtype(cbor, tensor);
    else if (key.text == "shape")
      read_shape(cbor, tensor);
    else if (key.text == "data_offsets")
      read_offsets(cbor, tensor);
    else if (key.text == "param_id") {
      // An Option of Rust: null stands for none.
      const CborItem id = cbor.next("a tensor's param_id");
      if (id.kind == CborKind::unsigned_integer)
        parameter_ids_.emplace_back(name, id.number);
      else if (id.kind != CborKind::null)
        fail(ErrorCode::corrupt, {}, id.offset,
             fmt::format("param_id: expected an unsigned integer, found {}", format::name(id.kind)));
    } else
      // Unknown keys of later versions are skipped, as Burn does.
      cbor.skip_inside(cbor.next("a tensor's description"), "a tensor's description");
  }
  // Keys are unique, so a missing one is not hidden by a repeated other.
  for (const std::string_view wanted : {"dtype", "shape", "data_offsets"})
    if (std::ranges::find(keys, wanted) == keys.end())
      fail(ErrorCode::corrupt, {}, map.offset,
           fmt::format("expected dtype, shape and data_offsets, found no {}", wanted));
  return tensor;
}

void Reader::read_dtype(CborReader& cbor, TensorEntry& tensor) {
  const CborItem item = cbor.next("a tensor's dtype");
  // serde writes a Rust enum as its name, or as a map of one name and its parameters.
  if (item.kind == CborKind::text) return set_burn_dtype(catalog_, tensor, item.text, {});
  if (item.kind != CborKind::map || cbor.ends(item, 0))
    fail(ErrorCode::corrupt, {}, item.offset,
         fmt::format("dtype: expected a text or a map of one variant, found {}", name(item.kind)));
  const CborItem variant = cbor.next(CborKind::text, "the variant of a dtype");
  const CborItem parameter = cbor.next("the parameter of a dtype");
  cbor.skip_inside(parameter, "the parameter of a dtype");
  if (!cbor.ends(item, 1)) fail(ErrorCode::corrupt, {}, item.offset, "dtype: expected one variant, found more");
  // Parameters that are no text (the scheme of a quantized dtype) are shortened: the dtype stays unknown in any case.
  set_burn_dtype(catalog_, tensor, variant.text, parameter.kind == CborKind::text ? parameter.text : "..");
}

void Reader::read_shape(CborReader& cbor, TensorEntry& tensor) {
  const CborItem list = cbor.next(CborKind::list, "a tensor's shape");
  // The number of dims of a list of indefinite length is known at its end; read_dims() refuses the one over the limit.
  std::vector<CborItem> dims;
  while (dims.size() <= limits_.rank && !cbor.ends(list, dims.size()))
    dims.push_back(cbor.next(CborKind::unsigned_integer, "a tensor's dim"));
  auto dim = dims.begin();
  catalog_.set_dims(tensor, read_dims(dims.size(), list.offset, tensor.name, limits_, [&] { return *dim++; }));
}

void Reader::read_offsets(CborReader& cbor, TensorEntry& tensor) {
  const CborItem list = cbor.next(CborKind::list, "a tensor's data_offsets");
  // Relative to the data, whose start find_data() computes when all tensors are known.
  tensor.begin = cbor.next(CborKind::unsigned_integer, "the start of a tensor").number;
  const CborItem end = cbor.next(CborKind::unsigned_integer, "the end of a tensor");
  if (end.number < tensor.begin)
    fail(ErrorCode::corrupt, {}, end.offset,
         fmt::format("data_offsets: expected an end of {} or more, found {}", tensor.begin, end.number));
  if (!cbor.ends(list, 2)) fail(ErrorCode::corrupt, {}, list.offset, "data_offsets: expected two numbers, found more");
  tensor.size = end.number - tensor.begin;
}

// ---- metadata and scalars ----

/// Adds unknown keys, of later versions or other writers, to the metadata. Burn ignores them.
void Reader::add_others() {
  for (const auto& [key, node] : others_) {
    bool is_new = true;
    // At most 64 other keys, each compared with all pairs, so this takes linear time.
    for (std::size_t pair = 0; pair < pairs_.size() && is_new; pair += 2) {
      const Node& other = catalog_.nodes[pairs_[pair]];
      is_new = std::string_view(other.text, other.count) != key;
    }
    if (!is_new) {
      catalog_.notes.push_back(fmt::format("the value '{}' beside the metadata is left out: they have one of this name",
                                           core::escaped(key)));
      continue;
    }
    pairs_.push_back(catalog_.add_text(key));
    pairs_.push_back(node);
  }
}

void Reader::read_pairs(CborReader& cbor) {
  const CborItem map = cbor.next(CborKind::map, "the pairs of the metadata");
  std::vector<std::string_view> keys;
  for (std::uint64_t pair = 0; !cbor.ends(map, pair); ++pair) {
    keys.push_back(cbor.next(CborKind::text, "a key of the metadata's pairs").text);
    pairs_.push_back(catalog_.add_text(keys.back()));
    pairs_.push_back(catalog_.add_text(cbor.next(CborKind::text, "a value of the metadata's pairs").text));
  }
  // Compared once at the end by sorting: the number of pairs is the file's choice.
  if (const auto twin = duplicate(std::move(keys)))
    fail(ErrorCode::ambiguous, {}, map.offset,
         fmt::format("the metadata have the key '{}' twice", core::escaped(*twin)));
}

void Reader::read_scalars(CborReader& cbor) {
  const CborItem map = cbor.next(CborKind::map, "the scalars");
  for (std::uint64_t pair = 0; !cbor.ends(map, pair); ++pair) {
    const CborItem key = cbor.next(CborKind::text, "a scalar's name");
    core::require_limit(key.text.size(), limits_.name_bytes, "bytes of a scalar's name", "name_bytes", key.offset);
    // A scalar is a value of its own beside the tensors, under its name.
    catalog_.values.push_back({key.text, read_scalar(cbor, key.text)});
  }
}

/// {"Int": -1}, {"UInt": 1}, {"Float": 0.5}, {"Bool": true}.
std::uint32_t Reader::read_scalar(CborReader& cbor, std::string_view name) {
  const CborItem map = cbor.next(CborKind::map, "a scalar");
  const std::string_view variant = cbor.next(CborKind::text, "the variant of a scalar").text;
  const CborItem value = cbor.next("the value of a scalar");
  if (!cbor.ends(map, 1))
    fail(ErrorCode::corrupt, {}, map.offset,
         fmt::format("scalar '{}': expected one variant, found more", core::escaped(name)));
  Node node;
  // CBOR has one encoding for positive integers, whatever the sign of their Rust type.
  if ((variant == "Int" || variant == "UInt") && value.kind == CborKind::unsigned_integer) {
    node.kind = value.number > INT64_MAX ? NodeKind::unsigned_integer : NodeKind::integer;
    node.unsigned_integer = value.number;
  } else if (variant == "Int" && value.kind == CborKind::negative && value.number <= INT64_MAX) {
    node.kind = NodeKind::integer;
    // CBOR stores -1 - value; the test above keeps the result within 64 bits.
    node.integer = -1 - static_cast<std::int64_t>(value.number);
  } else if (variant == "Float" && value.kind == CborKind::real) {
    node.kind = NodeKind::real;
    node.real = value.real;
  } else if (variant == "Bool" && value.kind == CborKind::boolean) {
    node.kind = NodeKind::boolean;
    node.integer = static_cast<std::int64_t>(value.number);
  } else {
    fail(ErrorCode::corrupt, {}, value.offset,
         fmt::format("scalar '{}': expected Int, UInt, Float or Bool and its value, found '{}' and {}",
                     core::escaped(name), core::escaped(variant), format::name(value.kind)));
  }
  return catalog_.add_node(node);
}

/// Adds the ids by which Burn's optimizers find parameters to the metadata, as one entry.
void Reader::add_parameter_ids() {
  if (parameter_ids_.empty()) return;
  std::vector<std::uint32_t> ids;
  for (const auto& [tensor, id] : parameter_ids_) {
    ids.push_back(catalog_.add_text(tensor));
    Node node;
    node.kind = id > INT64_MAX ? NodeKind::unsigned_integer : NodeKind::integer;
    node.unsigned_integer = id;
    ids.push_back(catalog_.add_node(node));
  }
  pairs_.push_back(catalog_.add_text("param_id"));
  pairs_.push_back(catalog_.add_container(NodeKind::map, ids));
}

// ---- the start of the data ----

/// Returns the offset of the data. It is the padded one, unless the tensors follow each other without gaps and the file
/// ends with them if no padding lies between metadata and data, as in files of Burn 0.19. The ends of the two layouts
/// differ by that padding; if it is 0, the layouts are the same.
std::uint64_t Reader::find_data() {
  sort_by_place(catalog_.tensors);
  std::uint64_t end = 0;
  bool dense = true;
  bool aligned = true;
  for (const TensorEntry& tensor : catalog_.tensors) {
    // Dense and aligned can both be true: sizes that are multiples of 256 leave no gap in the padded layout.
    dense = dense && tensor.begin == end;
    aligned = aligned && tensor.begin % alignment == 0;
    end = std::max(end, tensor.begin + tensor.size);
  }
  const std::uint64_t file_size = input_.size_bytes();
  const std::uint64_t padded = core::align_up(metadata_end_, alignment);
  // Without tensors nothing shows the layout, and nothing is read from the data.
  if (catalog_.tensors.empty()) return std::min(padded, file_size);
  // The file's size is compared with both ends; either can be beyond 64 bits in a damaged file.
  const std::uint64_t padded_end = core::add_or_throw(padded, end, "the end of the data");
  const std::uint64_t plain_end = core::add_or_throw(metadata_end_, end, "the end of the data");
  // The plain layout only if the file ends exactly with it: the padded one is what later versions write.
  if (dense && file_size == plain_end && plain_end != padded_end) {
    catalog_.detail += ", as Burn 0.19 wrote it: not aligned";
    return metadata_end_;
  }
  // Tensors that are not aligned belong to no padded file of Burn; such a file must at least end with its data, else
  // its layout would be a guess.
  if (file_size < padded_end || (!aligned && file_size != padded_end))
    fail(ErrorCode::corrupt, {}, metadata_end_,
         fmt::format("expected a file of {} bytes, or of {} as Burn 0.19 wrote it, found {}", padded_end, plain_end,
                     file_size));
  if (file_size > padded_end)
    catalog_.notes.push_back(fmt::format("{} bytes after the last tensor", file_size - padded_end));
  return padded;
}

void Reader::place(std::uint64_t data) {
  for (TensorEntry& tensor : catalog_.tensors) {
    // find_data() has checked that data and offsets do not overflow and end within the file.
    tensor.begin += data;
    if (tensor.dtype == DType::unknown) {
      require_raw_bytes(catalog_, tensor, tensor.begin);
      continue;
    }
    try {
      const std::uint64_t expected = bytes_for(tensor.dtype, Shape(catalog_.sizes(tensor)));
      if (expected != tensor.size)
        fail(ErrorCode::corrupt, tensor.name, tensor.begin,
             fmt::format("expected {} bytes for its shape, data_offsets span {}", expected, tensor.size));
    } catch (const Error& error) {
      throw error.with_tensor(tensor.name);
    }
  }
  require_disjoint(catalog_.tensors);
}

Catalog read(const core::Input& input, const ReadOptions& options) { return Reader(input, options.limits).read(); }

}  // namespace
}  // namespace burnpack

const Format burnpack_format = {
    .name = "burnpack",
    .suffixes = ".bpk",
    .reads =
        "version 1, padded or as Burn 0.19 wrote it; scalars and metadata as records; quantized tensors as raw bytes",
    .matches = burnpack::matches,
    .read = burnpack::read,
};

}  // namespace heft::format
