// Files that PyTorch and others wrote, and what they hold.
#include <doctest/doctest.h>

#include <cmath>
#include <filesystem>
#include <map>
#include <optional>
#include <string>
#include <string_view>

#include "support/fixtures.hpp"
#include "torch_reading.hpp"

using namespace heft;
using namespace heft::test;
using format::json::Kind;

namespace {

namespace fs = std::filesystem;

std::string torch_name(DType dtype) {
  static const std::map<DType, std::string> names{
      {DType::f64, "float64"}, {DType::f32, "float32"},  {DType::f16, "float16"},   {DType::bf16, "bfloat16"},
      {DType::i64, "int64"},   {DType::i32, "int32"},    {DType::i16, "int16"},     {DType::i8, "int8"},
      {DType::u8, "uint8"},    {DType::boolean, "bool"}, {DType::c64, "complex64"}, {DType::c128, "complex128"},
      {DType::qi8, "qint8"},   {DType::qu8, "quint8"},   {DType::qi32, "qint32"}};
  const auto known = names.find(dtype);
  return known == names.end() ? "?" : "torch." + known->second;
}

double number_of(const JsonTree& value) {
  if (value.kind == Kind::boolean) return value.boolean;
  if (value.kind == Kind::list) return number_of(value.elements.at(0));  // complex: its real part
  if (value.text == "nan") return NAN;
  if (value.text == "inf") return INFINITY;
  if (value.text == "-inf") return -INFINITY;
  return value.number;
}

/// Compares a catalog with the tree of a file that PyTorch itself printed.
class Comparison {
 public:
  Comparison(const format::Catalog& catalog, std::string_view file) : catalog_(catalog), file_(file) {}

  void object(const JsonTree& expected, const std::string& path);
  std::size_t tensors() const { return tensors_; }

 private:
  void tensor(const JsonTree& expected, const std::string& path);
  void numbers(const format::TensorEntry& tensor, const JsonTree& values);
  void dims(const format::TensorEntry& tensor, const JsonTree& expected);
  void container(const JsonTree& expected, const std::string& path);
  void node(const JsonTree& expected, const format::Node& node);
  const format::Node& child(const format::Node& node, std::size_t index) const {
    return catalog_.nodes.at(catalog_.children.at(node.first + index));
  }

  const format::Catalog& catalog_;
  std::string_view file_;
  std::size_t tensors_ = 0;
};

std::string key_of(const JsonTree& key) {
  switch (key.kind) {
    case Kind::text: return key.text;
    case Kind::null: return "None";
    case Kind::boolean: return key.boolean ? "True" : "False";
    default:
      return key.number == std::floor(key.number) ? std::to_string(static_cast<long>(key.number))
                                                  : doctest::toString(key.number).c_str();
  }
}

std::string text_of(const format::Node& node) { return {node.text, node.count}; }

void Comparison::object(const JsonTree& expected, const std::string& path) {
  const std::string& kind = expected["kind"].text;
  INFO("at '" << path << "'");
  if (kind == "tensor" || kind == "meta" || kind == "quantized") return tensor(expected, path);
  if (const format::Node* value = value_of(catalog_, path)) return node(expected, *value);
  REQUIRE(expected.has("items"));
  container(expected, path);
}

void Comparison::container(const JsonTree& expected, const std::string& path) {
  const std::string stem = path.empty() ? "" : path + ".";
  const auto& items = expected["items"].elements;
  const bool keyed = expected["kind"].text == "dict" || expected["kind"].text == "OrderedDict";
  for (std::size_t i = 0; i < items.size(); ++i) {
    if (keyed)
      object(items[i].elements.at(1), stem + key_of(items[i].elements.at(0)));
    else
      object(items[i], stem + std::to_string(i));
  }
}

void Comparison::dims(const format::TensorEntry& tensor, const JsonTree& expected) {
  const auto sizes = catalog_.sizes(tensor);
  REQUIRE(sizes.size() == expected["shape"].elements.size());
  for (std::size_t i = 0; i < sizes.size(); ++i)
    CHECK(static_cast<double>(sizes[i]) == expected["shape"].elements[i].number);
  if (!expected.has("stride")) return;
  const Strides strides =
      tensor.flags & format::strided ? Strides(catalog_.strides(tensor)) : Strides::contiguous(Shape(sizes));
  REQUIRE(strides.rank() == expected["stride"].elements.size());
  for (std::size_t i = 0; i < sizes.size(); ++i)
    CHECK(static_cast<double>(strides[i]) == expected["stride"].elements[i].number);
}

void Comparison::tensor(const JsonTree& expected, const std::string& path) {
  const std::string& kind = expected["kind"].text;
  const std::string name = kind == "quantized" ? path + ".int_repr" : path.empty() ? "tensor" : path;
  const format::TensorEntry& found = tensor_of(catalog_, name);
  ++tensors_;
  CHECK(torch_name(found.dtype) == expected["dtype"].text);
  dims(found, expected);
  CHECK(((found.flags & format::no_data) != 0) == (kind == "meta"));
  if (kind == "tensor") CHECK(static_cast<double>(found.first) == expected["offset"].number);
  if (kind == "tensor") numbers(found, expected["values_c_order"]);
  if (kind == "quantized") numbers(found, expected["int_repr"]);
  if (kind == "quantized") CHECK(text_of(*value_of(catalog_, path + ".qscheme")) == expected["qscheme"].text);
}

void Comparison::numbers(const format::TensorEntry& tensor, const JsonTree& values) {
  const std::string elements = elements_of(catalog_, tensor, file_);
  for (std::size_t i = 0; i < values.elements.size(); ++i) {
    const double found = number_at(tensor.dtype, elements, i);
    const double wanted = number_of(values.elements[i]);
    if (std::isnan(wanted))
      CHECK(std::isnan(found));
    else
      CHECK(found == wanted);
  }
}

/// Whether a node without children is what PyTorch printed; nothing for kinds that have children.
std::optional<bool> same_scalar(const JsonTree& expected, const format::Node& node) {
  using format::NodeKind;
  const std::string& kind = expected["kind"].text;
  const JsonTree& value = expected["v"];
  if (kind == "NoneType") return node.kind == NodeKind::null;
  if (kind == "bool") return node.kind == NodeKind::boolean && (node.integer != 0) == value.boolean;
  if (kind == "float") return node.kind == NodeKind::real && node.real == value.number;
  if (kind == "str" || kind == "dtype" || kind == "device")
    return node.kind == NodeKind::text && text_of(node) == value.text;
  if (kind == "int" && node.count == 0)
    return node.kind == NodeKind::integer && std::to_string(node.integer) == value.text;
  if (kind == "int") return node.kind == NodeKind::integer && node.count == 9;  // 2^70, of either sign
  if (kind != "bytes" && kind != "bytearray") return std::nullopt;
  std::string hex;
  for (const char c : text_of(node))
    hex += "0123456789abcdef"[static_cast<unsigned char>(c) >> 4], hex += "0123456789abcdef"[c & 15];
  return node.kind == NodeKind::bytes && hex == expected["hex"].text;
}

void Comparison::node(const JsonTree& expected, const format::Node& node) {
  using format::NodeKind;
  const std::string& kind = expected["kind"].text;
  INFO("of kind " << kind);
  if (const auto same = same_scalar(expected, node)) {
    CHECK(*same);
    return;
  }
  if (kind == "Size" || kind == "set" || kind == "complex") {
    REQUIRE(node.kind == NodeKind::list);
    REQUIRE(node.count == expected["v"].elements.size());
    for (std::size_t i = 0; i < node.count; ++i) {
      const format::Node& item = child(node, i);
      CHECK((item.kind == NodeKind::real ? item.real : static_cast<double>(item.integer)) ==
            expected["v"].elements[i].number);
    }
    CHECK(std::string(catalog_.detail_of(node)).ends_with(kind));
    return;
  }
  const bool keyed = kind == "dict" || kind == "OrderedDict" || kind == "Counter";
  REQUIRE(node.kind == (keyed ? NodeKind::map : NodeKind::list));
  REQUIRE(node.count == expected["items"].elements.size());
  for (std::size_t i = 0; i < node.count; ++i) {
    const JsonTree& item = expected["items"].elements[i];
    if (keyed) CHECK(text_of(child(node, 2 * i)) == item.elements.at(0).text);
    this->node(keyed ? item.elements.at(1) : item, child(node, keyed ? 2 * i + 1 : i));
  }
}

}  // namespace

TEST_CASE("torch fixtures: files of PyTorch 1.13.1 have the values that PyTorch read") {
  const auto folder = fixtures("torch-1.13.1-output");
  if (!folder) return;
  const JsonTree expected = read_json(*folder / "EXPECTED.json");
  std::size_t tensors = 0;
  for (const auto& [name, outcome] : expected.members) {
    INFO(name);
    const std::string file = read_file(*folder / name);
    const format::Catalog catalog = open_bytes(file);
    const JsonTree& same =
        outcome.has("same_as") && expected.has(outcome["same_as"].text) ? expected[outcome["same_as"].text] : outcome;
    if (!same.has("obj")) continue;
    Comparison comparison(catalog, file);
    comparison.object(same["obj"], "");
    tensors += comparison.tensors();
  }
  CHECK(tensors > 100);
}

TEST_CASE("torch fixtures: a repacked archive holds the same as the one it was made of") {
  const auto folder = fixtures("torch-1.13.1-output");
  if (!folder) return;
  const std::string repacked = read_file(*folder / "repack_reversed.pt");
  const std::string original = read_file(*folder / "dtypes.legacy.pt");
  const format::Catalog a = open_bytes(repacked);
  const format::Catalog b = open_bytes(original);
  REQUIRE(a.tensors.size() == b.tensors.size());
  for (const format::TensorEntry& tensor : b.tensors)
    CHECK(elements_of(b, tensor, original) == elements_of(a, tensor_of(a, tensor.name), repacked));
}

TEST_CASE("torch fixtures: a TorchScript archive shows its attributes under their names") {
  const auto folder = fixtures("torch-1.13.1-output");
  if (!folder) return;
  const std::string file = read_file(*folder / "torchscript.pt");
  const format::Catalog catalog = open_bytes(file);
  const JsonTree expected = read_json(*folder / "EXPECTED.json")["torchscript.pt"];
  for (const char* name : {"weight", "bias"}) {
    const format::TensorEntry& tensor = tensor_of(catalog, name);
    const std::string elements = elements_of(catalog, tensor, file);
    for (std::size_t i = 0; i < expected[name].elements.size(); ++i)
      CHECK(number_at(tensor.dtype, elements, i) == expected[name].elements[i].number);
  }
  REQUIRE(value_of(catalog, "training") != nullptr);
  CHECK(value_of(catalog, "training")->kind == format::NodeKind::boolean);
  CHECK(catalog.detail.find("TorchScript") != std::string::npos);
}

namespace {

std::string heft_name(const std::string& upper) {
  static const std::map<std::string, std::string> names{
      {"F32", "f32"}, {"F64", "f64"}, {"F16", "f16"}, {"BF16", "bf16"}, {"I64", "i64"},
      {"I32", "i32"}, {"I16", "i16"}, {"I8", "i8"},   {"U8", "u8"},     {"BOOL", "bool"}};
  return names.at(upper);
}

void check_burn_tensor(const format::Catalog& catalog, const std::string& file, const std::string& name,
                       const JsonTree& expected) {
  INFO(name);
  const format::TensorEntry& tensor = tensor_of(catalog, name);
  CHECK(heft::name(tensor.dtype) == heft_name(expected["dtype"].text));
  const auto sizes = catalog.sizes(tensor);
  REQUIRE(sizes.size() == expected["shape"].elements.size());
  for (std::size_t i = 0; i < sizes.size(); ++i)
    CHECK(static_cast<double>(sizes[i]) == expected["shape"].elements[i].number);
  CHECK(static_cast<double>(tensor.first) == expected["storage_offset"].number);
  const std::string elements = elements_of(catalog, tensor, file);
  const JsonTree& values = expected.has("values") ? expected["values"] : expected["first8"];
  for (std::size_t i = 0; i < values.elements.size(); ++i) {
    const double wanted = number_of(values.elements[i]);
    const double found = number_at(tensor.dtype, elements, i);
    if (std::isnan(wanted))
      CHECK(std::isnan(found));
    else
      CHECK(found == wanted);
  }
}

}  // namespace

TEST_CASE("torch fixtures: Burn's files have the values that an independent decoder read") {
  const auto folder = fixtures("burn");
  if (!folder) return;
  const JsonTree expected = read_json(*folder / "expected.json");
  std::size_t files = 0;
  for (const auto& [name, outcome] : expected.members) {
    if (!fs::exists(*folder / name) || (!name.ends_with(".pt") && !name.ends_with(".pth") && !name.ends_with(".tar")))
      continue;
    INFO(name);
    ++files;
    const std::string file = read_file(*folder / name);
    const format::Catalog catalog = open_bytes(file);
    CHECK(catalog.tensors.size() == outcome["tensors"].members.size());
    for (const auto& [tensor, facts] : outcome["tensors"].members) check_burn_tensor(catalog, file, tensor, facts);
  }
  CHECK(files > 20);
}

TEST_CASE("torch fixtures: a top-level key strips its prefix, and a missing one is refused with a reason") {
  const auto folder = fixtures("burn");
  if (!folder) return;
  const std::string file = read_file(*folder / "crates/burn-store/pytorch-tests/tests/top_level_key/top_level_key.pt");
  const format::Catalog whole = open_bytes(file);
  const format::Catalog inner = open_bytes(file, {.torch = {.top_level_key = "my_state_dict"}});
  REQUIRE(whole.tensors.size() == inner.tensors.size());
  for (const format::TensorEntry& tensor : inner.tensors)
    CHECK(tensor_of(whole, "my_state_dict." + std::string(tensor.name)).begin == tensor.begin);
  CHECK_THROWS_WITH(open_bytes(file, {.torch = {.top_level_key = "nothing"}}), doctest::Contains("my_state_dict"));
}

TEST_CASE("torch fixtures: Candle's files are read") {
  const auto folder = fixtures("huggingface+candle");
  if (!folder) return;
  const std::string plain = read_file(*folder / "candle-core/tests/test.pt");
  const format::Catalog catalog = open_bytes(plain);
  CHECK(catalog.tensors.size() == 1);
  CHECK(open_bytes(read_file(*folder / "candle-core/tests/test_with_key.pt")).tensors.size() == 1);
  const std::string fortran = read_file(*folder / "candle-core/tests/fortran_tensor_3d.pth");
  const format::Catalog strided = open_bytes(fortran);
  REQUIRE(strided.tensors.size() == 1);
  CHECK((strided.tensors[0].flags & format::strided) != 0);
}
