#include "torch_reading.hpp"

#include <algorithm>
#include <cstring>
#include <fstream>
#include <iterator>
#include <stdexcept>

#include <doctest/doctest.h>

#include "core/endian.hpp"
#include "format/archive/inflate.hpp"
#include "format/formats.hpp"
#include "heft/element.hpp"
#include "heft/error.hpp"
#include "heft/shape.hpp"
#include "support/catalog_checks.hpp"

namespace heft::test {
namespace {

std::string storage_of(const format::Catalog& catalog, const format::TensorEntry& tensor, std::string_view file) {
  if (tensor.member == format::none) return std::string(file.substr(tensor.begin, tensor.size));
  const format::Member& member = catalog.members.at(tensor.member);
  const Bytes inflated = format::inflate(std::as_bytes(std::span(file.substr(member.begin, member.size))),
                                         member.full_size, 1032, "member");
  REQUIRE(format::crc32(inflated.span()) == member.crc32);
  return std::string(reinterpret_cast<const char*>(inflated.data()) + tensor.begin, tensor.size);
}

JsonTree build(format::json::Value& value) {
  using format::json::Kind;
  JsonTree tree;
  tree.kind = value.kind("a value");
  switch (tree.kind) {
    case Kind::object:
      value.members("a member", [&](const format::json::Key& key, format::json::Value& item) {
        tree.members.emplace_back(std::string(key.text), build(item));
      });
      break;
    case Kind::list:
      value.elements("an element", [&](format::json::Value& item) { tree.elements.push_back(build(item)); });
      break;
    case Kind::text: tree.text = value.text("a text"); break;
    case Kind::number:
      tree.number = std::visit([](auto number) { return static_cast<double>(number); }, value.number("a number"));
      break;
    case Kind::boolean: tree.boolean = value.boolean("a boolean"); break;
    case Kind::null: value.null("null"); break;
  }
  return tree;
}

}  // namespace

const JsonTree& JsonTree::operator[](std::string_view name) const {
  static const JsonTree nothing;
  for (const auto& [key, value] : members)
    if (key == name) return value;
  return nothing;
}

bool JsonTree::has(std::string_view name) const {
  return std::any_of(members.begin(), members.end(), [&](const auto& member) { return member.first == name; });
}

std::string read_file(const std::filesystem::path& path) {
  std::ifstream file(path, std::ios::binary);
  if (!file) throw std::runtime_error("cannot read " + path.string());
  return {std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
}

JsonTree read_json(const std::filesystem::path& path) {
  const Limits limits;
  format::json::Document document(exact_bytes(read_file(path)), 0, limits);
  JsonTree tree;
  tree.kind = format::json::Kind::object;
  document.members([&](const format::json::Key& key, format::json::Value& value) {
    tree.members.emplace_back(std::string(key.text), build(value));
  });
  return tree;
}

format::Catalog open_bytes(std::string_view file, const format::ReadOptions& options) {
  const auto head = std::as_bytes(std::span(file.substr(0, format::head_bytes)));
  const format::Format* format = format::recognize(head, file.size());
  if (format == nullptr) throw Error(ErrorCode::unrecognized, "no format that heft reads");
  format::Catalog catalog = read_bytes(*format, file, options);
  SoundCatalog(catalog, file.size()).check();
  return catalog;
}

const format::TensorEntry& tensor_of(const format::Catalog& catalog, std::string_view name) {
  for (const format::TensorEntry& tensor : catalog.tensors)
    if (tensor.name == name) return tensor;
  FAIL("no tensor '" << name << "'");
  throw std::logic_error("FAIL returned");
}

const format::Node* value_of(const format::Catalog& catalog, std::string_view name) {
  for (const format::Value& value : catalog.values)
    if (value.name == name) return &catalog.nodes.at(value.node);
  return nullptr;
}

std::string elements_of(const format::Catalog& catalog, const format::TensorEntry& tensor, std::string_view file) {
  const std::string storage = storage_of(catalog, tensor, file);
  const Shape shape(catalog.sizes(tensor));
  const DTypeInfo& row = info(tensor.dtype);
  if (row.block_elements > 1)
    return storage.substr(tensor.first / row.block_elements * row.block_bytes, bytes_for(tensor.dtype, shape));
  Strides strides = Strides::contiguous(shape);
  if (tensor.flags & format::strided) strides = Strides(catalog.strides(tensor));
  const std::size_t width = row.block_bytes;
  std::string out;
  for (std::uint64_t flat = 0; flat < shape.element_count(); ++flat) {
    std::uint64_t rest = flat;
    std::uint64_t at = tensor.first;
    for (std::size_t dim = shape.rank(); dim-- > 0;) {
      at += rest % static_cast<std::uint64_t>(shape[dim]) * static_cast<std::uint64_t>(strides[dim]);
      rest /= static_cast<std::uint64_t>(shape[dim]);
    }
    std::string element = storage.substr(at * width, width);
    REQUIRE(element.size() == width);
    if (tensor.flags & format::swapped)
      for (std::size_t part = 0; part < width; part += row.swap_bytes)
        std::reverse(element.begin() + static_cast<std::ptrdiff_t>(part),
                     element.begin() + static_cast<std::ptrdiff_t>(part + row.swap_bytes));
    out += element;
  }
  return out;
}

double number_at(DType dtype, std::string_view elements, std::size_t index) {
  const std::byte* from = reinterpret_cast<const std::byte*>(elements.data()) + index * info(dtype).block_bytes;
  switch (dtype) {
    case DType::boolean: return std::to_integer<int>(*from) != 0;
    case DType::u8:
    case DType::qu8: return core::load_le<std::uint8_t>(from);
    case DType::i8:
    case DType::qi8: return core::load_le<std::int8_t>(from);
    case DType::i16: return core::load_le<std::int16_t>(from);
    case DType::i32:
    case DType::qi32: return core::load_le<std::int32_t>(from);
    case DType::i64: return static_cast<double>(core::load_le<std::int64_t>(from));
    case DType::f16: return static_cast<double>(f16_to_f32(core::load_le<std::uint16_t>(from)));
    case DType::bf16: return static_cast<double>(bf16_to_f32(core::load_le<std::uint16_t>(from)));
    case DType::f32:
    case DType::c64: return static_cast<double>(core::load_le<float>(from));
    case DType::f64:
    case DType::c128: return core::load_le<double>(from);
    default: FAIL("no number of dtype " << name(dtype)); return 0;
  }
}

std::string_view class_of(const format::Catalog& catalog, const format::Node& node) {
  REQUIRE(node.kind == format::NodeKind::opaque);
  const format::Node& name = catalog.nodes.at(catalog.children.at(node.first));
  return {name.text, name.count};
}

}  // namespace heft::test
