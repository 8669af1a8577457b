// core/metadata_budget.hpp: the memory that the metadata of one checkpoint may take, counted in one place.
//
// A pickle of one kilobyte can stand for a million tensors, and 48 kB deflated for sixteen million tuples: what a file
// declares is bounded by what is made of it, whatever the format. Tables (core/table.hpp), Arenas and the record tree
// take their bytes here before they grow.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <utility>

namespace heft::core {

/// Bytes made of metadata, against Limits::metadata_memory_bytes. All members may be called from several threads: the
/// shards of a checkpoint share one budget.
class MetadataBudget {
 public:
  /// The default limit: this much, and so many bytes for each byte of metadata that was read from a file.
  static constexpr std::uint64_t base_bytes = 16u << 20;
  static constexpr std::uint64_t bytes_for_each_read = 8;

  /// `limit` is Limits::metadata_memory_bytes; 0: the default.
  explicit MetadataBudget(std::uint64_t limit) noexcept : limit_(limit) {}
  MetadataBudget(const MetadataBudget&) = delete;
  MetadataBudget& operator=(const MetadataBudget&) = delete;

  /// Metadata as they lie in a file, before inflating: the default limit grows with them.
  void add_read(std::uint64_t bytes) noexcept { read_.fetch_add(bytes, std::memory_order_relaxed); }

  /// Counts `bytes` that are about to be allocated. Throws Error{limit_exceeded}, and has counted nothing then.
  void take(std::uint64_t bytes);
  void give_back(std::uint64_t bytes) noexcept { used_.fetch_sub(bytes, std::memory_order_relaxed); }

  [[nodiscard]] std::uint64_t limit() const noexcept;
  [[nodiscard]] std::uint64_t read_bytes() const noexcept { return read_.load(std::memory_order_relaxed); }
  /// Taken and not given back; and the most that it ever was.
  [[nodiscard]] std::uint64_t used_bytes() const noexcept { return used_.load(std::memory_order_relaxed); }
  [[nodiscard]] std::uint64_t peak_bytes() const noexcept { return peak_.load(std::memory_order_relaxed); }

 private:
  const std::uint64_t limit_;
  std::atomic<std::uint64_t> read_ = 0;
  std::atomic<std::uint64_t> used_ = 0;
  std::atomic<std::uint64_t> peak_ = 0;
};

/// Bytes that its owner has taken of a budget; they are given back when it dies. Without a budget nothing is counted.
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
