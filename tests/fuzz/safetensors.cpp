// Any bytes as a safetensors file: an Error, or a catalog whose tensors tile the data.
#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <span>
#include <string_view>

#include "core/input.hpp"
#include "format/formats.hpp"
#include "heft/error.hpp"
#include "support/catalog_checks.hpp"

namespace {

void require(bool holds) {
  if (!holds) std::abort();
}

void check(const heft::format::Catalog& catalog, std::uint64_t size) {
  std::uint64_t sum = 0;
  std::uint64_t end = catalog.tensors.empty() ? 0 : catalog.tensors.front().begin;
  for (const auto& entry : catalog.tensors) {
    require(entry.begin == end && entry.size <= size - entry.begin);
    require(entry.size == heft::bytes_for(entry.dtype, heft::Shape(catalog.sizes(entry))));
    end += entry.size;
    for (const char c : entry.name) sum += static_cast<unsigned char>(c);  // so that a dangling name is seen
  }
  require(catalog.tensors.empty() || end == size);
  for (const std::string& note : catalog.notes) heft::test::require_printable(note, "a note");
  for (const auto& node : catalog.nodes)
    if (node.kind == heft::format::NodeKind::text)
      for (const char c : std::string_view(node.text, node.count)) sum += static_cast<unsigned char>(c);
  [[maybe_unused]] static volatile std::uint64_t sink;
  sink = sum;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::span bytes(reinterpret_cast<const std::byte*>(data), size);
  static_cast<void>(
      heft::format::safetensors_format.matches(bytes.first(std::min(size, heft::format::head_bytes)), size));
  try {
    check(heft::format::safetensors_format.read(heft::core::MemoryInput(heft::Bytes(bytes, nullptr)), {}), size);
  } catch (const heft::Error& error) {
    heft::test::check_words(error);
    require(!error.offset() || *error.offset() <= size);
  }
  return 0;
}
