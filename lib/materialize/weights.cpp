#include "heft/weights.hpp"

#include <utility>

#include <fmt/format.h>

#include "core/nearest_names.hpp"
#include "heft/error.hpp"
#include "materialize/weights_state.hpp"

namespace heft {

Weights::Weights() : state_(std::make_shared<const State>()) {}
Weights::Weights(std::shared_ptr<const State> state) noexcept : state_(std::move(state)) {}

const Tensor* Weights::find(std::string_view name) const& noexcept {
  const std::vector<Tensor>& tensors = state_->tensors;
  const std::uint32_t found =
      state_->names.find(name, [&](std::uint32_t position) { return std::string_view(tensors[position].name()); });
  return found == core::NameTable::none ? nullptr : &tensors[found];
}

const Tensor& Weights::operator[](std::string_view name) const& {
  if (const Tensor* found = find(name)) return *found;
  core::NearestNames nearest(name);
  for (const Tensor& tensor : state_->tensors)
    // The search reads a bounded number of bytes of names, however many tensors there are.
    if (!nearest.offer(tensor.name())) break;
  throw Error(ErrorCode::not_found, "expected a tensor of that name, the load had none" + nearest.did_you_mean(),
              {.path = {}, .tensor = std::string(name)});
}

const Tensor& Weights::operator[](std::size_t position) const& {
  if (position >= size())
    throw Error(ErrorCode::out_of_range, fmt::format("expected one of {} tensors, found number {}", size(), position));
  return state_->tensors[position];
}

Weights::const_iterator Weights::begin() const& noexcept { return state_->tensors.begin(); }
Weights::const_iterator Weights::end() const& noexcept { return state_->tensors.end(); }
std::size_t Weights::size() const noexcept { return state_->tensors.size(); }
const LoadStats& Weights::stats() const& noexcept { return state_->stats; }

Weights engine::WeightsAccess::make(std::vector<Tensor> tensors, core::NameTable names, LoadStats stats) {
  return Weights(
      std::make_shared<const Weights::State>(Weights::State{std::move(tensors), std::move(names), std::move(stats)}));
}

}  // namespace heft
