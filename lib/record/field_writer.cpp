#include "heft/field_writer.hpp"

#include <fmt/format.h>

#include "heft/error.hpp"
#include "record/leaf_walk.hpp"

namespace heft {

void FieldList::add(const std::string& path, const FieldSpec& field, const TensorView& view) {
  // A default TensorView: neither bound nor assigned. Saving it would write an empty tensor under the field's name.
  if (view.dtype() == DType::unknown && view.storage_bytes() == 0)
    throw Error(ErrorCode::out_of_range, "the field was never set", {.tensor = path});
  const TensorView saved = field.writing ? field.writing(view) : view;
  // The field's path, not the name in the file that the tensor was read from.
  tensors.push_back(saved.renamed(path));
}

void FieldList::add_elements(const std::string& path, const FieldSpec& field, DType dtype, Bytes elements,
                             std::size_t count) {
  const Shape shape = field.shape ? *field.shape : Shape{static_cast<std::int64_t>(count)};
  add(path, field, TensorView::over(path, dtype, shape, std::move(elements)));
}

void FieldList::add_scalar(const std::string& path, const FieldSpec& field, DType dtype,
                           std::span<const std::byte> value) {
  add(path, field, TensorView::over(path, dtype, Shape{}, Bytes::copy_of(value)));
}

void FieldList::add_tag(const std::string& path, const FieldSpec& field, std::size_t index) {
  // An untagged variant is recognized by its fields when it is read.
  if (field.tag.empty()) return;
  if (index >= field.alternatives.size())
    throw Error(ErrorCode::out_of_range, "the tag has no name for this alternative", {.tensor = path});
  metadata.emplace_back(path.empty() ? std::string(field.tag) : fmt::format("{}.{}", path, field.tag),
                        std::string(field.alternatives[index]));
}

void FieldList::add_record(const std::string& path, const FieldSpec& field, const Record& record) {
  record::LeafWalk walk(record, path);
  for (record::Leaf leaf; walk.next(leaf);)
    if (leaf.record.kind() == RecordKind::tensor) add(leaf.path, field, leaf.record.tensor());
  // A walk that a limit has cut would save part of the record.
  walk.require_whole();
}

}  // namespace heft
