// record/source.hpp: where payload bytes come from: an address space of immutable bytes, in a file, inflated, gathered from
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

/// Reads a source the way a worker of a load does: mostly onwards, in memory of its own. One thread.
class SourceReader {
 public:
  virtual ~SourceReader() = default;
  SourceReader(const SourceReader&) = delete;
  SourceReader& operator=(const SourceReader&) = delete;

  /// As Source::read(). Of an ascending source, a step back starts again.
  virtual void read(std::uint64_t offset, std::span<std::byte> into) = 0;
  /// Of a source whose end proves what came before it (a checksum), goes there: what was read counts only after it.
  /// Throws Error{corrupt} when the end disagrees.
  virtual void finish() {}

 protected:
  SourceReader() = default;
};

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

  /// In which order readers are quick: `ascending` where bytes are inflated as they are read.
  enum class Order : std::uint8_t { any, ascending };
  [[nodiscard]] virtual Order order() const noexcept { return Order::any; }
  /// A reader of a source that is made as it is read (is_made()); `gather` makes runs of spelled numbers. It holds the
  /// source. Null for any other source.
  [[nodiscard]] virtual std::unique_ptr<SourceReader> reader(format::GatherRun gather) const;
  /// What bytes() keeps in memory while a source that is made is asked for bytes here and there.
  [[nodiscard]] virtual std::uint64_t whole_bytes() const noexcept { return size_bytes(); }
  /// Memory that a reader takes, 0 where there is none.
  [[nodiscard]] virtual std::uint64_t reader_bytes() const noexcept { return 0; }
  /// Reads all of a source that has a checksum, now, and compares it. Throws Error{corrupt} when it disagrees.
  virtual void prove() const {}

  /// True where bytes are neither in a file nor in memory as they are asked for: inflated, or gathered.
  [[nodiscard]] bool is_made() const noexcept { return file() == nullptr && reader_bytes() != 0; }

 protected:
  Source() = default;
};

/// A file. `mapping` is the whole file mapped, or empty for a source that reads. The source keeps `catalog`, whose strings are the names of
/// its views; it may be null.
std::shared_ptr<const Source> file_source(std::shared_ptr<const mmap::File> file, Bytes mapping,
                                          std::shared_ptr<const format::Catalog> catalog);

/// Memory that somebody owns. `origin` is what its bytes were made from, if anything: it is kept, and its path is theirs.
std::shared_ptr<const Source> memory_source(Bytes bytes, std::shared_ptr<const Source> origin = nullptr);

struct InflatedPart;

/// Of all deflated records of one file, the one that was used last: whole, or inflated up to where a reader stopped. Its
/// methods may be called from several threads.
class LastInflated {
 public:
  LastInflated();
  ~LastInflated();
  void keep(Bytes bytes);
  /// A stream that was not read to the end, in place of the one that was parked before.
  void park(std::unique_ptr<InflatedPart> part) noexcept;
  /// The parked stream, if it is one of `source`.
  [[nodiscard]] std::unique_ptr<InflatedPart> take(const Source* source) noexcept;

 private:
  std::mutex mutex_;
  Bytes bytes_;
  std::unique_ptr<InflatedPart> parked_;
};

/// A deflated record of `packed`; its offsets count in the inflated bytes. Throws, when bytes are asked for, Error{corrupt} unless the record
/// inflates to exactly its declared size and checksum. Its readers inflate as they go, in bounded memory; bytes() and
/// read() inflate the whole and keep it while it is used.
std::shared_ptr<const Source> inflated_source(std::shared_ptr<const Source> packed, const format::Member& member,
                                              std::shared_ptr<LastInflated> last);

/// Bytes that `text` spells as a text of latin-1 characters, a Member with is_latin1; decoded when they are asked for,
/// and never all at once. Throws, when bytes are asked for, Error{corrupt} where a character is no byte, and when the
/// text does not have as many as the member declares.
std::shared_ptr<const Source> latin1_source(std::shared_ptr<const Source> text, const format::Member& member);

/// Elements of lists whose numbers `packed` spells one by one; its offsets count in the elements. Throws, when bytes are
/// asked for, Error{corrupt, changed_on_disk} with the number's offset in `packed`.
std::shared_ptr<const Source> number_source(std::shared_ptr<const Source> packed,
                                            std::shared_ptr<const format::NumberLists> lists);

/// A Source as a format reads one. Where there is a file, with positional reads: its mapping is not touched.
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

/// `size` bytes of `file` from `offset`, in memory of their own. The caller has checked the range against the file's size, so that no
/// declared length is allocated. Throws Error{out_of_memory, io, changed_on_disk}.
Bytes read_bytes(const mmap::File& file, std::uint64_t offset, std::uint64_t size);

}  // namespace heft::record
