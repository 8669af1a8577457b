#include <cstring>
#include <mutex>
#include <string>
#include <utility>

#include <fmt/format.h>

#include "core/text.hpp"
#include "format/inflate.hpp"
#include "heft/error.hpp"
#include "record/source.hpp"

namespace heft::record {
namespace {

// Inflated on demand, exactly to the declared size, and kept while anybody holds bytes of it. The last one used of a file is kept besides, so
// that reading element by element inflates once; so at most one record that nobody uses is in memory.
class InflatedSource final : public Source {
 public:
  InflatedSource(std::shared_ptr<const Source> packed, format::Member member, std::shared_ptr<LastInflated> last) noexcept
      : packed_(std::move(packed)), member_(member), last_(std::move(last)) {}

  [[nodiscard]] std::uint64_t size_bytes() const noexcept override { return member_.full_size; }
  [[nodiscard]] const mmap::File* file() const noexcept override { return nullptr; }
  [[nodiscard]] const mmap::File* origin() const noexcept override { return packed_->origin(); }
  [[nodiscard]] std::span<const std::byte> mapped() const noexcept override { return {}; }
  [[nodiscard]] std::string_view path() const noexcept override { return packed_->path(); }
  [[nodiscard]] Bytes bytes(std::uint64_t offset, std::uint64_t size) const override { return inflated().subrange(offset, size); }

  void read(std::uint64_t offset, std::span<std::byte> into) const override {
    const Bytes from = inflated().subrange(offset, into.size());
    if (!into.empty()) std::memcpy(into.data(), from.data(), into.size());
  }

 private:
  [[nodiscard]] Bytes inflated() const {
    const std::scoped_lock lock(mutex_);
    Bytes all;
    if (auto owner = kept_.lock()) all = Bytes({data_, static_cast<std::size_t>(member_.full_size)}, std::move(owner));
    else all = inflate();
    last_->keep(all);
    return all;
  }

  [[nodiscard]] Bytes inflate() const {
    const std::string what = fmt::format("record '{}'", core::escaped(member_.name));
    try {
      // Read, not mapped: a file that shrinks meanwhile is an Error then and no signal, and its pages are not held.
      const mmap::File* const file = packed_->file();
      const Bytes deflated = file != nullptr ? read_bytes(*file, member_.begin, member_.size)
                                             : packed_->bytes(member_.begin, member_.size);
      if (file != nullptr) file->require_unchanged();
      Bytes all = format::inflate(deflated.span(), member_.full_size, format::deflate_max_ratio, what);
      if (member_.crc32 != 0 && format::crc32(all.span()) != member_.crc32)
        throw Error(ErrorCode::corrupt, fmt::format("{}: its checksum is not the one the directory declares", what));
      data_ = all.data();
      kept_ = all.owner();
      return all;
    } catch (const Error& error) {
      throw error.with_path(path());
    }
  }

  std::shared_ptr<const Source> packed_;
  format::Member member_;
  std::shared_ptr<LastInflated> last_;
  mutable std::mutex mutex_;
  mutable const std::byte* data_ = nullptr;
  mutable std::weak_ptr<const void> kept_;
};

}  // namespace

void LastInflated::keep(Bytes bytes) {
  const std::scoped_lock lock(mutex_);
  std::swap(bytes_, bytes);
}

std::shared_ptr<const Source> inflated_source(std::shared_ptr<const Source> packed, const format::Member& member,
                                              std::shared_ptr<LastInflated> last) {
  return std::make_shared<InflatedSource>(std::move(packed), member, std::move(last));
}

}  // namespace heft::record
