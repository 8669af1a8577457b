#include "record/source.hpp"

#include <cstring>
#include <string>
#include <string_view>
#include <utility>

#include <fmt/format.h>

#include "core/allocate.hpp"
#include "core/checked.hpp"
#include "heft/error.hpp"
#include "mmap/mapping.hpp"
#include "mmap/pages.hpp"

namespace heft::record {
namespace {

void require_range(const Source& source, std::uint64_t offset, std::uint64_t size) {
  if (core::inside(offset, size, source.size_bytes())) return;
  throw Error(
      ErrorCode::out_of_range,
      fmt::format("expected a range inside {} bytes, found {} bytes from {}", source.size_bytes(), size, offset),
      {.path = std::string(source.path())});
}

class FileSource final : public Source {
 public:
  FileSource(std::shared_ptr<const mmap::File> file, Bytes mapping,
             std::shared_ptr<const format::Catalog> catalog) noexcept
      : file_(std::move(file)), mapping_(std::move(mapping)), catalog_(std::move(catalog)) {}

  [[nodiscard]] std::uint64_t size_bytes() const noexcept override { return file_->size_bytes(); }
  [[nodiscard]] const mmap::File* file() const noexcept override { return file_.get(); }
  [[nodiscard]] const mmap::File* origin() const noexcept override { return file_.get(); }
  [[nodiscard]] std::span<const std::byte> mapped() const noexcept override { return mapping_.span(); }
  [[nodiscard]] std::string_view path() const noexcept override { return file_->path(); }

  [[nodiscard]] Bytes bytes(std::uint64_t offset, std::uint64_t size) const override {
    require_range(*this, offset, size);
    if (!mapping_.empty()) return mapping_.subrange(offset, size);
    Bytes bytes = read_bytes(*file_, offset, size);
    file_->require_unchanged();
    return bytes;
  }

  void read(std::uint64_t offset, std::span<std::byte> into) const override {
    require_range(*this, offset, into.size());
    if (!mapping_.empty()) {
      std::memcpy(into.data(), mapping_.data() + offset, into.size());
      return;
    }
    file_->read(offset, into);
    file_->require_unchanged();
  }

 private:
  std::shared_ptr<const mmap::File> file_;
  Bytes mapping_;
  std::shared_ptr<const format::Catalog> catalog_;
};

class MemorySource final : public Source {
 public:
  MemorySource(Bytes bytes, std::shared_ptr<const Source> origin) noexcept
      : bytes_(std::move(bytes)), origin_(std::move(origin)) {}

  [[nodiscard]] std::uint64_t size_bytes() const noexcept override { return bytes_.size_bytes(); }
  [[nodiscard]] const mmap::File* file() const noexcept override { return nullptr; }
  [[nodiscard]] const mmap::File* origin() const noexcept override { return origin_ ? origin_->origin() : nullptr; }
  [[nodiscard]] std::span<const std::byte> mapped() const noexcept override { return bytes_.span(); }
  [[nodiscard]] std::string_view path() const noexcept override {
    return origin_ ? origin_->path() : std::string_view();
  }
  [[nodiscard]] Bytes bytes(std::uint64_t offset, std::uint64_t size) const override {
    return bytes_.subrange(offset, size);
  }

  void read(std::uint64_t offset, std::span<std::byte> into) const override {
    require_range(*this, offset, into.size());
    if (!into.empty()) std::memcpy(into.data(), bytes_.data() + offset, into.size());
  }

 private:
  Bytes bytes_;
  std::shared_ptr<const Source> origin_;
};

}  // namespace

std::unique_ptr<SourceReader> Source::reader(format::GatherRun) const { return nullptr; }

Bytes SourceInput::read(std::uint64_t offset, std::uint64_t size) const {
  require_range(*source_, offset, size);
  return source_->file() != nullptr ? read_bytes(*source_->file(), offset, size) : source_->bytes(offset, size);
}

void SourceInput::read_into(std::uint64_t offset, std::span<std::byte> into) const {
  require_range(*source_, offset, into.size());
  if (source_->file() != nullptr)
    source_->file()->read(offset, into);
  else
    source_->read(offset, into);
}

std::shared_ptr<const Source> file_source(std::shared_ptr<const mmap::File> file, Bytes mapping,
                                          std::shared_ptr<const format::Catalog> catalog) {
  return std::make_shared<FileSource>(std::move(file), std::move(mapping), std::move(catalog));
}

std::shared_ptr<const Source> memory_source(Bytes bytes, std::shared_ptr<const Source> origin) {
  return std::make_shared<MemorySource>(std::move(bytes), std::move(origin));
}

namespace {

// Large rooms are on huge pages, whose faults take a fraction of the time of as many small pages.
std::shared_ptr<std::byte[]> make_room(const mmap::File& file, std::uint64_t size) {
  constexpr std::string_view purpose = "to read into";
  if (size < mmap::huge_page_bytes) return core::allocate_bytes(size, purpose, {.path = file.path()});
  auto room = core::allocate_bytes(size, purpose, {.path = file.path()}, mmap::huge_page_bytes);
  mmap::advise({room.get(), size}, mmap::Advice::huge_pages);
  return room;
}

}  // namespace

Bytes read_bytes(const mmap::File& file, std::uint64_t offset, std::uint64_t size) {
  if (size == 0) return {};
  auto room = make_room(file, size);
  const std::span<std::byte> into(room.get(), size);
  file.read(offset, into);
  return {into, std::move(room)};
}

}  // namespace heft::record
