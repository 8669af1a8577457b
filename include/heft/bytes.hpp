// heft/bytes.hpp: a span of immutable bytes and the owner that keeps it alive.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <utility>

#include "heft/export.hpp"

namespace heft {

/// A view of bytes that holds its owner: a mapping, a heap block, an arena. As long as any Bytes lives, so does the memory.
///
/// A value; copying costs one reference count. Const members may be called from several threads.
///
/// Bytes of a mapped file are what the file holds at the time of reading. If another process truncates the file, touching
/// the lost pages raises SIGBUS: open with `Access::read`, or materialize(), where that must not happen.
class HEFT_API Bytes {
 public:
  Bytes() noexcept = default;
  /// `owner` must keep `span` valid and unchanged while it lives.
  Bytes(std::span<const std::byte> span, std::shared_ptr<const void> owner) noexcept
      : data_(span.data()), size_(span.size()), owner_(std::move(owner)) {}

  /// A private copy on the heap. Throws Error{out_of_memory}.
  [[nodiscard]] static Bytes copy_of(std::span<const std::byte> bytes);

  [[nodiscard]] std::uint64_t size_bytes() const noexcept { return size_; }
  [[nodiscard]] bool empty() const noexcept { return size_ == 0; }

  /// Borrowed: valid while this Bytes (or a copy of it) lives.
  [[nodiscard]] std::span<const std::byte> span() const& noexcept { return {data_, size_}; }
  std::span<const std::byte> span() const&& = delete;
  [[nodiscard]] const std::byte* data() const& noexcept { return data_; }
  const std::byte* data() const&& = delete;

  /// `size` bytes from `offset`, with the same owner. Never clamps: throws Error{out_of_range} when they are not all inside.
  [[nodiscard]] Bytes subrange(std::uint64_t offset, std::uint64_t size) const;

  [[nodiscard]] const std::shared_ptr<const void>& owner() const& noexcept { return owner_; }

 private:
  const std::byte* data_ = nullptr;
  std::size_t size_ = 0;
  std::shared_ptr<const void> owner_;
};

}  // namespace heft
