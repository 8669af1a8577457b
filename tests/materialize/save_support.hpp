// Helpers for the tests of saving: tensors in memory, and a comparison of a saved file with the items of the save.
#pragma once

#include <doctest/doctest.h>

#include <filesystem>
#include <span>
#include <string>
#include <vector>

#include "heft/save.hpp"
#include "mmap/file.hpp"
#include "support/safetensors_builder.hpp"

namespace heft::test {

/// A tensor of bytes that differ from their neighbours.
inline TensorView in_memory(std::string name, DType dtype, Shape shape, std::uint32_t seed = 1) {
  const std::string bytes = pattern(bytes_for(dtype, shape), seed);
  return TensorView::over(std::move(name), dtype, std::move(shape), Bytes::copy_of(std::as_bytes(std::span(bytes))));
}

/// f32: 0, 1, 2, ... 65535, 0, ...
inline TensorView numbered(std::string name, Shape shape) {
  std::vector<float> values(shape.element_count());
  for (std::size_t i = 0; i < values.size(); ++i) values[i] = static_cast<float>(i % 65536);
  return TensorView::over(std::move(name), DType::f32, std::move(shape),
                          Bytes::copy_of(std::as_bytes(std::span(values))));
}

inline std::string packed_bytes(const TensorView& view, DType dtype) {
  const Tensor tensor = materialize(view, dtype);
  return {reinterpret_cast<const char*>(tensor.bytes().data()), tensor.bytes().size()};
}

/// Every item is in the checkpoint, alone, with its dtype, shape and bytes.
inline void check_equal(const Checkpoint& saved, std::span<const SaveItem> items) {
  CHECK(saved.tensors().size() == items.size());
  for (const SaveItem& item : items) {
    CAPTURE(std::string(item.view.name()));
    const TensorView found = saved.tensor(item.view.name());
    CHECK(found.dtype() == item.dtype);
    CHECK(found.shape() == item.view.shape());
    CHECK((packed_bytes(found, item.dtype) == packed_bytes(item.view, item.dtype)));
  }
}

/// Names of what is in a folder, sorted.
inline std::vector<std::string> names_in(const std::filesystem::path& folder) {
  return mmap::Folder::open(folder.string())->names();
}

}  // namespace heft::test
