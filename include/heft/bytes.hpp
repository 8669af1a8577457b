// heft/bytes.hpp: a span of immutable bytes and the owner that keeps it alive.
//
// Payload is handed out as Bytes (TensorView::bytes(), Record::bytes(), Tensor::owned_bytes()), and is passed in as
// Bytes (TensorView::over()). The owner is type-erased: a mapping, a heap block, an arena, or any object of the caller.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <utility>

#include "heft/export.hpp"

namespace heft {

/// A view of bytes that holds its owner. The memory stays valid as long as any Bytes of that owner lives, also after
/// the Checkpoint, the view or the plan that it came from has been destroyed.
///
/// A value: a copy increments one reference count and copies no bytes. Const members may be called from several
/// threads.
///
/// Bytes of a mapped file show the file's contents at the time of each access. If another process truncates the file,
/// access to the lost pages raises SIGBUS. A program that must survive that opens with Access::read, or calls
/// materialize(), which reports Error{changed_on_disk}.
///
/// Example:
///   const heft::Bytes all = view.bytes();             // a range of the mapping: nothing is copied
///   const heft::Bytes head = all.subrange(0, 16);     // 16 bytes, same owner
///   std::fwrite(head.data(), 1, head.size_bytes(), stdout);
class HEFT_API Bytes {
 public:
  /// No bytes, no owner.
  Bytes() noexcept = default;
  /// Requires that `owner` keeps the bytes of `span` valid and unchanged while it lives. A null owner means that the
  /// caller does so.
  Bytes(std::span<const std::byte> span, std::shared_ptr<const void> owner) noexcept
      : data_(span.data()), size_(span.size()), owner_(std::move(owner)) {}

  /// Returns a private copy on the heap. Throws Error{out_of_memory}, which names the size in bytes.
  [[nodiscard]] static Bytes copy_of(std::span<const std::byte> bytes);

  /// Number of bytes.
  [[nodiscard]] std::uint64_t size_bytes() const noexcept { return size_; }
  [[nodiscard]] bool empty() const noexcept { return size_ == 0; }

  /// The bytes. Borrowed: valid while this Bytes (or a copy of it) lives. Deleted for a temporary, whose owner can die
  /// at the end of the statement.
  [[nodiscard]] std::span<const std::byte> span() const& noexcept { return {data_, size_}; }
  std::span<const std::byte> span() const&& = delete;
  /// Address of the first byte; null for a default Bytes. Borrowed as span().
  [[nodiscard]] const std::byte* data() const& noexcept { return data_; }
  const std::byte* data() const&& = delete;

  /// Returns `size` bytes from `offset` on, with the same owner. Does not clamp: throws Error{out_of_range} unless all
  /// of them lie inside.
  [[nodiscard]] Bytes subrange(std::uint64_t offset, std::uint64_t size) const;

  /// The object that keeps the memory valid; null when the caller does. A copy of the pointer keeps the memory as a
  /// Bytes does.
  [[nodiscard]] const std::shared_ptr<const void>& owner() const& noexcept { return owner_; }
  [[nodiscard]] std::shared_ptr<const void> owner() const&& noexcept { return owner_; }

 private:
  const std::byte* data_ = nullptr;
  std::size_t size_ = 0;
  std::shared_ptr<const void> owner_;
};

}  // namespace heft
