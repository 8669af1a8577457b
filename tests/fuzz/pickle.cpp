// Feeds any bytes to the pickle machine and to what makes tensors of its calls. Every storage that a pickle mentions is
// given the bytes it asks for, so that the checks of views are reached.
#include <stdexcept>

#include "core/cursor.hpp"
#include "format/formats.hpp"
#include "format/torch/tree.hpp"
#include "support/catalog_checks.hpp"

using namespace heft;

namespace {

constexpr std::uint64_t pretended_bytes = std::uint64_t{1} << 40;

// With `left`, lists of numbers and long byte strings stay in the input.
void read(std::string_view bytes, bool left) {
  format::ReadOptions options;
  options.limits.tensors = 10'000;
  options.limits.record_visits = 100'000;
  const core::MemoryInput input(test::exact_bytes(bytes));
  core::Cursor cursor(input);
  format::TorchObjects objects = format::interpret(
      format::read_pickle(cursor, options.limits, "pickle", left ? &input : nullptr), options, "pickle");
  for (format::TorchStorage& storage : objects.storages) {
    const format::StorageUse& use = objects.uses[storage.use];
    storage.size = format::storage_bytes(use, use.count);
    storage.placed = storage.size < pretended_bytes;
  }
  format::check_tensors(objects, options.limits);
  format::Catalog catalog(nullptr);
  format::add_objects(catalog, std::move(objects), options, {});
  format::finish(catalog);
  test::SoundCatalog(catalog, pretended_bytes).check();
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  for (const bool left : {false, true}) {
    try {
      read({reinterpret_cast<const char*>(data), size}, left);
    } catch (const Error& error) {
      test::check_words(error);
    }
  }
  return 0;
}
