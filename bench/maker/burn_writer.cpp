// Burn's named MessagePack records of value lists, as written by Burn before 0.14: every number follows a byte with its
// kind and width.
#include <algorithm>
#include <cstring>
#include <memory>
#include <span>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <fmt/format.h>

#include "maker/output.hpp"
#include "maker/writers.hpp"

namespace bench {

namespace {

constexpr std::uint64_t chunk_numbers = 1u << 17;

void put_be(std::vector<std::byte>& out, std::uint64_t value, unsigned bytes) {
  while (bytes-- > 0) out.push_back(static_cast<std::byte>(value >> (8 * bytes)));
}

void put_head(std::vector<std::byte>& out, unsigned type, std::uint64_t value, unsigned bytes) {
  out.push_back(static_cast<std::byte>(type));
  put_be(out, value, bytes);
}

void put_string(std::vector<std::byte>& out, std::string_view text) {
  put_head(out, 0xD9, text.size(), 1);
  put_text(out, text);
}

void put_map(std::vector<std::byte>& out, std::uint64_t pairs) { put_head(out, 0xDE, pairs, 2); }

// Encodes an unsigned integer in the fewest bytes, as serializers do.
void put_natural(std::vector<std::byte>& out, std::uint64_t value) {
  if (value < 0x80)
    out.push_back(static_cast<std::byte>(value));
  else if (value <= 0xFF)
    put_head(out, 0xCC, value, 1);
  else if (value <= 0xFFFF)
    put_head(out, 0xCD, value, 2);
  else if (value <= 0xFFFF'FFFF)
    put_head(out, 0xCE, value, 4);
  else
    put_head(out, 0xCF, value, 8);
}

void put_integer(std::vector<std::byte>& out, std::int64_t value) {
  if (value >= 0)
    put_natural(out, static_cast<std::uint64_t>(value));
  else
    put_head(out, 0xD3, static_cast<std::uint64_t>(value), 8);
}

/// A record's fields in their order: each is a record or a tensor.
struct Field {
  std::string name;
  const Tensor* tensor = nullptr;
  std::vector<std::unique_ptr<Field>> fields;
};

Field& field_of(Field& record, std::string_view name) {
  for (const auto& field : record.fields)
    if (field->name == name) return *field;
  record.fields.push_back(std::make_unique<Field>());
  record.fields.back()->name = name;
  return *record.fields.back();
}

Field fields_of(const Model& model) {
  Field root;
  for (const Shard& shard : model.shards)
    for (const Tensor& tensor : shard) {
      Field* at = &root;
      std::string_view rest = tensor.name;
      for (std::size_t dot = rest.find('.'); dot != std::string_view::npos; dot = rest.find('.')) {
        at = &field_of(*at, rest.substr(0, dot));
        rest.remove_prefix(dot + 1);
      }
      field_of(*at, rest).tensor = &tensor;
    }
  return root;
}

class Writer {
 public:
  Writer(Output& out, Progress& progress) : out_(out), progress_(progress) {}

  void write(const Field& field) {
    if (field.tensor != nullptr) return write_tensor(*field.tensor);
    std::vector<std::byte> head;
    put_map(head, field.fields.size());
    out_.append(head);
    for (const auto& inner : field.fields) {
      head.clear();
      put_string(head, inner->name);
      out_.append(head);
      write(*inner);
    }
  }

 private:
  void write_tensor(const Tensor& tensor) {
    std::vector<std::byte> head;
    put_map(head, 2);
    put_string(head, "id");
    put_string(head, fmt::format("{:016x}", ++tensors_));
    put_string(head, "param");
    put_map(head, 2);
    put_string(head, "value");
    put_head(head, 0xDD, tensor.elements(), 4);
    out_.append(head);
    write_numbers(tensor);
    head.clear();
    put_string(head, "shape");
    put_head(head, 0xDC, tensor.shape.size(), 2);
    for (const std::int64_t dim : tensor.shape) put_natural(head, static_cast<std::uint64_t>(dim));
    out_.append(head);
  }

  void write_numbers(const Tensor& tensor) {
    const std::uint64_t width = info(tensor.kind).bytes;
    std::vector<std::byte> values(chunk_numbers * width);
    for (std::uint64_t done = 0; done < tensor.elements(); done += chunk_numbers) {
      const std::uint64_t count = std::min(chunk_numbers, tensor.elements() - done);
      const auto part = std::span(values).first(count * width);
      fill_values(part, tensors_, done * width, tensor);
      std::vector<std::byte> spelled;
      spelled.reserve(count * (width + 1));
      for (std::uint64_t i = 0; i < count; ++i) put_number(spelled, tensor.kind, part.data() + i * width);
      out_.append(spelled);
      progress_.add(part.size());
    }
  }

  static void put_number(std::vector<std::byte>& out, Kind kind, const std::byte* from) {
    std::uint64_t bits = 0;
    std::memcpy(&bits, from, info(kind).bytes);
    if (kind == Kind::f32)
      put_head(out, 0xCA, bits, 4);
    else if (kind == Kind::i64)
      put_integer(out, static_cast<std::int64_t>(bits));
    else
      put_natural(out, bits);
  }

  Output& out_;
  Progress& progress_;
  std::uint64_t tensors_ = 0;
};

// Returns the float type of the record. It is stored once for all tensors, so a record has f16 or bf16, not both.
std::string_view float_of(const Model& model) {
  std::string_view name = "f32";
  for (const Shard& shard : model.shards)
    for (const Tensor& tensor : shard) {
      if (tensor.kind == Kind::f32 || tensor.kind == Kind::i64) continue;
      if (tensor.kind != Kind::f16 && tensor.kind != Kind::bf16)
        throw std::runtime_error(fmt::format("{}: value lists are of f32, f16, bf16 and i64", tensor.name));
      name = info(tensor.kind).name;
    }
  return name;
}

}  // namespace

void write_burn_lists(const Model& model, const std::filesystem::path& path, Progress& progress) {
  std::vector<std::byte> head{std::byte{0x82}, std::byte{0xA8}};
  put_text(head, "metadata");
  put_map(head, 3);
  const std::pair<std::string_view, std::string_view> pairs[] = {
      {"float", float_of(model)}, {"int", "i64"}, {"version", "0.13.2"}};
  for (const auto& [key, value] : pairs) {
    put_string(head, key);
    put_string(head, value);
  }
  put_string(head, "item");
  Output out(path, progress);
  out.append(head);
  Writer(out, progress).write(fields_of(model));
  out.commit();
}

}  // namespace bench
