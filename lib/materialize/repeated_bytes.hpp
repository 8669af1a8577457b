// materialize/repeated_bytes.hpp: how many bytes of some views repeat others.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <unordered_map>

#include "heft/tensor_view.hpp"
#include "record/source.hpp"

namespace heft::engine {

/// Counts, view by view, the bytes that views show of their sources and the bytes of the sources that they cover: what
/// is over is repeated, by views of one storage, windows that overlap, or strides of 0.
///
/// A view covers all between its first and its last byte: so gaps make the count smaller, by the size of the sources at
/// most.
class RepeatedBytes {
 public:
  /// `limit` is Limits::repeated_bytes.
  explicit RepeatedBytes(std::uint64_t limit) noexcept : limit_(limit) {}

  /// Counts `view`. Throws Error{limit_exceeded} when more bytes are repeated than the limit and than are covered; then
  /// the view is not counted.
  void add(const TensorView& view);
  /// Takes the count of `view` back; the bytes that it covers stay covered.
  void take_back(const TensorView& view) noexcept;

 private:
  // Of one source.
  struct Cover {
    std::map<std::uint64_t, std::uint64_t> ranges;  // end by begin; apart by more than a page
    std::uint64_t covered = 0;
    std::uint64_t shown = 0;

    [[nodiscard]] std::uint64_t repeated() const noexcept { return shown > covered ? shown - covered : 0; }
    void cover(std::uint64_t begin, std::uint64_t end);
  };
  // Bytes of the source, and how many of them the view shows.
  struct Window {
    std::uint64_t begin = 0;
    std::uint64_t end = 0;
    std::uint64_t shown = 0;
  };

  static Window window_of(const TensorView& view);
  void add_stored(const TensorView& view);
  void show_less(Cover& cover, std::uint64_t bytes) noexcept;

  std::uint64_t limit_;
  std::unordered_map<const record::Source*, Cover> covers_;
  std::uint64_t covered_ = 0;
  std::uint64_t repeated_ = 0;
};

}  // namespace heft::engine
