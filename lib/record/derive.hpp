// record/derive.hpp: makes a checkpoint from another one, with other names, other views, or fewer tensors.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "heft/checkpoint.hpp"
#include "record/state.hpp"

namespace heft::record {

/// Collects changes by key, then makes the new checkpoint. Keys are numbered: tensors in file order, then other values.
class Derivation {
 public:
  explicit Derivation(const Checkpoint& from);

  [[nodiscard]] std::size_t tensor_count() const noexcept { return from_->entries.size(); }
  [[nodiscard]] std::size_t key_count() const noexcept { return tensor_count() + from_->values.size(); }
  /// Returns the key's name in the original. Valid while the derivation lives.
  [[nodiscard]] std::string_view key(std::size_t number) const noexcept;
  [[nodiscard]] TensorView tensor(std::size_t number) const { return from_->view(static_cast<std::uint32_t>(number)); }
  [[nodiscard]] bool is_pytorch() const noexcept { return from_->is_pytorch(); }

  /// Renames a key. Call at most once for each key.
  void rename(std::size_t number, std::string_view name);
  /// Shows tensor `number` as `view`, under the view's name.
  void replace(std::size_t number, const TensorView& view);
  /// Leaves out tensor `number`, whose current name is `name`.
  void skip(std::size_t number, std::string_view name);

  /// Returns the new checkpoint. Throws Error{ambiguous} with both original names if two keys got the same name.
  Checkpoint finish() &&;

 private:
  void require_distinct() const;
  void drop_skipped();

  std::shared_ptr<const State> from_;
  std::shared_ptr<State> state_;
  std::shared_ptr<core::Arena> arena_;
  std::vector<bool> skipped_;
};

}  // namespace heft::record
