#include "cli/pieces.hpp"

#include <algorithm>
#include <charconv>
#include <utility>

#include "heft/error.hpp"
#include "heft/stream.hpp"

namespace heft::cli {
namespace {

constexpr std::uint64_t piece_bytes = 16u << 20;

// Returns the elements of a piece, whole blocks of both dtypes; 0 for a tensor that is not cut.
std::int64_t elements_of_piece(const TensorView& view, DType dtype) {
  if (!view.pieces().empty() || !view.is_contiguous() || view.dtype() == DType::unknown || view.rank() == 0) return 0;
  const std::uint64_t large = std::max(view.size_bytes(), dtype == DType::unknown ? 0 : bytes_for(dtype, view.shape()));
  if (large <= piece_bytes) return 0;
  constexpr std::uint64_t unit = 4096;  // a multiple of every block
  const std::uint64_t count = view.element_count();
  const auto units =
      static_cast<std::uint64_t>(static_cast<double>(count) / static_cast<double>(large) * piece_bytes) / unit;
  return static_cast<std::int64_t>(std::max<std::uint64_t>(units, 1) * unit);
}

}  // namespace

// Replaces the number of a tensor, its name in the plan, by its name in errors.
template <class Call>
void Pieces::with_names(const Call& call) const {
  try {
    call();
  } catch (const Error& error) {
    std::size_t number = places_.size();
    const std::string& tensor = error.tensor();
    std::from_chars(tensor.data(), tensor.data() + tensor.size(), number);
    if (tensor.empty() || number >= places_.size()) throw;
    ErrorPlace place = error.place();
    place.tensor = names_[places_[number].tensor];
    throw Error(error.code(), error.message(), std::move(place));
  }
}

void Pieces::add(const TensorView& view, DType dtype) {
  names_.emplace_back(view.name());
  const std::int64_t step = elements_of_piece(view, dtype);
  if (step == 0) return add_piece(view, dtype, true);
  const auto count = static_cast<std::int64_t>(view.element_count());
  const TensorView flat = view.reshape(Shape{count});
  for (std::int64_t begin = 0; begin < count; begin += step) {
    const std::int64_t end = std::min(begin + step, count);
    add_piece(flat.slice(0, begin, end), dtype, end == count);
  }
}

void Pieces::add_piece(TensorView view, DType dtype, bool is_last) {
  const std::string number = std::to_string(places_.size());
  places_.push_back({static_cast<std::uint32_t>(names_.size() - 1), is_last});
  with_names([&] { plan_.add(view.renamed(number), dtype); });
  bytes_written_ += dtype == DType::unknown ? view.size_bytes() : bytes_for(dtype, view.shape());
}

std::vector<std::string> Pieces::for_each(const MaterializeOptions& options,
                                          const std::function<void(const Piece&)>& visit) {
  std::vector<std::string> notes;
  with_names([&] {
    TensorStream tensors = stream(std::move(plan_), options);
    for (const Tensor& tensor : tensors) {
      std::size_t number = 0;
      std::from_chars(tensor.name().data(), tensor.name().data() + tensor.name().size(), number);
      const Place place = places_[number];
      visit({names_[place.tensor], place.tensor, tensor, place.is_last});
    }
    notes = tensors.stats().notes;
  });
  return notes;
}

}  // namespace heft::cli
