#include "support/gguf_builder.hpp"

namespace heft::test {

std::string GgufBuilder::length(std::uint64_t value) const {
  return version_ == 1 ? number(static_cast<std::uint32_t>(value)) : number(value);
}

std::string GgufBuilder::string(std::string_view text) const { return length(text.size()).append(text); }

std::string GgufBuilder::array_head(GgufValue elements, std::uint64_t count) const {
  return number(static_cast<std::uint32_t>(elements)) + length(count);
}

GgufBuilder& GgufBuilder::pair(std::string_view key, GgufValue type, std::string_view value) {
  pair_bytes_ += string(key) + number(static_cast<std::uint32_t>(type));
  pair_bytes_ += value;
  ++pairs_;
  return *this;
}

GgufBuilder& GgufBuilder::alignment(std::uint32_t bytes) {
  alignment_ = bytes;
  return pair("general.alignment", GgufValue::u32, number(bytes));
}

GgufBuilder& GgufBuilder::tensor(std::string_view name, const std::vector<std::uint64_t>& dims, std::uint32_t type,
                                 std::string_view payload, std::optional<std::uint64_t> offset) {
  data_.resize((data_.size() + alignment_ - 1) / alignment_ * alignment_);
  tensor_bytes_ += string(name) + number(static_cast<std::uint32_t>(dims.size()));
  for (const std::uint64_t dim : dims) tensor_bytes_ += length(dim);
  tensor_bytes_ += number(type) + number(offset.value_or(data_.size()));
  data_ += payload;
  ++tensors_;
  return *this;
}

GgufBuilder& GgufBuilder::declare(std::optional<std::uint64_t> tensors, std::optional<std::uint64_t> pairs) {
  declared_tensors_ = tensors;
  declared_pairs_ = pairs;
  return *this;
}

std::string GgufBuilder::head() const {
  std::string head = "GGUF" + number(version_) + length(declared_tensors_.value_or(tensors_)) +
                     length(declared_pairs_.value_or(pairs_)) + pair_bytes_ + tensor_bytes_;
  head.resize((head.size() + alignment_ - 1) / alignment_ * alignment_);
  return head;
}

}  // namespace heft::test
