// heft/weights.hpp: all tensors of one load.
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

/// The result of materialize(plan): every tensor of the plan, in the plan's order, with a lookup by name. It exists
/// only for loads that completed.
///
/// A handle: copies share the tensors and their memory. The memory is freed when the last Weights, Tensor and Slice of
/// the load has been destroyed, so that one Slice that is kept keeps the memory of all. Const members may be called
/// from several threads. References that the getters return are valid while this Weights (or a copy) lives; called on a
/// temporary, the getters return copies, which share the memory.
///
/// Example:
///   const heft::Weights loaded = heft::materialize(plan);
///   for (const heft::Tensor& tensor : loaded) std::cout << tensor.name() << ' ' << tensor.size_bytes() << '\n';
///   if (const heft::Tensor* bias = loaded.find("head.bias")) std::cout << bias->span<float>()[0] << '\n';
class HEFT_API Weights {
 public:
  /// A random access iterator over tensors. Valid while this Weights (or a copy) lives.
  using const_iterator = std::vector<Tensor>::const_iterator;

  /// No tensors.
  Weights();

  /// Returns the tensor of that full name, which is that of its view. Constant time; allocates nothing. Throws
  /// Error{not_found}, which names the nearest names.
  [[nodiscard]] const Tensor& operator[](std::string_view name) const&;
  [[nodiscard]] Tensor operator[](std::string_view name) const&& { return (*this)[name]; }
  /// Returns tensor number `position` in the plan's order. Throws Error{out_of_range} unless position < size().
  [[nodiscard]] const Tensor& operator[](std::size_t position) const&;
  [[nodiscard]] Tensor operator[](std::size_t position) const&& { return (*this)[position]; }
  /// Returns the tensor of that full name, or null when the plan had none. Deleted for a temporary.
  [[nodiscard]] const Tensor* find(std::string_view name) const& noexcept;
  const Tensor* find(std::string_view name) const&& = delete;

  /// The tensors in the plan's order: number i is that of LoadPlan::operator[](i). Deleted for a temporary,
  /// which a loop keeps alive.
  [[nodiscard]] const_iterator begin() const& noexcept;
  [[nodiscard]] const_iterator end() const& noexcept;
  const_iterator begin() const&& = delete;
  const_iterator end() const&& = delete;
  /// Number of tensors: LoadPlan::size() of the plan.
  [[nodiscard]] std::size_t size() const noexcept;
  [[nodiscard]] bool empty() const noexcept { return size() == 0; }

  /// The statistics of the load: bytes by I/O method with reasons, seconds by phase, memory.
  [[nodiscard]] const LoadStats& stats() const& noexcept;
  [[nodiscard]] LoadStats stats() const&& { return stats(); }

 private:
  friend struct engine::WeightsAccess;
  struct State;
  explicit Weights(std::shared_ptr<const State> state) noexcept;
  std::shared_ptr<const State> state_;
};

}  // namespace heft
