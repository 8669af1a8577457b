// record/record_access.hpp: how this room sees what a Record stands on.
#pragma once

#include "heft/record.hpp"
#include "record/state.hpp"
#include "record/tree.hpp"

namespace heft::record {

/// The key to Record's private members.
struct RecordAccess {
  /// Null for a record that belongs to no checkpoint.
  static const State* state(const Record& record) noexcept { return record.tree_ ? &record.tree_->state() : nullptr; }
  /// The node of a catalog that the record stands for; nothing for containers made of names and for tensors.
  static std::optional<format::Node> node(const Record& record) noexcept {
    return record.tree_ ? record.tree_->value(record.node_) : std::nullopt;
  }
  /// Where that node is.
  static std::optional<Tree::Place> place(const Record& record) {
    return record.tree_ ? record.tree_->place(record.node_) : std::nullopt;
  }
  /// Root of the metadata of the checkpoint that the record belongs to.
  static Record metadata(const Record& record) {
    if (!record.tree_) return {};
    return Tree::root_of({record.tree_, &record.tree_->state().metadata()});
  }
};

}  // namespace heft::record
