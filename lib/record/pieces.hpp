// record/pieces.hpp: tensors stored in parts. Every step on the whole is the same step on those parts that it touches.
#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <vector>

#include "heft/tensor_view.hpp"

namespace heft::record {

/// The parts that elements [begin, end) of `dim` touch, cut to them and placed in the new whole.
std::vector<Piece> slice_pieces(std::span<const Piece> pieces, std::size_t dim, std::int64_t begin, std::int64_t end);
/// The parts with dims a and b exchanged.
std::vector<Piece> transpose_pieces(std::span<const Piece> pieces, std::size_t a, std::size_t b);
/// True when each pair of parts shares its storage.
bool pieces_share_storage(std::span<const Piece> a, std::span<const Piece> b) noexcept;
/// Calls `read` with the part that holds the element at `index`, and the element's index in that part.
void read_from_pieces(std::span<const Piece> pieces, std::span<const std::int64_t> index,
                      const std::function<void(const TensorView&, std::span<const std::int64_t>)>& read);

}  // namespace heft::record
