// The bytes of a file from its plan, without writing the file: so that a format can read what it is to look like, also
// when it is larger than any disk.
#pragma once

#include <string>
#include <vector>

#include "core/input.hpp"
#include "format/file_plan.hpp"
#include "format/format.hpp"

namespace heft::test {

/// Every payload is filled with its tensor's position; checksums are right where the file is at most 1 MiB, else 0,
/// which says that there is none.
class PlannedFile final : public core::Input {
 public:
  explicit PlannedFile(const format::FilePlan& plan);
  [[nodiscard]] std::uint64_t size_bytes() const noexcept override { return size_; }
  [[nodiscard]] Bytes read(std::uint64_t offset, std::uint64_t size) const override;
  /// All of it. For small files.
  [[nodiscard]] std::string whole() const;

 private:
  std::uint64_t size_;
  std::vector<format::Payload> payloads_;
  std::vector<format::ByteSegment> segments_;  // later ones lie over earlier ones
};

/// Returns the catalog that the format reads from the file.
[[nodiscard]] format::Catalog read(const format::Format& format, const format::FilePlan& plan);

}  // namespace heft::test
