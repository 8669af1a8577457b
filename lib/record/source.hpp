// record/source.hpp: where payload bytes come from: an address space of immutable bytes, in a file, inflated, or in memory.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <mutex>
#include <span>
#include <string_view>

#include "format/catalog.hpp"
#include "heft/bytes.hpp"
#include "mmap/file.hpp"

namespace heft::record {

/// What a TensorView's offsets count in. Views hold their source, so whatever the bytes, the names and the path of a view lie in lives as
/// long as the view. Immutable as seen from outside; const members may be called from several threads.
class Source {
 public:
  virtual ~Source() = default;
  Source(const Source&) = delete;
  Source& operator=(const Source&) = delete;

  [[nodiscard]] virtual std::uint64_t size_bytes() const noexcept = 0;
  /// The file in which this source's offsets count, for positional and direct reads. Null for memory and for inflated records.
  [[nodiscard]] virtual const mmap::File* file() const noexcept = 0;
  /// All of the source where it already lies in memory: the mapping, the caller's memory. Empty where bytes must be read or inflated.
  [[nodiscard]] virtual std::span<const std::byte> mapped() const noexcept = 0;
  /// The file that the bytes come from, whatever way they take: as long as it is unchanged, so are they. Null for memory.
  [[nodiscard]] virtual const mmap::File* origin() const noexcept = 0;
  /// Path of the file that the bytes come from; empty for memory.
  [[nodiscard]] virtual std::string_view path() const noexcept = 0;

  /// `size` bytes from `offset` with their owner: a range of the mapping, or read or inflated now. Throws Error{out_of_range} unless they
  /// are all inside, Error{io, changed_on_disk, corrupt, out_of_memory} where they must be fetched: what is fetched is of the
  /// file as it was opened.
  [[nodiscard]] virtual Bytes bytes(std::uint64_t offset, std::uint64_t size) const = 0;
  /// The same into the caller's memory: no allocation but for inflating.
  virtual void read(std::uint64_t offset, std::span<std::byte> into) const = 0;

 protected:
  Source() = default;
};

/// A file. `mapping` is the whole file mapped, or empty for a source that reads. The source keeps `catalog`, whose strings are the names of
/// its views; it may be null.
std::shared_ptr<const Source> file_source(std::shared_ptr<const mmap::File> file, Bytes mapping,
                                          std::shared_ptr<const format::Catalog> catalog);

/// Memory that somebody owns. `origin` is what its bytes were made from, if anything: it is kept, and its path is theirs.
std::shared_ptr<const Source> memory_source(Bytes bytes, std::shared_ptr<const Source> origin = nullptr);

/// The inflated record that was used last, of all records of one file. Its methods may be called from several threads.
class LastInflated {
 public:
  void keep(Bytes bytes);

 private:
  std::mutex mutex_;
  Bytes bytes_;
};

/// A deflated record of `packed`; its offsets count in the inflated bytes. Throws, when bytes are asked for, Error{corrupt} unless the record
/// inflates to exactly its declared size and checksum.
std::shared_ptr<const Source> inflated_source(std::shared_ptr<const Source> packed, const format::Member& member,
                                              std::shared_ptr<LastInflated> last);

/// `size` bytes of `file` from `offset`, in memory of their own. The caller has checked the range against the file's size, so that no
/// declared length is allocated. Throws Error{out_of_memory, io, changed_on_disk}.
Bytes read_bytes(const mmap::File& file, std::uint64_t offset, std::uint64_t size);

}  // namespace heft::record
