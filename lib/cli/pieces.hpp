// cli/pieces.hpp: the values of tensors as they are stored, in pieces that fit little memory: for hash and verify.
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

/// A load of tensors one after the other. One that lies together in its file comes in pieces of 16 MiB, in order; others come whole.
class Pieces {
 public:
  /// Limits::repeated_bytes holds for all tensors together.
  explicit Pieces(const Limits& limits) : plan_(limits) {}

  /// Throws as LoadPlan::add(), with the tensor's name.
  void add(const TensorView& view, DType dtype);

  [[nodiscard]] std::uint64_t bytes_written() const { return plan_.bytes_written(); }

  /// A piece on its way: `name` is the tensor's, `is_last` holds for its last piece.
  struct Piece {
    std::string_view name;
    std::size_t number = 0;  ///< Of the tensor, in the order of add().
    const Tensor& values;
    bool is_last = false;
  };
  /// Loads everything and calls `visit` for each piece; those of one tensor come in the order of its elements, others may come between
  /// them. Throws what the load throws, with the tensor's name. Returns LoadStats::notes.
  std::vector<std::string> for_each(const MaterializeOptions& options, const std::function<void(const Piece&)>& visit);

 private:
  struct Place {
    std::uint32_t tensor = 0;
    bool is_last = false;
  };
  void add_piece(TensorView view, DType dtype, bool is_last);
  template <class Call>
  void with_names(const Call& call) const;

  LoadPlan plan_;  // entries are named by their number in places_
  std::vector<Place> places_;
  std::vector<std::string> names_;
};

}  // namespace heft::cli
