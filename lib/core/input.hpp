// core/input.hpp: random access to the bytes that a format reads, independent of files.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <utility>

#include "core/metadata_budget.hpp"
#include "heft/bytes.hpp"

namespace heft::core {

/// Immutable bytes with a size. The record room implements it with pread, which returns a private copy: a concurrent
/// writer cannot change bytes that were checked. Tests and fuzzers use MemoryInput.
class Input {
 public:
  virtual ~Input() = default;
  [[nodiscard]] virtual std::uint64_t size_bytes() const noexcept = 0;
  /// Returns `size` bytes from `offset`. Throws Error{corrupt} when they are not all inside, Error{io} when the system
  /// fails.
  [[nodiscard]] virtual Bytes read(std::uint64_t offset, std::uint64_t size) const = 0;
  /// As read(), into the caller's memory.
  virtual void read_into(std::uint64_t offset, std::span<std::byte> into) const;
  /// Returns all bytes, with their owner, if they are in memory; nothing otherwise.
  [[nodiscard]] virtual Bytes in_memory() const { return {}; }

  /// Returns the budget that counts the memory of this file's metadata; readers pass it to their tables. Can be null.
  [[nodiscard]] const std::shared_ptr<MetadataBudget>& budget() const noexcept { return budget_; }

 protected:
  explicit Input(std::shared_ptr<MetadataBudget> budget = {}) noexcept : budget_(std::move(budget)) {}
  Input(const Input&) = default;
  Input& operator=(const Input&) = default;

 private:
  std::shared_ptr<MetadataBudget> budget_;
};

/// An Input over bytes in memory. read() returns subranges without copying.
class MemoryInput final : public Input {
 public:
  /// `budget` is that of the Input from which the bytes were read.
  explicit MemoryInput(Bytes bytes, std::shared_ptr<MetadataBudget> budget = {}) noexcept
      : Input(std::move(budget)), bytes_(std::move(bytes)) {}
  [[nodiscard]] std::uint64_t size_bytes() const noexcept override { return bytes_.size_bytes(); }
  [[nodiscard]] Bytes read(std::uint64_t offset, std::uint64_t size) const override;
  [[nodiscard]] Bytes in_memory() const override { return bytes_; }

 private:
  Bytes bytes_;
};

}  // namespace heft::core
