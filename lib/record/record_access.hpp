// record/record_access.hpp: access of this room to the private members of Record.
#pragma once

#include "heft/record.hpp"
#include "record/state.hpp"
#include "record/tree.hpp"

namespace heft::record {

/// Access to Record's private members.
struct RecordAccess {
  /// Returns the state of the checkpoint; null for a record without one.
  static const State* state(const Record& record) noexcept { return record.tree_ ? &record.tree_->state() : nullptr; }
  /// Returns the record's node in a catalog; nothing for containers made of names and for tensors. Throws what
  /// Catalog::node() throws.
  static std::optional<format::Node> node(const Record& record) {
    return record.tree_ ? record.tree_->value(record.node_) : std::nullopt;
  }
  /// Returns the place of that node.
  static std::optional<Tree::Place> place(const Record& record) {
    return record.tree_ ? record.tree_->place(record.node_) : std::nullopt;
  }
  /// Returns the root of the metadata of the record's checkpoint.
  static Record metadata(const Record& record) {
    if (!record.tree_) return {};
    return Tree::root_of({record.tree_, &record.tree_->state().metadata()});
  }
};

}  // namespace heft::record
