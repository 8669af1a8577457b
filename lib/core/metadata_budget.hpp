// core/metadata_budget.hpp: the memory that the metadata of one checkpoint can take, counted in one place.
//
// A pickle of one kilobyte can declare a million tensors, and 48 kB deflated sixteen million tuples. The limit is
// therefore on the memory that metadata take after parsing, in every format. Tables (core/table.hpp), Arenas and the
// record tree take their bytes from the budget before they grow.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <utility>

namespace heft::core {

/// Counts the memory of parsed metadata against Limits::metadata_memory_bytes. All members can be called from several
/// threads, because the shards of a checkpoint share one budget.
class MetadataBudget {
 public:
  /// The default limit is base_bytes plus bytes_for_each_read for each byte of metadata that was read from a file.
  static constexpr std::uint64_t base_bytes = 16u << 20;
  static constexpr std::uint64_t bytes_for_each_read = 8;

  /// `limit` is Limits::metadata_memory_bytes; 0 selects the default.
  explicit MetadataBudget(std::uint64_t limit) noexcept : limit_(limit) {}
  MetadataBudget(const MetadataBudget&) = delete;
  MetadataBudget& operator=(const MetadataBudget&) = delete;

  /// Adds bytes of metadata read from a file, counted before inflating: the default limit grows with them.
  void add_read(std::uint64_t bytes) noexcept { read_.fetch_add(bytes, std::memory_order_relaxed); }

  /// Counts `bytes` that are about to be allocated. Throws Error{limit_exceeded}, and counts nothing then.
  void take(std::uint64_t bytes);
  void give_back(std::uint64_t bytes) noexcept { used_.fetch_sub(bytes, std::memory_order_relaxed); }

  [[nodiscard]] std::uint64_t limit() const noexcept;
  [[nodiscard]] std::uint64_t read_bytes() const noexcept { return read_.load(std::memory_order_relaxed); }
  /// Bytes taken and not given back; peak_bytes() is their maximum so far.
  [[nodiscard]] std::uint64_t used_bytes() const noexcept { return used_.load(std::memory_order_relaxed); }
  [[nodiscard]] std::uint64_t peak_bytes() const noexcept { return peak_.load(std::memory_order_relaxed); }

 private:
  const std::uint64_t limit_;
  std::atomic<std::uint64_t> read_ = 0;
  std::atomic<std::uint64_t> used_ = 0;
  std::atomic<std::uint64_t> peak_ = 0;
};

/// Owns bytes taken from a budget and gives them back on destruction. Without a budget nothing is counted.
class MetadataCharge {
 public:
  MetadataCharge() noexcept = default;
  explicit MetadataCharge(std::shared_ptr<MetadataBudget> budget) noexcept : budget_(std::move(budget)) {}
  MetadataCharge(MetadataCharge&& other) noexcept
      : budget_(std::move(other.budget_)), bytes_(std::exchange(other.bytes_, 0)) {}
  MetadataCharge& operator=(MetadataCharge&& other) noexcept {
    std::swap(budget_, other.budget_);
    std::swap(bytes_, other.bytes_);
    return *this;
  }
  ~MetadataCharge() {
    if (budget_) budget_->give_back(bytes_);
  }

  /// Takes `bytes` more. Throws Error{limit_exceeded}.
  void add(std::uint64_t bytes) {
    if (!budget_) return;
    budget_->take(bytes);
    bytes_ += bytes;
  }
  [[nodiscard]] const std::shared_ptr<MetadataBudget>& budget() const noexcept { return budget_; }

 private:
  std::shared_ptr<MetadataBudget> budget_;
  std::uint64_t bytes_ = 0;
};

}  // namespace heft::core
