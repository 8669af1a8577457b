// record/source.hpp: sources of payload bytes: an address space of immutable bytes, in a file, inflated, gathered from
// numbers, or in memory.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <mutex>
#include <span>
#include <string_view>
#include <utility>

#include "core/input.hpp"
#include "format/catalog.hpp"
#include "format/msgpack/number_lists.hpp"
#include "heft/bytes.hpp"
#include "mmap/file.hpp"

namespace heft::record {

/// Reads a source for one worker of a load, mostly in ascending order, with private buffers. Not thread-safe.
class SourceReader {
 public:
  virtual ~SourceReader() = default;
  SourceReader(const SourceReader&) = delete;
  SourceReader& operator=(const SourceReader&) = delete;

  /// The same as Source::read(). In an ascending source, a step back starts again.
  virtual void read(std::uint64_t offset, std::span<std::byte> into) = 0;
  /// Reads a source with a checksum to its end and compares it: bytes read before are valid only if this succeeds.
  /// Throws Error{corrupt}.
  virtual void finish() {}

 protected:
  SourceReader() = default;
};

/// The address space of a TensorView's offsets. Views own their source, which keeps the memory of the view's bytes,
/// names and path. Logically immutable; const members are thread-safe.
class Source {
 public:
  virtual ~Source() = default;
  Source(const Source&) = delete;
  Source& operator=(const Source&) = delete;

  [[nodiscard]] virtual std::uint64_t size_bytes() const noexcept = 0;
  /// Returns the file that this source's offsets refer to, for positional and direct reads; null for memory and for
  /// inflated records.
  [[nodiscard]] virtual const mmap::File* file() const noexcept = 0;
  /// Returns the whole source if it is in memory: the mapping, or the caller's memory. Empty if bytes must be read or
  /// inflated.
  [[nodiscard]] virtual std::span<const std::byte> mapped() const noexcept = 0;
  /// Returns the file that the bytes come from, directly or not: while it is unchanged, so are they. Null for memory.
  [[nodiscard]] virtual const mmap::File* origin() const noexcept = 0;
  /// Returns the path of the file that the bytes come from; empty for memory.
  [[nodiscard]] virtual std::string_view path() const noexcept = 0;

  /// Returns `size` bytes from `offset` with their owner: a range of the mapping, or bytes read or inflated by this
  /// call, which are those of the file as it was opened. Throws Error{out_of_range} if the range is not inside, and if
  /// bytes must be read, Error{io, changed_on_disk, corrupt, out_of_memory}.
  [[nodiscard]] virtual Bytes bytes(std::uint64_t offset, std::uint64_t size) const = 0;
  /// The same into the caller's memory. Allocates only to inflate.
  virtual void read(std::uint64_t offset, std::span<std::byte> into) const = 0;

  /// The order in which readers are fast: `ascending` for bytes that are inflated while they are read.
  enum class Order : std::uint8_t { any, ascending };
  [[nodiscard]] virtual Order order() const noexcept { return Order::any; }
  /// Returns a reader of a source with is_made(), which keeps the source alive; `gather` converts runs of numbers. Null
  /// for other sources.
  [[nodiscard]] virtual std::unique_ptr<SourceReader> reader(format::GatherRun gather) const;
  /// Returns the bytes of memory that bytes() keeps for random access to a source with is_made().
  [[nodiscard]] virtual std::uint64_t whole_bytes() const noexcept { return size_bytes(); }
  /// Returns the bytes of memory of a reader; 0 if there is none.
  [[nodiscard]] virtual std::uint64_t reader_bytes() const noexcept { return 0; }
  /// Reads the whole of a source with a checksum and compares it. Throws Error{corrupt}.
  virtual void prove() const {}

  /// Returns true if bytes are computed: inflated, decoded or gathered.
  [[nodiscard]] bool is_made() const noexcept { return file() == nullptr && reader_bytes() != 0; }

 protected:
  Source() = default;
};

/// Makes a source of a file. `mapping` is the mapped file, or empty for a source that reads. The source keeps
/// `catalog`, whose strings are the names of its views; it can be null.
std::shared_ptr<const Source> file_source(std::shared_ptr<const mmap::File> file, Bytes mapping,
                                          std::shared_ptr<const format::Catalog> catalog);

/// Makes a source of owned memory. `origin`, if not null, is the source that the bytes were made from; it is kept and
/// provides their path.
std::shared_ptr<const Source> memory_source(Bytes bytes, std::shared_ptr<const Source> origin = nullptr);

struct InflatedPart;

/// The last used deflated record of a file: its inflated bytes, or the stream of a reader that stopped. Thread-safe.
class LastInflated {
 public:
  LastInflated();
  ~LastInflated();
  void keep(Bytes bytes);
  /// Stores a stream that was not read to the end, in place of the previous one.
  void park(std::unique_ptr<InflatedPart> part) noexcept;
  /// Returns the stored stream if it belongs to `source`.
  [[nodiscard]] std::unique_ptr<InflatedPart> take(const Source* source) noexcept;

 private:
  std::mutex mutex_;
  Bytes bytes_;
  std::unique_ptr<InflatedPart> parked_;
};

/// Makes a source of a deflated record of `packed`; offsets refer to the inflated bytes. Reading throws Error{corrupt}
/// unless the record inflates to exactly its declared size and checksum. Readers inflate in bounded memory; bytes() and
/// read() inflate the whole and keep it while it is used.
std::shared_ptr<const Source> inflated_source(std::shared_ptr<const Source> packed, const format::Member& member,
                                              std::shared_ptr<LastInflated> last);

/// Makes a source of the bytes that `text` spells in latin-1 characters, a Member with is_latin1. Only the parts that
/// are read are decoded. Reading throws Error{corrupt} for a character that is not a byte, and if the text has another
/// number of characters than the member declares.
std::shared_ptr<const Source> latin1_source(std::shared_ptr<const Source> text, const format::Member& member);

/// Makes a source of the elements of lists whose numbers are encoded one by one in `packed`; offsets refer to the
/// elements. Reading throws Error{corrupt, changed_on_disk} with the number's offset in `packed`.
std::shared_ptr<const Source> number_source(std::shared_ptr<const Source> packed,
                                            std::shared_ptr<const format::NumberLists> lists);

/// A Source as an Input for formats. Reads files by positional reads, not through their mapping.
class SourceInput final : public core::Input {
 public:
  explicit SourceInput(std::shared_ptr<const Source> source) noexcept : source_(std::move(source)) {}
  [[nodiscard]] std::uint64_t size_bytes() const noexcept override { return source_->size_bytes(); }
  [[nodiscard]] Bytes read(std::uint64_t offset, std::uint64_t size) const override;
  void read_into(std::uint64_t offset, std::span<std::byte> into) const override;
  [[nodiscard]] std::string_view path() const noexcept { return source_->path(); }

 private:
  std::shared_ptr<const Source> source_;
};

/// Returns `size` bytes of `file` from `offset` in newly allocated memory. The caller must have checked the range
/// against the file's size, so that the allocation is bounded. Throws Error{out_of_memory, io, changed_on_disk}.
Bytes read_bytes(const mmap::File& file, std::uint64_t offset, std::uint64_t size);

}  // namespace heft::record
