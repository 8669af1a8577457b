#include "support/torch_builder.hpp"

#include <bit>
#include <utility>

namespace heft::test {
namespace {

std::string tuple_of(const std::vector<std::int64_t>& numbers) {
  std::string pickle = "(";
  for (const std::int64_t number : numbers) pickle += pickled_int(static_cast<std::int32_t>(number));
  return pickle + "t";
}

std::vector<std::int64_t> packed_strides(const std::vector<std::int64_t>& shape) {
  std::vector<std::int64_t> strides(shape.size(), 1);
  for (std::size_t dim = shape.size(); dim-- > 1;) strides[dim - 1] = strides[dim] * shape[dim];
  return strides;
}

}  // namespace

std::string pickled_int(std::int32_t value) { return "J" + little(static_cast<std::uint32_t>(value), 4); }

std::string pickled_real(double value) {
  std::string reversed = little(std::bit_cast<std::uint64_t>(value), 8);
  return "G" + std::string(reversed.rbegin(), reversed.rend());
}

std::string pickled_text(std::string_view text) { return "X" + little(text.size(), 4) + std::string(text); }

std::string pickled_list(const std::vector<std::string>& items) {
  std::string pickle = "](";
  for (const std::string& item : items) pickle += item;
  return pickle + "e";
}

std::string pickled_dict(const std::vector<std::pair<std::string, std::string>>& pairs) {
  std::string pickle = "}(";
  for (const auto& [key, value] : pairs) pickle += pickled_text(key) + value;
  return pickle + "u";
}

std::string pickled_tensor(std::string_view key, std::string_view storage, const std::vector<std::int64_t>& shape) {
  std::int64_t count = 1;
  for (const std::int64_t dim : shape) count *= dim;
  std::string pickle = "ctorch._utils\n_rebuild_tensor_v2\n((" + pickled_text("storage");
  pickle += "ctorch\n" + std::string(storage) + "\n" + pickled_text(key) + pickled_text("cpu");
  pickle += pickled_int(static_cast<std::int32_t>(count)) + "tQ" + pickled_int(0) + tuple_of(shape) +
            tuple_of(packed_strides(shape));
  return pickle +
         "\x89"
         "ccollections\nOrderedDict\n)RtR";
}

TorchBuilder& TorchBuilder::tensor(std::string_view name, std::string_view storage,
                                   const std::vector<std::int64_t>& shape, std::string payload) {
  std::string pickle = pickled_tensor(std::to_string(storages_.size()), storage, shape);
  storages_.push_back(std::move(payload));
  return value(name, std::move(pickle));
}

TorchBuilder& TorchBuilder::value(std::string_view name, std::string pickled) {
  pairs_.emplace_back(name, std::move(pickled));
  return *this;
}

std::string TorchBuilder::build() const {
  ZipBuilder zip;
  zip.add({.name = "archive/data.pkl", .content = "\x80\x02" + pickled_dict(pairs_) + ".", .alignment = 64});
  for (std::size_t i = 0; i < storages_.size(); ++i) {
    ZipRecord record{
        .name = "archive/data/" + std::to_string(i), .content = storages_[i], .deflate = deflate_, .alignment = 64};
    if (i + 1 == storages_.size()) record.crc32 = crc32_;
    zip.add(std::move(record));
  }
  zip.add("archive/version", "3\n");
  return zip.build();
}

}  // namespace heft::test
