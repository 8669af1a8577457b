// heft/stream.hpp: a load one tensor at a time, with a bound on memory: for hashing, converting, saving, pushing
// elsewhere.
#pragma once

#include <cstddef>
#include <cstdint>
#include <iterator>
#include <memory>
#include <optional>

#include "heft/export.hpp"
#include "heft/materialize.hpp"

namespace heft {

/// The tensors of a plan as a range, in file order, loaded ahead by worker threads:
///
///   for (const heft::Tensor& t : heft::stream(plan)) hash(t.bytes());
///
/// Each Tensor owns its memory: keep it and it stays, and with it the tensors that were loaded together with it, a
/// quarter of the bound at most (or one larger tensor). Memory of tensors that were let go is used again for later
/// ones. At most `in_flight_bytes` of tensors are finished or being filled ahead of the consumer (one tensor at
/// least, whatever its size). Dropping the stream early stops the workers and reads nothing more.
///
/// Not copyable. One thread consumes: no two members may be called at once, from whatever threads. Tensors that it gave
/// are free of it, and outlive it.
class HEFT_API TensorStream {
 public:
  class HEFT_API iterator {
   public:
    /// Input iterators: one pass, all copies are the same place. Only a past-the-end one may be compared.
    using iterator_category = std::input_iterator_tag;
    using value_type = Tensor;
    using difference_type = std::ptrdiff_t;
    using pointer = const Tensor*;
    using reference = Tensor&;

    /// Past the end.
    iterator() noexcept = default;
    /// The tensor taken last, which the consumer may move from. Valid until the next ++.
    Tensor& operator*() const noexcept { return *stream_->current_; }
    const Tensor* operator->() const noexcept { return &*stream_->current_; }
    /// Takes the next one: waits and throws as next().
    iterator& operator++() { stream_->advance(); return *this; }
    void operator++(int) { stream_->advance(); }
    friend bool operator==(const iterator& at, std::default_sentinel_t) noexcept { return at.done(); }

   private:
    friend class TensorStream;
    explicit iterator(TensorStream* stream) noexcept : stream_(stream) {}
    [[nodiscard]] bool done() const noexcept { return stream_ == nullptr || !stream_->current_; }
    TensorStream* stream_ = nullptr;
  };

  /// The one moved from may only be destroyed or assigned to. Iterators stay with it, and are lost.
  TensorStream(TensorStream&&) noexcept;
  TensorStream& operator=(TensorStream&&) noexcept;
  /// Stops the workers and waits for what they are reading just now. Never throws: a failure that nobody has taken is
  /// dropped.
  ~TensorStream();

  /// The next tensor, or nothing after the last. Waits for it. Throws what the load throws, once; after that there is
  /// nothing more. The files of a tensor have been compared with what was opened after its last byte was read: each
  /// tensor that is handed out is whole, and the first difference ends the stream with Error{changed_on_disk}.
  [[nodiscard]] std::optional<Tensor> next();

  /// Single pass: begin() takes the first tensor, waiting and throwing as next(). Valid while the stream lives and is not moved.
  [[nodiscard]] iterator begin() { advance(); return iterator(this); }
  [[nodiscard]] std::default_sentinel_t end() const noexcept { return {}; }

  /// What has been done so far; complete after the last tensor.
  [[nodiscard]] LoadStats stats() const;

 private:
  friend HEFT_API TensorStream stream(LoadPlan plan, const MaterializeOptions& options, std::uint64_t in_flight_bytes);
  struct State;
  explicit TensorStream(std::unique_ptr<State> state) noexcept;
  void advance() { current_.reset(); current_ = next(); }

  std::unique_ptr<State> state_;
  std::optional<Tensor> current_;
};

/// Starts loading the plan's tensors in file order (by shard and offset of their first byte). Options as for
/// materialize(); `destination` must be null: Error{unsupported}. An entry with the caller's buffer is filled there
/// and its Tensor says so. `in_flight_bytes` counts the bytes of finished tensors, in memory of the stream or the
/// caller's, not staging and windows: LoadPlan::estimate() returns what a load takes beside them.
[[nodiscard]] HEFT_API TensorStream stream(LoadPlan plan, const MaterializeOptions& options = {}, std::uint64_t in_flight_bytes = 256u << 20);

}  // namespace heft
