// heft/source.hpp: where payload bytes come from: a file, an object of a store, memory. Programs implement ByteSource
// to load from what heft does not open itself.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <stop_token>
#include <string>
#include <string_view>

#include "heft/completion.hpp"
#include "heft/export.hpp"

namespace heft {

/// The identity of a source when it was opened. Two identities are equal if the bytes are.
struct SourceIdentity {
  /// The object: device and inode of a file, URL of an object. Two names of one object have the same.
  std::string object;
  /// The version of its bytes: size and times of a file, ETag of an object.
  std::string version;
  /// Both empty: memory, which has no identity to compare.
  [[nodiscard]] bool empty() const noexcept { return object.empty() && version.empty(); }
  friend bool operator==(const SourceIdentity&, const SourceIdentity&) noexcept = default;
};

/// One asynchronous read: fill `into` with the bytes from `offset` on.
struct ReadRequest {
  std::uint64_t offset = 0;
  std::span<std::byte> into;  ///< Never empty. Valid until the request's Completion is reported.
};

/// An address space of immutable bytes.
///
/// Order of calls. open() asks for capabilities() once, reads the headers by read(), and calls check_unchanged(). A
/// load calls check_unchanged() before its first byte, fetches, and calls it again after its last. Views call read(),
/// then check_unchanged().
///
/// How a load fetches depends on the capabilities: a source with a descriptor is a file of the page cache (mapped,
/// read, or read directly); one that is mapped without a descriptor is memory; from any other, bytes are requested by
/// read_async(), at most `max_in_flight` at a time, through staging memory or straight to where they belong.
///
/// A request that fails ends the load: no new requests are made, those in flight get a stop request and are waited for,
/// and the load throws the first failure. An Error without path and tensor gets those of the request.
///
/// Threads: const members are called from several threads at once. The load starts no threads for a source. The source
/// is kept alive by its Checkpoint, and by every view of it.
///
/// Example:
///   struct Text : heft::ByteSource {
///     std::string name, text;
///     heft::SourceIdentity none;
///     std::string_view path() const noexcept override { return name; }
///     std::uint64_t size_bytes() const noexcept override { return text.size(); }
///     Capabilities capabilities() const override { return {.max_in_flight = 8}; }
///     const heft::SourceIdentity& identity() const noexcept override { return none; }
///     void check_unchanged() const override {}
///     void read(std::uint64_t offset, std::span<std::byte> into) const override {
///       text.copy(reinterpret_cast<char*>(into.data()), into.size(), offset);
///     }
///   };
class HEFT_API ByteSource {
 public:
  /// The order in which reads are fast.
  enum class Order : std::uint8_t {
    any,
    /// Front to back, as of a stream that is inflated: a read before the last one starts again. A load has one request
    /// in flight, in the order of offsets, as far as its tensors allow.
    ascending,
  };

  /// The abilities of a source.
  struct Capabilities {
    /// All bytes of the source, if they are in memory while it lives; empty: they must be fetched.
    std::span<const std::byte> mapped = {};
    /// A descriptor of a regular file, open for reading while the source lives, whose offsets are the source's; -1:
    /// none. heft opens it once more, through /proc, and never changes or closes it. Direct reads, the page cache's
    /// contents and leases are used only with one.
    int file_descriptor = -1;
    /// Order::ascending for bytes that are made from front to back.
    Order order = Order::any;
    /// Bytes of a request that is worth its latency; requests are no larger. Object stores: 8 MiB. At least 4096.
    std::uint64_t preferred_request_bytes = 1u << 20;
    /// Requests of read_async() in flight at once, in one load. Object stores: 16 to 128. At least 1. A load of several
    /// sources has at most as many in flight as the one of the most allows, for all of them together.
    unsigned max_in_flight = 1;
    /// Memory that a request in flight takes inside the source, in bytes; the estimate of a load counts it.
    std::uint64_t bytes_per_request = 0;
  };

  virtual ~ByteSource() = default;
  ByteSource(const ByteSource&) = delete;
  ByteSource& operator=(const ByteSource&) = delete;

  /// Returns the name for people and Errors: a path, a URL. Valid while the source lives.
  [[nodiscard]] virtual std::string_view path() const noexcept = 0;
  /// Returns the number of bytes, which does not change.
  [[nodiscard]] virtual std::uint64_t size_bytes() const noexcept = 0;
  /// Returns the abilities of the source, the same at every call.
  [[nodiscard]] virtual Capabilities capabilities() const = 0;
  /// Returns the identity as recorded when the source was opened.
  [[nodiscard]] virtual const SourceIdentity& identity() const noexcept = 0;
  /// Throws Error{changed_on_disk} if the bytes are not those that identity() stands for; Error{io} if that cannot be
  /// examined. May do I/O.
  virtual void check_unchanged() const = 0;
  /// Fills `into` from `offset`. Requires a range inside size_bytes(); heft requests no other. Throws the failure.
  virtual void read(std::uint64_t offset, std::span<std::byte> into) const = 0;
  /// Starts a request, and may return before it is done. `completion` is reported once, from any thread, also before
  /// this call returns; when it is dropped, the request has failed. A call that throws has failed the request. After
  /// `stop` is requested, the request may fail early with any exception, but must be reported.
  ///
  /// The default reads in place: it calls read(), then reports. `max_in_flight` such calls run at once, if the load has
  /// as many threads.
  virtual void read_async(ReadRequest request, std::stop_token stop, Completion completion) const;

 protected:
  ByteSource() = default;
};

}  // namespace heft
