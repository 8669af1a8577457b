#include "heft/checkpoint.hpp"

#include <algorithm>
#include <utility>

#include <fmt/format.h>

#include "core/nearest_names.hpp"
#include "heft/error.hpp"
#include "record/pattern.hpp"
#include "record/state.hpp"
#include "record/tree.hpp"

namespace heft {
namespace {

// Throws the error for a name of a value that is not a tensor.
[[noreturn]] void fail_value(const record::State& state, const record::LeafValue& value) {
  const format::Catalog& catalog = state.catalog(value.shard);
  const format::Node node = catalog.node(value.node);
  std::string what = "a record of another kind: see root()";
  if (node.kind == format::NodeKind::opaque) {
    // The first child of an opaque node is the text of its class.
    const format::Node name = catalog.node(catalog.child(node, 0));
    what = fmt::format("an opaque record: {}", core::escaped({name.text, name.count}));
  }
  throw Error(ErrorCode::type_mismatch, fmt::format("expected a tensor, this is {}", what),
              {.path = state.path, .tensor = std::string(value.name)});
}

}  // namespace

TensorRange::TensorRange(std::shared_ptr<const record::State> state, std::vector<std::uint32_t> selected, bool all)
    : state_(std::move(state)),
      selected_(std::move(selected)),
      count_(all ? state_->entries.size() : selected_.size()),
      all_(all) {}

TensorView TensorRange::operator[](std::size_t position) const {
  if (position >= count_)
    throw Error(ErrorCode::out_of_range, fmt::format("expected a tensor below {}, found {}", count_, position),
                {.path = state_ ? state_->path : std::string()});
  return state_->view(all_ ? static_cast<std::uint32_t>(position) : selected_[position]);
}

TensorRange Checkpoint::tensors() const { return {state_, {}, true}; }

TensorRange Checkpoint::tensors(std::string_view pattern) const {
  const record::Pattern wanted(pattern);
  std::vector<std::uint32_t> selected;
  for (std::uint32_t position = 0; position < state_->entries.size(); ++position)
    if (wanted.matches(state_->name(position))) selected.push_back(position);
  return {state_, std::move(selected), false};
}

std::optional<TensorView> Checkpoint::find(std::string_view name) const {
  const std::uint32_t position = state_->find(name);
  return position == core::NameIndex::none ? std::nullopt : std::optional(state_->view(position));
}

TensorView Checkpoint::tensor(std::string_view name) const {
  if (const std::uint32_t position = state_->find(name); position != core::NameIndex::none)
    return state_->view(position);
  // Only for the message: there is no index of values by name, and a failed lookup can take linear time.
  for (const record::LeafValue& value : state_->values)
    if (value.name == name) fail_value(*state_, value);
  // A tensor that the index promises is another failure than a misspelled name; hints would mislead.
  if (std::ranges::binary_search(state_->absent, name))
    throw Error(ErrorCode::not_found, "the index names it, and no shard has it",
                {.path = state_->absent_in, .tensor = std::string(name)});
  throw Error(ErrorCode::not_found,
              fmt::format("no such tensor among {}{}", state_->names.size(), core::did_you_mean(name, state_->names)),
              {.path = state_->path, .tensor = std::string(name)});
}

Record Checkpoint::root() const { return record::Tree::root_of({state_, &state_->tree()}); }

Record Checkpoint::metadata() const {
  // A null record, not an empty map, if no shard has metadata.
  const record::Tree& tree = state_->metadata();
  return tree.count(record::Tree::root) == 0 ? Record() : record::Tree::root_of({state_, &tree});
}

const std::vector<ShardInfo>& Checkpoint::shards() const& noexcept { return state_->infos; }
const std::vector<std::string>& Checkpoint::notes() const& noexcept { return state_->notes; }
const std::string& Checkpoint::path() const& noexcept { return state_->path; }

Freshness Checkpoint::freshness() const { return record::freshness_of(state_->origins); }

std::uint64_t Checkpoint::table_bytes() const noexcept { return state_->table_bytes(); }

}  // namespace heft
