// save/pieces.hpp: tensors of any size on their way through bounded memory, in pieces.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "heft/limits.hpp"
#include "heft/materialize.hpp"
#include "heft/plan.hpp"
#include "heft/tensor.hpp"

namespace heft::writer {

/// Cuts a view into pieces of at most `max_bytes` as `dtype`: ranges of one dim whose bytes, row-major, follow each
/// other. A tensor whose rows do not end on whole bytes or blocks (an odd number of 4-bit elements), and one of unknown
/// dtype, is one piece; so is a tensor without bytes.
class ViewCutter {
 public:
  ViewCutter(TensorView view, DType dtype, std::uint64_t max_bytes);
  /// Returns the next piece; nothing after the last.
  std::optional<TensorView> next();

 private:
  TensorView cut();

  TensorView view_;
  std::size_t dim_ = 0;    // the dim cut into ranges; each dim before it is cut to one index
  std::int64_t step_ = 0;  // indexes of dim_ in a piece; 0: the view is one piece
  Dims at_;                // index of the next piece's first element, for dims up to dim_
  bool is_done_ = false;
};

/// A load of tensors that are visited piece by piece, in the order in which they were added, while workers load the
/// next ones. For one thread.
class Pieces {
 public:
  /// Of `limits`, repeated_bytes applies to all tensors together. `max_bytes` > 0 are those of a piece: see ViewCutter.
  Pieces(const Limits& limits, std::uint64_t max_bytes) : plan_(limits), max_bytes_(max_bytes) {}

  /// Adds a tensor. Throws as LoadPlan::add(), with the tensor's name.
  void add(const TensorView& view, DType dtype);
  /// Bytes of all pieces.
  [[nodiscard]] std::uint64_t size_bytes() const noexcept { return size_bytes_; }

  /// A loaded piece. Valid during the visit.
  struct Piece {
    std::size_t tensor = 0;    ///< Number of its tensor, in the order of add().
    std::uint64_t offset = 0;  ///< Of its first byte in the tensor.
    const Tensor& values;      ///< Without the tensor's name.
    bool is_last = false;      ///< Of its tensor.
  };
  /// Loads all tensors and calls `visit` on the calling thread for each piece. At most `in_flight_bytes` are loaded
  /// ahead: see StreamOptions. Returns LoadStats::notes. Throws the errors of the load, with the tensor's name, and
  /// what `visit` throws. Called once.
  std::vector<std::string> for_each(const MaterializeOptions& options, std::uint64_t in_flight_bytes,
                                    const std::function<void(const Piece&)>& visit);

 private:
  template <class Call>
  void with_names(const Call& call) const;

  LoadPlan plan_;  // the name of an entry is its number among the pieces
  std::uint64_t max_bytes_;
  std::uint64_t size_bytes_ = 0;
  std::vector<std::uint32_t> tensors_;  // of each piece
  std::vector<std::string> names_;      // of each tensor
};

}  // namespace heft::writer
