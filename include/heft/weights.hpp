// heft/weights.hpp: the tensors of one load, complete.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string_view>
#include <vector>

#include "heft/export.hpp"
#include "heft/load_stats.hpp"
#include "heft/tensor.hpp"

namespace heft {

namespace engine {
struct WeightsAccess;
}

/// What materialize(plan) gives: every tensor of the plan, in the plan's order, found by name. It exists only for loads that completed.
///
/// A handle: copies share the tensors and their memory, which goes when the last Weights, Tensor or Slice of it goes. Const members may be called
/// from several threads.
class HEFT_API Weights {
 public:
  using const_iterator = std::vector<Tensor>::const_iterator;

  /// No tensors.
  Weights();

  /// By full name: the view's, or what concat() and stack() were given. Constant time, nothing allocated. Throws Error{not_found} naming the
  /// nearest names. Borrowed: valid while this Weights (or a copy) lives; copy the Tensor to keep it longer.
  [[nodiscard]] const Tensor& operator[](std::string_view name) const&;
  const Tensor& operator[](std::string_view name) const&& = delete;
  /// By full name, or null where the plan had no such tensor. Borrowed as above.
  [[nodiscard]] const Tensor* find(std::string_view name) const& noexcept;
  const Tensor* find(std::string_view name) const&& = delete;

  /// In the plan's order: tensor number i is what LoadPlan::name(i) named. Random access. Borrowed as above.
  [[nodiscard]] const_iterator begin() const& noexcept;
  [[nodiscard]] const_iterator end() const& noexcept;
  const_iterator begin() const&& = delete;
  const_iterator end() const&& = delete;
  /// Number of tensors: the plan's.
  [[nodiscard]] std::size_t count() const noexcept;
  [[nodiscard]] bool empty() const noexcept { return count() == 0; }

  /// What the load did: bytes, paths and why, seconds. Borrowed as above.
  [[nodiscard]] const LoadStats& stats() const& noexcept;
  const LoadStats& stats() const&& = delete;

 private:
  friend struct engine::WeightsAccess;
  struct State;
  explicit Weights(std::shared_ptr<const State> state) noexcept;
  std::shared_ptr<const State> state_;
};

}  // namespace heft
