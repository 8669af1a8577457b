// heft/stream.hpp: loads a plan one tensor at a time, in bounded memory: for hashing, converting, saving, sending.
#pragma once

#include <cstddef>
#include <cstdint>
#include <iterator>
#include <memory>
#include <optional>

#include "heft/export.hpp"
#include "heft/materialize.hpp"

namespace heft {

/// The order in which a stream returns tensors.
enum class StreamOrder : std::uint8_t {
  file,         ///< By shard, then by the offset of the first byte: devices read fastest in this order.
  plan,         ///< As they were added to the plan.
  as_finished,  ///< Loaded in file order; a tensor never waits for one that is still being filled.
};

/// Options of stream() beside those of a load. A value.
///
/// Example:
///   heft::TensorStream tensors = heft::stream(plan, {.threads = 4}, {.order = heft::StreamOrder::plan});
struct StreamOptions {
  StreamOrder order = StreamOrder::file;
  /// Bound on the bytes of tensors that are finished or being filled ahead of the consumer, in memory of the stream or
  /// of the caller; staging and windows are not counted (LoadPlan::estimate() includes them). A larger tensor is loaded
  /// while no other one is.
  std::uint64_t in_flight_bytes = 256u << 20;
};

/// The tensors of a plan as a range, loaded ahead of the consumer by worker threads: one load, whose workers go on
/// while tensors are taken.
///
/// Each Tensor owns its memory. A Tensor that is kept also keeps the memory of its neighbours that got theirs together
/// with it: at most an eighth of StreamOptions::in_flight_bytes, or one larger tensor. The memory of destroyed tensors
/// is used again for later ones. The destructor stops the workers early.
///
/// Not copyable. Used by one thread at a time. Tensors that were returned do not depend on the stream and can outlive
/// it.
///
/// Example:
///   std::uint64_t bytes = 0;
///   for (const heft::Tensor& tensor : heft::stream(plan)) bytes += tensor.bytes().size();
class HEFT_API TensorStream {
 public:
  class HEFT_API iterator {
   public:
    /// An input iterator: single pass, and all copies are at the same position. Compare it with the sentinel only.
    using iterator_category = std::input_iterator_tag;
    using value_type = Tensor;
    using difference_type = std::ptrdiff_t;
    using pointer = const Tensor*;
    using reference = Tensor&;

    /// Past the end.
    iterator() noexcept = default;
    /// The current tensor, which the consumer may move from. Valid until the next ++.
    Tensor& operator*() const noexcept { return *stream_->current_; }
    const Tensor* operator->() const noexcept { return &*stream_->current_; }
    /// Takes the next tensor: waits and throws as next().
    iterator& operator++() {
      stream_->advance();
      return *this;
    }
    void operator++(int) { stream_->advance(); }
    friend bool operator==(const iterator& at, std::default_sentinel_t) noexcept { return at.done(); }

   private:
    friend class TensorStream;
    explicit iterator(TensorStream* stream) noexcept : stream_(stream) {}
    [[nodiscard]] bool done() const noexcept { return stream_ == nullptr || !stream_->current_; }
    TensorStream* stream_ = nullptr;
  };

  /// A stream that was moved from can only be destroyed or assigned to. Its iterators become invalid.
  TensorStream(TensorStream&&) noexcept;
  TensorStream& operator=(TensorStream&&) noexcept;
  /// Stops the workers and waits for the end of reads in progress. Does not throw: a failure that next() has not
  /// reported is discarded.
  ~TensorStream();

  /// Waits for the next tensor and returns it, or nothing after the last. Throws what materialize() throws, once; later
  /// calls return nothing. After the last byte of a tensor was read, its files are compared with those that were
  /// opened, and a record with a checksum is proved: each tensor that is returned is whole, and the first difference
  /// ends the stream with Error{changed_on_disk}.
  [[nodiscard]] std::optional<Tensor> next();

  /// Single pass: begin() takes the first tensor, waiting and throwing as next(). Valid while the stream lives and is
  /// not moved.
  [[nodiscard]] iterator begin() {
    advance();
    return iterator(this);
  }
  [[nodiscard]] std::default_sentinel_t end() const noexcept { return {}; }

  /// The statistics; complete after the last tensor. Before, bytes_written and notes are those so far.
  [[nodiscard]] LoadStats stats() const;

 private:
  friend HEFT_API TensorStream stream(LoadPlan plan, const MaterializeOptions& options,
                                      const StreamOptions& stream_options);
  struct State;
  explicit TensorStream(std::unique_ptr<State> state) noexcept;
  void advance() {
    current_.reset();
    current_ = next();
  }

  std::unique_ptr<State> state_;
  std::optional<Tensor> current_;
};

/// Starts to load the plan's tensors. Options as for materialize(), except for `destination`: a Destination places the
/// tensors of a load all at once, a stream a few at a time, so that one is refused with Error{unsupported} before
/// anything is read. A tensor with a buffer of the caller is filled there, and its Tensor refers to it. A plan that
/// reads and writes less than 1 MiB, and one for which there is no idle thread, is loaded by the thread that takes the
/// tensors, as it takes them. Throws Error{out_of_range} for an invalid option and Error{out_of_memory} for staging
/// that does not fit the memory left.
[[nodiscard]] HEFT_API TensorStream stream(LoadPlan plan, const MaterializeOptions& options = {},
                                           const StreamOptions& stream_options = {});

}  // namespace heft
