// format/msgpack/packed_numbers.hpp: a list of numbers as a value of a Catalog, in its encoded form.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "format/catalog.hpp"
#include "format/msgpack/number_lists.hpp"

namespace heft::format {

/// The elements of a list of numbers: a private copy of their bytes in the file, and offsets at regular steps.
class PackedNumbers final : public PackedElements {
 public:
  /// Requires the bytes that `steps` stepped over.
  PackedNumbers(NumberSteps steps, SpelledNumbers spelled);

  [[nodiscard]] Node element(std::uint32_t index) const noexcept override;
  [[nodiscard]] std::uint64_t table_bytes() const noexcept override;

  /// Returns the one list; its offsets are relative to spelled().
  [[nodiscard]] std::shared_ptr<const NumberLists> lists() const noexcept { return lists_; }
  [[nodiscard]] std::span<const std::byte> spelled() const noexcept { return spelled_.bytes; }

 private:
  SpelledNumbers spelled_;
  std::vector<std::uint64_t> places_;  // of numbers, where their widths differ
  std::shared_ptr<const NumberLists> lists_;
};

}  // namespace heft::format
