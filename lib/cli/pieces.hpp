// cli/pieces.hpp: loads stored values of tensors in small pieces, for hash and verify.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "heft/limits.hpp"
#include "heft/materialize.hpp"
#include "heft/plan.hpp"
#include "heft/tensor.hpp"

namespace heft::cli {

/// A load of tensors. A contiguous tensor is loaded in pieces of 16 MiB, in order; others are loaded whole.
class Pieces {
 public:
  /// Limits::repeated_bytes applies to all tensors together.
  explicit Pieces(const Limits& limits) : plan_(limits) {}

  /// Adds a tensor. Throws as LoadPlan::add(), with the tensor's name.
  void add(const TensorView& view, DType dtype);

  /// Bytes of all pieces.
  [[nodiscard]] std::uint64_t bytes_written() const noexcept { return bytes_written_; }

  /// A loaded piece: `name` is that of the tensor, `is_last` is true for its last piece.
  struct Piece {
    std::string_view name;
    std::size_t number = 0;  ///< Number of the tensor, in the order of add().
    const Tensor& values;
    bool is_last = false;
  };
  /// Loads all tensors and calls `visit` for each piece. Pieces of one tensor arrive in the order of its elements,
  /// possibly interleaved with those of others. Returns LoadStats::notes. Throws the errors of the load, with the
  /// tensor's name.
  std::vector<std::string> for_each(const MaterializeOptions& options, const std::function<void(const Piece&)>& visit);

 private:
  struct Place {
    std::uint32_t tensor = 0;
    bool is_last = false;
  };
  void add_piece(TensorView view, DType dtype, bool is_last);
  template <class Call>
  void with_names(const Call& call) const;

  LoadPlan plan_;  // the name of an entry is its number in places_
  std::uint64_t bytes_written_ = 0;
  std::vector<Place> places_;
  std::vector<std::string> names_;
};

}  // namespace heft::cli
