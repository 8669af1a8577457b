#include "record/derive.hpp"

#include <utility>

#include <fmt/format.h>

#include "core/text.hpp"
#include "heft/error.hpp"

namespace heft::record {

Derivation::Derivation(const Checkpoint& from)
    : from_(StateAccess::state(from)),
      state_(std::make_shared<State>()),
      arena_(std::make_shared<core::Arena>()),
      skipped_(from_->entries.size()) {
  // The index and the infos are not copied: finish() makes those of the new checkpoint. Shards are shared.
  state_->path = from_->path;
  state_->limits = from_->limits;
  state_->shards = from_->shards;
  state_->params = from_->params;
  state_->origins = from_->origins;
  state_->notes = from_->notes;
  state_->entries = from_->entries;
  state_->values.insert(state_->values.end(), from_->values.begin(), from_->values.end());
  state_->made = from_->made;
  state_->skipped = from_->skipped;
  state_->absent = from_->absent;
  state_->absent_in = from_->absent_in;
  for (std::uint32_t position = 0; position < from_->entries.size(); ++position)
    state_->names.push_back(from_->name(position));
}

std::string_view Derivation::key(std::size_t number) const noexcept {
  return number < tensor_count() ? from_->name(static_cast<std::uint32_t>(number))
                                 : from_->values[number - tensor_count()].name;
}

void Derivation::rename(std::size_t number, std::string_view name) {
  // Unchanged names can lie in the arena of the original, so every name is copied to the arena of the new checkpoint.
  const std::string_view kept = arena_->store(name);
  if (number < tensor_count())
    state_->names[number] = kept;
  else
    state_->values[number - tensor_count()].name = kept;
}

void Derivation::replace(std::size_t number, const TensorView& view) {
  rename(number, view.name());
  // The catalog's entry cannot be changed, because it is shared with the original.
  state_->entries[number] = {EntryRef::made, static_cast<std::uint32_t>(state_->made.size())};
  state_->made.push_back(view);
}

void Derivation::skip(std::size_t number, std::string_view name) {
  skipped_[number] = true;
  state_->skipped.emplace_back(name);
}

void Derivation::require_distinct() const {
  const auto name_of = [&](std::uint32_t key) {
    return key < tensor_count() ? state_->names[key] : state_->values[key - tensor_count()].name;
  };
  // Tensors and values share one space of names: the record tree has one node for each name.
  core::NameIndex index(key_count());
  for (std::uint32_t key = 0; key < key_count(); ++key) {
    if (key < tensor_count() && skipped_[key]) continue;
    const std::string_view name = name_of(key);
    const std::uint32_t other =
        index.insert(state_->hash(name), key, [&](std::uint32_t held) { return name_of(held) == name; });
    // A tensor and a value with the same name in the original are not a conflict.
    if (other == core::NameIndex::none || this->key(other) == this->key(key)) continue;
    throw Error(ErrorCode::ambiguous,
                fmt::format("two keys become this one: '{}' and '{}'", core::escaped(this->key(other)),
                            core::escaped(this->key(key))),
                {.path = state_->path, .tensor = std::string(name)});
  }
}

void Derivation::drop_skipped() {
  std::size_t kept = 0;
  for (std::size_t number = 0; number < skipped_.size(); ++number) {
    if (skipped_[number]) continue;
    // Moves down in place; `kept` is never ahead of `number`.
    state_->entries[kept] = state_->entries[number];
    state_->names[kept++] = state_->names[number];
  }
  state_->entries.resize(kept);
  state_->names.resize(kept);
}

Checkpoint Derivation::finish() && {
  // Before tensors are dropped, while numbers still index the original's keys for the message.
  require_distinct();
  drop_skipped();
  state_->name_arena = std::move(arena_);
  state_->index_names();
  state_->describe_shards();
  return StateAccess::checkpoint(std::move(state_));
}

}  // namespace heft::record
