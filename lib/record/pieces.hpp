// record/pieces.hpp: operations on tensors stored in parts, which are applied to each part that they affect.
#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <vector>

#include "heft/tensor_view.hpp"

namespace heft::record {

/// Returns the parts that intersect elements [begin, end) of `dim`, cut to them and placed in the new whole.
std::vector<Piece> slice_pieces(std::span<const Piece> pieces, std::size_t dim, std::int64_t begin, std::int64_t end);
/// Returns the parts with dims a and b exchanged.
std::vector<Piece> transpose_pieces(std::span<const Piece> pieces, std::size_t a, std::size_t b);
/// Returns true if each pair of parts shares its storage.
bool pieces_share_storage(std::span<const Piece> a, std::span<const Piece> b) noexcept;
/// Calls `read` with the part that contains the element at `index`, and the element's index in that part.
void read_from_pieces(std::span<const Piece> pieces, std::span<const std::int64_t> index,
                      const std::function<void(const TensorView&, std::span<const std::int64_t>)>& read);

}  // namespace heft::record
