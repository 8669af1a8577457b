// record/source.hpp: sources of payload bytes: an address space of immutable bytes, in a file, inflated, gathered from
// numbers, or in memory.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "core/input.hpp"
#include "format/catalog.hpp"
#include "format/msgpack/number_lists.hpp"
#include "heft/bytes.hpp"
#include "heft/checkpoint.hpp"
#include "heft/source.hpp"
#include "mmap/file.hpp"
#include "record/origin.hpp"

namespace heft::record {

/// The members of ByteSource::Capabilities about requests, within bounds.
struct RequestLimits {
  std::uint64_t preferred_bytes = 1u << 20;
  unsigned max_in_flight = 1;
  std::uint64_t bytes_per_request = 0;
};

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

/// The address space of a TensorView's offsets: a ByteSource of heft's own, or the caller's behind one. Views own their
/// source, which keeps the memory of the view's bytes, names and path. Logically immutable; const members are
/// thread-safe.
class Source : public ByteSource {
 public:
  /// How a load reaches the bytes, which follows from the capabilities.
  enum class Kind : std::uint8_t {
    file,       ///< A descriptor: the page cache decides whether it is mapped, read, or read directly.
    memory,     ///< All of it is in memory.
    made,       ///< Computed by a reader: inflated, decoded or gathered.
    requested,  ///< Fetched by read_async().
  };
  [[nodiscard]] virtual Kind kind() const noexcept = 0;

  [[nodiscard]] Capabilities capabilities() const override { return {.mapped = mapped(), .order = order()}; }
  /// That of root(): the bytes depend on nothing else.
  [[nodiscard]] const SourceIdentity& identity() const noexcept override;
  void check_unchanged() const override;
  /// Fills the caller's memory with bytes that are those of the file as it was opened: a read and, of a file, a
  /// check_unchanged(). Allocates only to inflate. Throws as bytes().
  void read(std::uint64_t offset, std::span<std::byte> into) const override = 0;
  /// The same without check_unchanged(), which the caller makes after its last byte.
  virtual void fetch(std::uint64_t offset, std::span<std::byte> into) const { read(offset, into); }
  /// Returns `size` bytes from `offset` with their owner: a range of what is in memory, or bytes read or inflated by
  /// this call, which are those of the file as it was opened. Throws Error{out_of_range} if the range is not inside,
  /// and if bytes must be read, Error{io, changed_on_disk, corrupt, out_of_memory} and what a source of the caller's
  /// throws.
  [[nodiscard]] virtual Bytes bytes(std::uint64_t offset, std::uint64_t size) const = 0;

  /// Returns the file of a source of Kind::file, for positional and direct reads; null for others.
  [[nodiscard]] virtual const mmap::File* file() const noexcept { return nullptr; }
  /// Returns the whole source if it is in memory: the mapping, or the caller's memory. Empty if bytes must be read or
  /// inflated.
  [[nodiscard]] virtual std::span<const std::byte> mapped() const noexcept { return {}; }
  /// Returns the source that was opened and that the bytes are made of, directly or not: while it is unchanged, so are
  /// they. Null for memory that is of no file.
  [[nodiscard]] virtual const Source* root() const noexcept = 0;
  /// Returns where freshness() finds the file again; nothing for memory.
  [[nodiscard]] virtual std::optional<Origin> origin() const { return {}; }
  /// Returns the same bytes as the payload of an opened shard: the source keeps `catalog`, whose strings are the names
  /// of its views, and is mapped if `access` is Access::map and it is a file. A mapping that the system refuses is a
  /// note. Null for a source that was not opened, but made of another.
  [[nodiscard]] virtual std::shared_ptr<const Source> payload(std::shared_ptr<const format::Catalog> catalog,
                                                              Access access, std::vector<std::string>& notes) const;

  /// The order in which readers are fast: `ascending` for bytes that are inflated while they are read.
  [[nodiscard]] virtual Order order() const noexcept { return Order::any; }
  /// The limits of requests to a source of Kind::requested, as it stated them when it was opened.
  [[nodiscard]] virtual const RequestLimits& request_limits() const noexcept;
  /// Returns a reader of a source of Kind::made, which keeps the source alive; `gather` converts runs of numbers. Null
  /// for other sources.
  [[nodiscard]] virtual std::unique_ptr<SourceReader> reader(format::GatherRun gather) const;
  /// Returns the bytes of memory that bytes() keeps for random access to a source of Kind::made.
  [[nodiscard]] virtual std::uint64_t whole_bytes() const noexcept { return size_bytes(); }
  /// Returns the bytes of memory of a reader; 0 if there is none.
  [[nodiscard]] virtual std::uint64_t reader_bytes() const noexcept { return 0; }
  /// Reads the whole of a source with a checksum and compares it. Throws Error{corrupt}.
  virtual void prove() const {}

 protected:
  Source() = default;
};

/// Returns the identity of a file in words: device:inode, size:mtime:ctime.
SourceIdentity source_identity(const mmap::Identity& found);

/// Makes a source of a file that open() found.
std::shared_ptr<const Source> file_source(std::shared_ptr<const mmap::File> file);

/// Makes a source of one of the caller's. `origin` is where it was found. Throws Error{out_of_range} for capabilities
/// that contradict each other, with the path.
std::shared_ptr<const Source> external_source(std::shared_ptr<const ByteSource> source, std::optional<Origin> origin);

/// Makes a source of owned memory. `origin`, if not null, is the source that the bytes were made from; it is kept and
/// provides their path.
std::shared_ptr<const Source> memory_source(Bytes bytes, std::shared_ptr<const Source> origin = nullptr);

/// The path of a file in memory.
inline constexpr std::string_view bytes_path = "bytes in memory";
/// Makes a source of a whole file in memory.
std::shared_ptr<const Source> file_in_memory(Bytes bytes);

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

/// A Source as an Input for formats. Reads private copies, not through a mapping, so that a concurrent writer cannot
/// change bytes that were checked. The caller calls check_unchanged() after the last of them.
///
/// Of a source of Kind::requested, each read costs a round trip: small reads come out of a window that is fetched whole
/// and kept. Threads: one.
class SourceInput final : public core::Input {
 public:
  /// Maximum size of the window, in bytes.
  static constexpr std::uint64_t max_window_bytes = 1u << 20;

  /// `source` must outlive the input. Bytes read raise the limit of `budget`, if there is one.
  explicit SourceInput(const Source& source, std::shared_ptr<core::MetadataBudget> budget = nullptr) noexcept
      : Input(std::move(budget)), source_(source) {}
  [[nodiscard]] std::uint64_t size_bytes() const noexcept override { return source_.size_bytes(); }
  [[nodiscard]] Bytes read(std::uint64_t offset, std::uint64_t size) const override;
  void read_into(std::uint64_t offset, std::span<std::byte> into) const override;

 private:
  void fetch(std::uint64_t offset, std::span<std::byte> into) const;

  const Source& source_;
  mutable Bytes window_;  // of a source of Kind::requested
  mutable std::uint64_t window_offset_ = 0;
};

/// Returns `size` bytes of `source` from `offset` in newly allocated memory, without check_unchanged(). The caller must
/// have checked the range against the source's size, so that the allocation is bounded. Throws Error{out_of_memory} and
/// what Source::fetch() throws.
Bytes read_bytes(const Source& source, std::uint64_t offset, std::uint64_t size);

}  // namespace heft::record
