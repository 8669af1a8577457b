// format/flax/reader.cpp: reader of Flax's MessagePack files (flax_model.msgpack, checkpoint_N), which
// flax.serialization.to_bytes makes of a state dict.
//
//   nested maps with texts as keys; leaves are
//   ext 1: an array: [shape: [unsigned..], dtype: text, bytes], row-major; the dtype by its NumPy or ml_dtypes name
//   ext 2: a complex number: [real, imaginary]
//   ext 3: a NumPy scalar: as ext 1, of rank 0
//   {"__msgpack_chunked_array__": true, "shape": {"0": dim, ..}, "chunks": {"0": ext 1 of rank 1, ..}}:
//       an array over 1 GiB, in chunks of its flattened elements
//   and MessagePack's numbers, texts, booleans and nil
//
// Arrays are not aligned.
#include <algorithm>
#include <array>
#include <string>

#include <fmt/format.h>

#include "core/checked.hpp"
#include "format/formats.hpp"
#include "format/msgpack/tree.hpp"
#include "format/range_checks.hpp"
#include "format/view_checks.hpp"
#include "heft/error.hpp"
#include "heft/shape.hpp"

namespace heft::format {
namespace flax {
namespace {

constexpr std::size_t max_chunks = 4096;  // of 1 GiB each, except for the last

enum Extension : std::int8_t { array = 1, complex_number = 2, scalar = 3 };

constexpr std::array<std::string_view, 2> words{"", "complex"};  // Catalog::words
constexpr std::uint8_t complex_word = 1;

/// Returns true for a map whose first key is a text that is not empty. read() refuses maps of other programs, which
/// have no array.
bool matches(std::span<const std::byte> head, std::uint64_t) noexcept {
  // 0 past the head: no head of a map or a text, so short files do not match.
  const auto byte = [&](std::size_t at) { return at < head.size() ? std::to_integer<unsigned>(head[at]) : 0u; };
  std::size_t at = 1;
  // The count of pairs: in the head for up to 15, else in two or four bytes, which are not compared.
  if (byte(0) == 0xDE)
    at = 3;
  else if (byte(0) == 0xDF)
    at = 5;
  else if (byte(0) < 0x81 || byte(0) > 0x8F)
    return false;
  std::size_t size = byte(at) - 0xA0u;
  std::size_t text = at + 1;
  // A text of up to 31 bytes has its length in the head, one of up to 255 in the next byte. Longer keys do not occur.
  if (byte(at) == 0xD9) {
    size = byte(at + 1);
    text = at + 2;
  } else if (byte(at) < 0xA1 || byte(at) > 0xBF) {
    return false;
  }
  if (size == 0 || text + size > head.size()) return false;
  // Names of parameters have no control characters; bytes of other formats mostly do.
  return std::ranges::all_of(head.subspan(text, size),
                             [](std::byte letter) { return letter >= std::byte{0x20} && letter != std::byte{0x7F}; });
}

class FlaxTree final : public PackTree {
 public:
  FlaxTree(Catalog& catalog, PackReader& reader, const Limits& limits) noexcept : PackTree(catalog, reader, limits) {}

 private:
  bool take_tensor(const PackItem& head) override;
  std::uint32_t make_extension(const PackItem& head) override;
  bool join_tensors(std::span<const Child> children, std::size_t first_tensor) override;
  void set_dtype(TensorEntry& tensor, const PackItem& name);
  void require_end(const PackItem& head);
  std::vector<std::int64_t> dims_of(std::uint32_t shape) const;
  [[noreturn]] void fail_join(std::string message) const;
};

bool FlaxTree::take_tensor(const PackItem& head) {
  if (head.kind != PackKind::extension || (head.extension != array && head.extension != scalar)) return false;
  // The contents of the extension are MessagePack again, so the same reader goes on inside.
  if (reader_.next(PackKind::list, "an array").number != 3)
    throw Error(ErrorCode::corrupt, "expected an array of shape, dtype and bytes",
                {.tensor = std::string(path()), .offset = head.payload});
  TensorEntry tensor;
  const std::vector<std::int64_t> dims = read_dims();
  catalog_.set_dims(tensor, dims);
  set_dtype(tensor, reader_.next("the dtype of an array"));
  const PackItem bytes = reader_.next(PackKind::bytes, "the bytes of an array");
  tensor.begin = bytes.payload;
  tensor.size = bytes.number;
  // Only the place is kept; the payload is not read.
  reader_.skip(bytes, "the bytes of an array");
  require_end(head);
  add_tensor(tensor, head.offset);
  return true;
}

void FlaxTree::set_dtype(TensorEntry& tensor, const PackItem& name) {
  // Flax unpacks the name as raw bytes, so it accepts a text and bytes alike.
  if (name.kind != PackKind::text && name.kind != PackKind::bytes)
    throw Error(ErrorCode::corrupt, fmt::format("dtype: expected a text, found {}", format::name(name.kind)),
                {.tensor = std::string(path()), .offset = name.offset});
  core::require_limit(name.number, limits_.name_bytes, "bytes of a dtype's name", "name_bytes", name.offset);
  const std::string_view text = reader_.take_text(name, "the dtype of an array");
  const auto dtype = dtype_from_name(text);
  // NumPy and ml_dtypes have no block types: a name like one of heft's is unknown here.
  if (dtype && is_plain(*dtype)) {
    tensor.dtype = *dtype;
    return;
  }
  catalog_.set_unknown_dtype(tensor, keep(text));
}

// Requires that the contents of an extension end where it ends.
void FlaxTree::require_end(const PackItem& head) {
  if (reader_.offset() != head.payload + head.number)
    throw Error(ErrorCode::corrupt,
                fmt::format("expected an extension of {} bytes, found contents of {}", head.number,
                            reader_.offset() - head.payload),
                {.tensor = std::string(path()), .offset = head.offset});
}

std::uint32_t FlaxTree::make_extension(const PackItem& head) {
  if (head.extension != complex_number) return PackTree::make_extension(head);
  if (reader_.next(PackKind::list, "a complex number").number != 2)
    throw Error(ErrorCode::corrupt, "expected a complex number of two parts", {.offset = head.payload});
  std::uint32_t parts[2];
  for (std::uint32_t& part : parts) {
    Node node;
    node.kind = NodeKind::real;
    // Python's floats are doubles, and Flax packs the two parts of its complex.
    node.real = reader_.next(PackKind::real64, "a part of a complex number").real;
    part = catalog_.add_node(node);
  }
  require_end(head);
  return catalog_.add_container(NodeKind::list, parts, complex_word);
}

// ---- arrays in chunks ----

void FlaxTree::fail_join(std::string message) const {
  throw Error(ErrorCode::corrupt, std::move(message), {.tensor = std::string(path())});
}

bool FlaxTree::join_tensors(std::span<const Child> children, std::size_t first_tensor) {
  // Linear: a chunked array has three children.
  const auto child = [&](std::string_view key) { return std::ranges::find(children, key, &Child::key); };
  if (child("__msgpack_chunked_array__") == children.end()) return false;
  // A child without a node is a tensor or contains one, which is true for the chunks and false for the shape.
  if (children.size() != 3 || child("shape") == children.end() || child("shape")->node == none ||
      child("chunks") == children.end() || child("chunks")->node != none)
    fail_join("expected a chunked array of shape and chunks");
  // At least one, because `chunks` is a tensor or contains one. Tensors in other places fail the comparison of names.
  const std::span<const TensorEntry> parts = std::span(catalog_.tensors).subspan(first_tensor);
  if (parts.size() > max_chunks)
    fail_join(fmt::format("expected at most {} chunks, found {}", max_chunks, parts.size()));
  TensorEntry whole{.type_name = parts[0].type_name, .dtype = parts[0].dtype};
  const std::vector<std::int64_t> dims = dims_of(child("shape")->node);
  std::uint64_t elements = 0;
  for (std::size_t i = 0; i < parts.size(); ++i) {
    // Chunks are in file order, and their order is that of the elements: chunk 10 must not follow chunk 1.
    if (parts[i].name != fmt::format("{}.chunks.{}", path(), i))
      fail_join(fmt::format("expected chunk {} where '{}' is", i, parts[i].name));
    // The parts are joined as flattened elements, so each must be a row of the same dtype.
    if (parts[i].rank != 1 || parts[i].dtype != whole.dtype || whole.dtype == DType::unknown)
      fail_join("expected chunks of rank 1 and of one known dtype");
    elements =
        core::add_or_throw(elements, static_cast<std::uint64_t>(catalog_.sizes(parts[i])[0]), "elements of all chunks");
  }
  if (Shape(dims).element_count() != elements)
    fail_join(fmt::format("expected {} elements in all chunks, found {}", Shape(dims).element_count(), elements));
  catalog_.set_dims(whole, dims);
  add_joined(whole, first_tensor);
  return true;
}

/// Returns the dims of {"0": dim, "1": dim}, which is how Flax writes a tuple.
std::vector<std::int64_t> FlaxTree::dims_of(std::uint32_t shape) const {
  const Node& map = catalog_.nodes[shape];
  if (map.kind != NodeKind::map) fail_join("expected the shape of a chunked array to be a map");
  core::require_limit(map.count, limits_.rank, "the number of dims", "rank");
  std::vector<std::int64_t> dims;
  for (std::uint32_t i = 0; i < map.count; ++i) {
    const Node& key = catalog_.nodes[catalog_.children[map.first + std::size_t{2} * i]];
    const Node& dim = catalog_.nodes[catalog_.children[map.first + std::size_t{2} * i + 1]];
    // The keys must count up: sorted as texts, "10" precedes "2".
    if (std::string_view(key.text, key.count) != fmt::to_string(i) || dim.kind != NodeKind::integer)
      fail_join("expected the dims of a chunked array in order");
    dims.push_back(dim.integer);
  }
  require_shape(dims, limits_);
  return dims;
}

Catalog read(const core::Input& input, const ReadOptions& options) {
  Catalog catalog(input.budget());
  catalog.format = "flax";
  catalog.words = words;
  PackReader reader(input, 0, input.size_bytes(), options.limits);
  FlaxTree(catalog, reader, options.limits).read();
  if (reader.remaining() > 0)
    throw Error(ErrorCode::corrupt,
                fmt::format("expected nothing after the document, found {} bytes", reader.remaining()),
                {.offset = reader.offset()});
  // matches() accepts any map with texts as keys; without an array this is a file of another program.
  if (catalog.tensors.empty() && catalog.joined.empty())
    throw Error(ErrorCode::unsupported,
                "MessagePack without an array of Flax in it; heft reads Flax's files and Burn's records",
                {.offset = 0});
  require_unique_names(catalog);
  sort_by_place(catalog.tensors);
  return catalog;
}

}  // namespace
}  // namespace flax

const Format flax_format = {
    .name = "flax",
    .suffixes = ".msgpack",
    .reads = "arrays, NumPy scalars, complex numbers; arrays in chunks as one tensor; other values as records",
    .matches = flax::matches,
    .read = flax::read,
};

}  // namespace heft::format
