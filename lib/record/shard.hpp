// record/shard.hpp: one opened file of a checkpoint: recognised, its catalog read, its payload within reach.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "core/input.hpp"
#include "format/catalog.hpp"
#include "format/format.hpp"
#include "heft/checkpoint.hpp"
#include "heft/tensor_view.hpp"
#include "mmap/file.hpp"
#include "record/source.hpp"

namespace heft::record {

/// Immutable once made.
struct Shard {
  std::shared_ptr<const mmap::File> file;
  std::shared_ptr<const format::Catalog> catalog;
  std::shared_ptr<const Source> source;
  std::vector<std::shared_ptr<const Source>> members;  ///< Parallel to Catalog::members.

  /// A view of one of the catalog's tensors; no allocation up to rank 6.
  [[nodiscard]] TensorView view(const format::TensorEntry& entry) const;
};

/// A file as formats see it. Everything is read with pread into private copies: a writer that changes the file meanwhile cannot change what was
/// checked.
class FileInput final : public core::Input {
 public:
  /// `file` must outlive the input. What is read is metadata, and raises the limit of `budget`.
  FileInput(const mmap::File& file, std::shared_ptr<core::MetadataBudget> budget) noexcept
      : Input(std::move(budget)), file_(file) {}

  [[nodiscard]] std::uint64_t size_bytes() const noexcept override { return file_.size_bytes(); }
  [[nodiscard]] Bytes read(std::uint64_t offset, std::uint64_t size) const override;
  void read_into(std::uint64_t offset, std::span<std::byte> into) const override;

 private:
  const mmap::File& file_;
};

/// What kind of file it is, by its first bytes; null when no format knows it. Throws Error{io}.
const format::Format* recognize(const mmap::File& file);

/// Calls `read`, which reads the headers of `file`. Its errors get the file's path; Error{changed_on_disk} where the
/// file changed before the last header was read.
format::Catalog read_as_it_is(const mmap::File& file, const std::function<format::Catalog()>& read);

/// A shard of a file whose catalog has been read; mapped if asked.
std::shared_ptr<const Shard> make_shard(std::shared_ptr<const mmap::File> file, format::Catalog catalog,
                                        const OpenOptions& options);

/// Reads the file's headers, each byte into a private copy, and maps it if asked: nothing of the payload is touched. Throws what formats
/// throw, with the path; Error{unrecognized}; Error{changed_on_disk} where the file changed before the last header was read.
/// What the catalog holds is counted in `budget`, which all files of a checkpoint share.
std::shared_ptr<const Shard> open_shard(std::shared_ptr<const mmap::File> file, const OpenOptions& options,
                                        const std::shared_ptr<core::MetadataBudget>& budget);

}  // namespace heft::record
