#include "record/source.hpp"

#include <algorithm>
#include <cstring>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>

#include <fmt/format.h>

#include "core/allocate.hpp"
#include "core/checked.hpp"
#include "heft/error.hpp"
#include "mmap/mapping.hpp"
#include "mmap/pages.hpp"

namespace heft {

void ByteSource::read_async(ReadRequest request, std::stop_token, Completion completion) const {
  try {
    read(request.offset, request.into);
  } catch (...) {
    // The request's failure, not the call's: the load that made it handles both in one way.
    return completion.fail(std::current_exception());
  }
  completion.succeed();
}

namespace record {
namespace {

// Maximum size of reads that go through SourceInput's window, in bytes.
constexpr std::uint64_t max_windowed_bytes = 128u << 10;

// Throws Error{out_of_range} unless the range is inside the source.
void require_range(const Source& source, std::uint64_t offset, std::uint64_t size) {
  if (core::inside(offset, size, source.size_bytes())) return;
  throw Error(
      ErrorCode::out_of_range,
      fmt::format("expected a range inside {} bytes, found {} bytes from {}", source.size_bytes(), size, offset),
      {.path = std::string(source.path())});
}

// Maps the file. Returns nothing, with a note, if mmap fails: on some file systems (FUSE), in some sandboxes, and in a
// process at its limit of address space.
Bytes mapped_or_noted(const std::shared_ptr<const mmap::File>& file, std::vector<std::string>& notes) {
  try {
    return mmap::map(file);
  } catch (const Error& error) {
    // Not a failure of mmap() itself.
    if (error.os_error() == 0) throw;
    notes.push_back(fmt::format("mmap: {}: the file is read instead, as with Access::read",
                                std::generic_category().message(error.os_error())));
    return {};
  }
}

class FileSource final : public Source {
 public:
  /// `external` is the caller's source whose descriptor this is; null for a file that heft opened.
  FileSource(std::shared_ptr<const mmap::File> file, std::shared_ptr<const ByteSource> external,
             std::optional<Origin> origin)
      : file_(std::move(file)),
        external_(std::move(external)),
        origin_(std::move(origin)),
        identity_(external_ ? external_->identity() : source_identity(file_->identity())) {}

  [[nodiscard]] Kind kind() const noexcept override { return Kind::file; }
  [[nodiscard]] std::uint64_t size_bytes() const noexcept override { return file_->size_bytes(); }
  [[nodiscard]] std::string_view path() const noexcept override { return file_->path(); }
  [[nodiscard]] Capabilities capabilities() const override {
    return {.mapped = mapped(), .file_descriptor = file_->descriptor()->get()};
  }
  [[nodiscard]] const SourceIdentity& identity() const noexcept override { return identity_; }
  [[nodiscard]] const mmap::File* file() const noexcept override { return file_.get(); }
  [[nodiscard]] const Source* root() const noexcept override { return this; }
  [[nodiscard]] std::optional<Origin> origin() const override { return origin_; }
  [[nodiscard]] std::span<const std::byte> mapped() const noexcept override { return mapping_.span(); }

  void check_unchanged() const override {
    // The caller's source first: it may know of changes that its file does not show, such as a new version of the
    // object.
    if (external_) external_->check_unchanged();
    file_->require_unchanged();
  }

  [[nodiscard]] std::shared_ptr<const Source> payload(std::shared_ptr<const format::Catalog> catalog, Access access,
                                                      std::vector<std::string>& notes) const override {
    // Another object: the one that headers are read from stays unmapped. mmap() of 0 bytes would fail.
    auto source = std::make_shared<FileSource>(file_, external_, origin_);
    if (access == Access::map && size_bytes() != 0) source->mapping_ = mapped_or_noted(file_, notes);
    source->catalog_ = std::move(catalog);
    return source;
  }

  [[nodiscard]] Bytes bytes(std::uint64_t offset, std::uint64_t size) const override {
    require_range(*this, offset, size);
    // A mapping shows the file as it is now. Nothing is compared: views of it are the caller's to protect
    // (Access::read).
    if (!mapping_.empty()) return mapping_.subrange(offset, size);
    Bytes bytes = read_bytes(*this, offset, size);
    // After the bytes were copied: they are those of the opened file if it is unchanged now.
    check_unchanged();
    return bytes;
  }

  void read(std::uint64_t offset, std::span<std::byte> into) const override {
    require_range(*this, offset, into.size());
    if (!mapping_.empty()) {
      std::memcpy(into.data(), mapping_.data() + offset, into.size());
      return;
    }
    file_->read(offset, into);
    check_unchanged();
  }
  void fetch(std::uint64_t offset, std::span<std::byte> into) const override { file_->read(offset, into); }

 private:
  std::shared_ptr<const mmap::File> file_;
  std::shared_ptr<const ByteSource> external_;
  std::optional<Origin> origin_;
  SourceIdentity identity_;
  Bytes mapping_;
  std::shared_ptr<const format::Catalog> catalog_;
};

class MemorySource final : public Source {
 public:
  MemorySource(Bytes bytes, std::shared_ptr<const Source> origin) noexcept
      : bytes_(std::move(bytes)), origin_(std::move(origin)), path_(origin_ ? origin_->path() : std::string_view()) {}

  [[nodiscard]] Kind kind() const noexcept override { return Kind::memory; }
  [[nodiscard]] std::uint64_t size_bytes() const noexcept override { return bytes_.size_bytes(); }
  [[nodiscard]] const Source* root() const noexcept override { return origin_ ? origin_->root() : nullptr; }
  [[nodiscard]] std::span<const std::byte> mapped() const noexcept override { return bytes_.span(); }
  [[nodiscard]] std::string_view path() const noexcept override { return path_; }
  [[nodiscard]] Bytes bytes(std::uint64_t offset, std::uint64_t size) const override {
    return bytes_.subrange(offset, size);
  }

  void read(std::uint64_t offset, std::span<std::byte> into) const override {
    require_range(*this, offset, into.size());
    if (!into.empty()) std::memcpy(into.data(), bytes_.data() + offset, into.size());
  }

  [[nodiscard]] std::shared_ptr<const Source> payload(std::shared_ptr<const format::Catalog> catalog, Access,
                                                      std::vector<std::string>&) const override {
    auto source = std::make_shared<MemorySource>(bytes_, origin_);
    // The path may be a literal that set_path() stored.
    source->path_ = path_;
    source->catalog_ = std::move(catalog);
    return source;
  }

  /// The path of a whole file, which has no other source to take one from.
  void set_path(std::string_view path) noexcept { path_ = path; }

 private:
  Bytes bytes_;
  std::shared_ptr<const Source> origin_;
  std::string_view path_;  // of the origin, or a literal
  std::shared_ptr<const format::Catalog> catalog_;
};

// A source of the caller's that is no file: memory, or requested.
class ExternalSource final : public Source, public std::enable_shared_from_this<ExternalSource> {
 public:
  ExternalSource(std::shared_ptr<const ByteSource> source, const Capabilities& able, std::optional<Origin> origin)
      : source_(std::move(source)),
        mapped_(able.mapped),
        order_(able.order),
        limits_{.preferred_bytes = able.preferred_request_bytes,
                // Of two requests at once, one would step back, and an ascending source would start again.
                .max_in_flight = able.order == Order::ascending ? 1 : able.max_in_flight,
                .bytes_per_request = able.bytes_per_request},
        origin_(std::move(origin)),
        size_bytes_(source_->size_bytes()) {}

  [[nodiscard]] Kind kind() const noexcept override {
    // The mapping of a source of 0 bytes is empty too.
    return mapped_.empty() && size_bytes_ != 0 ? Kind::requested : Kind::memory;
  }
  [[nodiscard]] std::uint64_t size_bytes() const noexcept override { return size_bytes_; }
  [[nodiscard]] std::string_view path() const noexcept override { return source_->path(); }
  [[nodiscard]] Capabilities capabilities() const override {
    return {.mapped = mapped_,
            .order = order_,
            .preferred_request_bytes = limits_.preferred_bytes,
            .max_in_flight = limits_.max_in_flight,
            .bytes_per_request = limits_.bytes_per_request};
  }
  [[nodiscard]] const SourceIdentity& identity() const noexcept override { return source_->identity(); }
  void check_unchanged() const override { source_->check_unchanged(); }
  [[nodiscard]] const Source* root() const noexcept override { return this; }
  [[nodiscard]] std::optional<Origin> origin() const override { return origin_; }
  [[nodiscard]] std::span<const std::byte> mapped() const noexcept override { return mapped_; }
  [[nodiscard]] Order order() const noexcept override { return order_; }
  [[nodiscard]] const RequestLimits& request_limits() const noexcept override { return limits_; }

  [[nodiscard]] Bytes bytes(std::uint64_t offset, std::uint64_t size) const override {
    require_range(*this, offset, size);
    // This source keeps the caller's, which owns the memory.
    if (!mapped_.empty()) return {mapped_.subspan(offset, size), shared_from_this()};
    Bytes bytes = read_bytes(*this, offset, size);
    check_unchanged();
    return bytes;
  }
  void read(std::uint64_t offset, std::span<std::byte> into) const override {
    require_range(*this, offset, into.size());
    fetch(offset, into);
    if (mapped_.empty()) check_unchanged();
  }
  void fetch(std::uint64_t offset, std::span<std::byte> into) const override {
    if (into.empty()) return;
    if (!mapped_.empty()) {
      std::memcpy(into.data(), mapped_.data() + offset, into.size());
      return;
    }
    try {
      source_->read(offset, into);
    } catch (const Error& error) {
      // The caller's Error need not name the object, so the path is added.
      throw error.with_path(path());
    }
  }
  void read_async(ReadRequest request, std::stop_token stop, Completion completion) const override {
    // Straight to the caller's source: the gate of the load bounds the requests, and its reader
    // adds the path to failures.
    source_->read_async(request, std::move(stop), std::move(completion));
  }

  [[nodiscard]] std::shared_ptr<const Source> payload(std::shared_ptr<const format::Catalog> catalog, Access,
                                                      std::vector<std::string>&) const override {
    auto source = std::make_shared<ExternalSource>(source_, capabilities(), origin_);
    source->catalog_ = std::move(catalog);
    return source;
  }

 private:
  std::shared_ptr<const ByteSource> source_;
  std::span<const std::byte> mapped_;
  Order order_;
  RequestLimits limits_;
  std::optional<Origin> origin_;
  std::uint64_t size_bytes_;
  std::shared_ptr<const format::Catalog> catalog_;
};

// Throws Error{out_of_range} with the message unless it holds.
void require_capability(const ByteSource& source, bool holds, std::string sentence) {
  if (!holds) throw Error(ErrorCode::out_of_range, std::move(sentence), {.path = std::string(source.path())});
}

}  // namespace

SourceIdentity source_identity(const mmap::Identity& found) {
  return {.object = fmt::format("{}:{}", found.device, found.inode),
          .version = fmt::format("{}:{}:{}", found.size_bytes, found.mtime_ns, found.ctime_ns)};
}

const SourceIdentity& Source::identity() const noexcept {
  static const SourceIdentity none;
  const Source* const from = root();
  // Bytes that are made of a file change with the file.
  return from == nullptr || from == this ? none : from->identity();
}

void Source::check_unchanged() const {
  if (const Source* const from = root(); from != nullptr && from != this) from->check_unchanged();
}

std::shared_ptr<const Source> Source::payload(std::shared_ptr<const format::Catalog>, Access,
                                              std::vector<std::string>&) const {
  return nullptr;
}

const RequestLimits& Source::request_limits() const noexcept {
  static constexpr RequestLimits none;
  return none;
}

std::unique_ptr<SourceReader> Source::reader(format::GatherRun) const { return nullptr; }

Bytes SourceInput::read(std::uint64_t offset, std::uint64_t size) const {
  // Before the budget: a declared size that the file does not have must not raise the limit.
  core::require_inside(offset, size, source_.size_bytes(), "the file");
  // Every byte that is read raises the limit of metadata, which is proportional to them.
  if (budget()) budget()->add_read(size);
  if (source_.kind() != Source::Kind::requested || size > max_windowed_bytes) return read_bytes(source_, offset, size);
  // Copied out of the window: bytes that a catalog keeps must not keep the whole window in memory.
  auto room = core::allocate_bytes(size, "to read into", {.path = std::string(source_.path())});
  const std::span<std::byte> into(room.get(), size);
  fetch(offset, into);
  return {into, std::move(room)};
}

void SourceInput::read_into(std::uint64_t offset, std::span<std::byte> into) const {
  core::require_inside(offset, into.size(), source_.size_bytes(), "the file");
  if (budget()) budget()->add_read(into.size());
  fetch(offset, into);
}

void SourceInput::fetch(std::uint64_t offset, std::span<std::byte> into) const {
  if (source_.kind() != Source::Kind::requested || into.size() > max_windowed_bytes) return source_.fetch(offset, into);
  if (into.empty()) return;
  if (offset < window_offset_ || !core::inside(offset - window_offset_, into.size(), window_.size_bytes())) {
    const std::uint64_t wanted =
        std::clamp(source_.request_limits().preferred_bytes, 2 * max_windowed_bytes, max_window_bytes);
    // The last bytes of a file come with those before them: directories lie at its end, and are read backwards.
    const std::uint64_t size = std::min(wanted, source_.size_bytes());
    const std::uint64_t start = std::min(offset, source_.size_bytes() - size);
    // Freed first, so that two windows are never in memory.
    window_ = {};
    window_ = read_bytes(source_, start, size);
    window_offset_ = start;
  }
  std::memcpy(into.data(), window_.data() + (offset - window_offset_), into.size());
}

std::shared_ptr<const Source> file_source(std::shared_ptr<const mmap::File> file) {
  Origin origin{.path = file->path(), .identity = file->identity()};
  return std::make_shared<FileSource>(std::move(file), nullptr, std::move(origin));
}

std::shared_ptr<const Source> external_source(std::shared_ptr<const ByteSource> source, std::optional<Origin> origin) {
  const ByteSource::Capabilities able = source->capabilities();
  require_capability(*source, able.mapped.empty() || able.mapped.size() == source->size_bytes(),
                     fmt::format("expected a source that is mapped whole, found {} of {} bytes", able.mapped.size(),
                                 source->size_bytes()));
  require_capability(*source, able.max_in_flight >= 1, "expected a source of 1 request in flight or more, found 0");
  // A preference of a few bytes would cut a load of gigabytes into a billion requests.
  constexpr std::uint64_t min_request_bytes = 4096;
  require_capability(*source, able.preferred_request_bytes >= min_request_bytes,
                     fmt::format("expected requests of {} bytes or more, found a preference of {}", min_request_bytes,
                                 able.preferred_request_bytes));
  if (able.file_descriptor < 0) return std::make_shared<ExternalSource>(std::move(source), able, std::move(origin));
  // A descriptor of heft's own, so that the caller can close the other one; the source is kept for check_unchanged().
  auto file = mmap::File::of_descriptor(able.file_descriptor, std::string(source->path()));
  require_capability(
      *source, file->size_bytes() == source->size_bytes(),
      fmt::format("expected a descriptor of {} bytes, found {}", source->size_bytes(), file->size_bytes()));
  return std::make_shared<FileSource>(std::move(file), std::move(source), std::move(origin));
}

std::shared_ptr<const Source> memory_source(Bytes bytes, std::shared_ptr<const Source> origin) {
  return std::make_shared<MemorySource>(std::move(bytes), std::move(origin));
}

std::shared_ptr<const Source> file_in_memory(Bytes bytes) {
  auto source = std::make_shared<MemorySource>(std::move(bytes), nullptr);
  source->set_path(bytes_path);
  return source;
}

namespace {

// Large rooms are on huge pages, whose faults take a fraction of the time of as many small pages.
std::shared_ptr<std::byte[]> make_room(const Source& source, std::uint64_t size) {
  constexpr std::string_view purpose = "to read into";
  const ErrorPlace place{.path = std::string(source.path())};
  if (size < mmap::huge_page_bytes) return core::allocate_bytes(size, purpose, place);
  auto room = core::allocate_bytes(size, purpose, place, mmap::huge_page_bytes);
  mmap::advise({room.get(), size}, mmap::Advice::huge_pages);
  return room;
}

}  // namespace

Bytes read_bytes(const Source& source, std::uint64_t offset, std::uint64_t size) {
  if (size == 0) return {};
  auto room = make_room(source, size);
  const std::span<std::byte> into(room.get(), size);
  // fetch(), not read(): the callers compare the file once, after all their reads.
  source.fetch(offset, into);
  return {into, std::move(room)};
}

}  // namespace record
}  // namespace heft
