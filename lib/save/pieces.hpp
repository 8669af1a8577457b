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
#include "materialize/visit.hpp"

namespace heft::writer {

/// Tensors are visited by the workers in windows of about this many bytes: see engine::Windows.
inline constexpr std::uint64_t window_bytes = 512u << 10;

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

/// Returns the most bytes of a piece of the view that is visited by the workers: a window. Bytes that are inflated
/// while they are read are proved by the end of their record only, and a piece waits for its proof: their pieces are
/// larger, and fewer.
[[nodiscard]] std::uint64_t window_bytes_of(const TensorView& view);

/// A load of tensors that are visited piece by piece: in the order in which they were added, while workers load the
/// next ones, or by the workers themselves. For one thread.
class Pieces {
 public:
  /// Of `limits`, repeated_bytes applies to all tensors together.
  explicit Pieces(const Limits& limits) : plan_(limits) {}

  /// Adds a tensor, in pieces of at most `max_bytes` > 0: see ViewCutter. Throws as LoadPlan::add(), with the tensor's
  /// name.
  void add(const TensorView& view, DType dtype, std::uint64_t max_bytes);
  /// Number of pieces.
  [[nodiscard]] std::size_t size() const noexcept { return places_.size(); }

  /// The tensor and the size of a piece, by the piece's number in the order of add().
  struct Place {
    std::size_t tensor = 0;  ///< Number of its tensor, in the order of add().
    std::uint64_t size_bytes = 0;
  };
  [[nodiscard]] const Place& operator[](std::size_t piece) const noexcept { return places_[piece]; }
  /// Returns true for the last piece of a tensor.
  [[nodiscard]] bool is_last(std::size_t piece) const noexcept {
    return piece + 1 == places_.size() || places_[piece + 1].tensor != places_[piece].tensor;
  }
  /// All pieces, in order, in windows of a size that suits a visit.
  [[nodiscard]] engine::Windows windows() const;
  /// Loads all tensors, and calls `visitor` with windows of pieces on the threads of the load: see engine::visit().
  /// Returns LoadStats::notes. Throws the errors of the load, with the tensor's name, and what `visitor` throws.
  [[nodiscard]] std::vector<std::string> visit(const MaterializeOptions& options, const engine::Windows& windows,
                                               const engine::Visitor& visitor) const;

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

  LoadPlan plan_;                   // the name of an entry is its number among the pieces
  std::vector<Place> places_;       // of each piece
  std::vector<std::string> names_;  // of each tensor
};

}  // namespace heft::writer
