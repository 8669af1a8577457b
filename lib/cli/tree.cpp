#include <algorithm>
#include <ostream>

#include <fmt/format.h>

#include "cli/commands.hpp"
#include "cli/notes.hpp"
#include "cli/text.hpp"
#include "core/text.hpp"
#include "heft/error.hpp"
#include "record/leaf_walk.hpp"

namespace heft::cli {
namespace {

// Deeper levels are numbered instead of indented: a name of a thousand parts would need a million spaces.
constexpr std::size_t max_indented_level = 40;
constexpr std::size_t max_scalars = 16;  // shown children of a container without tensors, except the root

using record::is_container;

// The output of a tree and its bounds.
class Sheet {
 public:
  Sheet(std::ostream& out, const TreeBounds& bounds) noexcept : out_(out), bounds_(bounds) {}

  void write(std::string_view text) {
    out_ << text;
    bytes_ += text.size();
  }
  // Nodes are counted too, because a million empty ones take few bytes.
  void count_node() noexcept { ++nodes_; }
  [[nodiscard]] bool is_full() const noexcept { return nodes_ >= bounds_.nodes || bytes_ >= bounds_.bytes; }

  // Returns true if the bounds, not the user's option, end the tree at that level.
  [[nodiscard]] bool is_last_level(std::size_t level) const noexcept { return level == bounds_.levels; }
  // Counts children of one container that are not written.
  void leave_out(std::size_t children) noexcept {
    left_out_ += children;
    ++containers_;
  }
  // Returns notes about children that were left out.
  [[nodiscard]] std::vector<std::string> notes() const {
    if (containers_ == 0) return {};
    return {
        fmt::format("{} children of {} containers are left out: a tree is written out to {} nodes, {} and {} levels",
                    left_out_, containers_, bounds_.nodes, human_bytes(bounds_.bytes), bounds_.levels)};
  }

 private:
  std::ostream& out_;
  const TreeBounds& bounds_;
  std::uint64_t nodes_ = 0;
  std::uint64_t bytes_ = 0;
  std::uint64_t left_out_ = 0;
  std::uint64_t containers_ = 0;
};

// A frame of the walk, which does not recurse because a file can be nested deeply.
struct Frame {
  Record record;
  std::size_t next = 0;
  std::size_t shown = 0;  // children to visit
};

// Integers of more bytes are shown as bytes, because converting them to decimal takes quadratic time.
constexpr std::uint64_t max_decimal_bytes = 1024;

// Returns the integer as JSON: decimal, or its bytes if it is very long.
std::string json_integer(const Record& record) {
  // The record has no call that returns which of the two types an integer fits.
  try {
    return fmt::format("{}", record.integer());
  } catch (const Error& error) {
    if (error.code() != ErrorCode::out_of_range) throw;
  }
  try {
    return fmt::format("{}", record.unsigned_integer());
  } catch (const Error& error) {
    if (error.code() != ErrorCode::out_of_range) throw;
  }
  // Over 64 bits: the file's bytes, little-endian two's complement.
  const Bytes bytes = record.bytes();
  return bytes.size_bytes() <= max_decimal_bytes ? decimal(bytes.span()) : json_bytes(bytes.span());
}

// Returns a record without children as JSON; a tensor as its dtype and shape.
std::string json_scalar(const Record& record) {
  switch (record.kind()) {
    case RecordKind::boolean: return record.boolean() ? "true" : "false";
    case RecordKind::integer: return json_integer(record);
    case RecordKind::real: return json_number(record.real());
    case RecordKind::text: return json_text(record.text());
    case RecordKind::bytes: {
      const Bytes bytes = record.bytes();
      return json_bytes(bytes.span());
    }
    // No elements: a tree shows what a checkpoint contains, without its payload.
    case RecordKind::tensor: {
      const TensorView view = record.tensor();
      return fmt::format("{{\"$tensor\":{{\"dtype\":{},\"shape\":{}}}}}", json_text(view.dtype_name()),
                         json_dims(view.shape()));
    }
    default: return "null";
  }
}

// Returns the start of a container. An opaque record has its name first, then its arguments and state as children.
std::string json_opening(const Record& record) {
  if (record.kind() == RecordKind::list) return "[";
  if (record.kind() == RecordKind::map) return "{";
  return fmt::format("{{\"$opaque\":{}{}", json_text(record.class_name()), record.empty() ? "" : ",");
}

// Ends a container before its next child, counts the remaining children and marks their place.
void cut_json(Frame& frame, Sheet& sheet) {
  // The rest of the container becomes one element or member "...", so that the JSON stays valid.
  const std::size_t more = frame.shown - frame.next;
  const std::string_view comma = frame.next == 0 ? "" : ",";
  frame.next = frame.shown;
  sheet.write(frame.record.kind() == RecordKind::list ? fmt::format("{}\"...\"", comma)
                                                      : fmt::format("{}\"...\":\"{} more\"", comma, more));
  sheet.leave_out(more);
}

// Writes the tree as one JSON document.
void print_json(const Record& root, std::size_t depth, Sheet& sheet) {
  std::vector<Frame> frames;
  const auto enter = [&](const Record& record) {
    sheet.count_node();
    // Containers below the last level are shown as "...", with a note only if a bound, not --depth, is the reason.
    if (!is_container(record))
      sheet.write(json_scalar(record));
    else if (frames.size() >= depth) {
      sheet.write("\"...\"");
      if (sheet.is_last_level(depth)) sheet.leave_out(record.size());
    } else {
      sheet.write(json_opening(record));
      frames.push_back({record, 0, record.size()});
    }
  };
  enter(root);
  while (!frames.empty()) {
    // Valid until enter() pushes a frame.
    Frame& frame = frames.back();
    if (frame.next < frame.shown && sheet.is_full()) cut_json(frame, sheet);
    if (frame.next == frame.shown) {
      sheet.write(frame.record.kind() == RecordKind::list ? "]" : "}");
      frames.pop_back();
      continue;
    }
    if (frame.next > 0) sheet.write(",");
    if (frame.record.kind() != RecordKind::list) sheet.write(json_text(frame.record.key(frame.next)) + ':');
    // Taken before enter(), which can move the frames.
    const Record child = frame.record.child(frame.next++);
    enter(child);
  }
  sheet.write("\n");
}

// Returns "f32 [2, 3] 24 B".
std::string tensor_line(const TensorView& view) {
  return fmt::format("{} {} {}", core::escaped(view.dtype_name()), to_string(view.shape()),
                     human_bytes(view.size_bytes()));
}

// Returns the kind, the detail of its format, and the totals of all tensors below, or the number of children.
std::string container_line(const Record& record) {
  const std::uint64_t tensors = record.tensor_count();
  const std::string kind =
      record.kind() == RecordKind::opaque ? core::escaped(record.class_name()) : std::string(name(record.kind()));
  const std::string detail = record.detail().empty() ? "" : fmt::format(" ({})", core::escaped(record.detail()));
  if (tensors > 0)
    return fmt::format("{}{}, {}, {}", kind, detail, core::counted(tensors, "tensor"),
                       human_bytes(record.tensor_bytes()));
  return fmt::format("{}{} of {}", kind, detail, record.size());
}

// Returns the line of a record without its key.
std::string text_line(const Record& record) {
  if (record.kind() == RecordKind::tensor) return tensor_line(record.tensor());
  if (is_container(record)) return container_line(record);
  if (record.kind() == RecordKind::text) return fmt::format("'{}'", core::escaped(record.text(), 100));
  if (record.kind() == RecordKind::bytes) return fmt::format("{} bytes", record.bytes().size_bytes());
  return json_scalar(record);
}

// Returns the number of children to visit. Containers without tensors are configurations and tokenizers, whose lists
// can have 100,000 entries.
std::size_t children_shown(const Record& record) {
  return record.tensor_count() > 0 ? record.size() : std::min(record.size(), max_scalars);
}

// Returns the start of a line at that level.
std::string indent_of(std::size_t level) {
  if (level <= max_indented_level) return std::string(2 * level, ' ');
  return fmt::format("{:{}}[{}] ", "", 2 * max_indented_level, level);
}

// Writes the tree as indented lines.
void print_text(const Record& root, std::size_t depth, Sheet& sheet) {
  std::vector<Frame> frames;
  sheet.write(text_line(root) + '\n');
  if (is_container(root) && depth > 0) frames.push_back({root, 0, root.size()});
  while (!frames.empty()) {
    Frame& frame = frames.back();
    const std::string indent = indent_of(frames.size());
    // Frames that are open end here too, each with its own line about the children left.
    if (frame.next < frame.shown && sheet.is_full()) {
      sheet.leave_out(frame.shown - frame.next);
      frame.shown = frame.next;
    }
    if (frame.next == frame.shown) {
      if (frame.shown < frame.record.size())
        sheet.write(fmt::format("{}... {} more\n", indent, frame.record.size() - frame.shown));
      frames.pop_back();
      continue;
    }
    sheet.count_node();
    // Pushing a frame below ends the validity of `frame`.
    const Record child = frame.record.child(frame.next);
    sheet.write(fmt::format("{}{}: {}\n", indent, core::escaped(frame.record.key(frame.next++)), text_line(child)));
    if (!is_container(child)) continue;
    if (frames.size() < depth)
      frames.push_back({child, 0, children_shown(child)});
    else if (sheet.is_last_level(depth))
      sheet.leave_out(child.size());
  }
}

}  // namespace

int run(const TreeCommand& command, Terminal& terminal) {
  const Checkpoint checkpoint = open_noted(command.path, command.open, terminal);
  // The smaller of the option and the bound; Sheet distinguishes them for its note.
  const std::size_t depth = std::min(command.depth.value_or(SIZE_MAX), command.bounds.levels);
  const Record root = command.metadata ? checkpoint.metadata() : checkpoint.root();
  Sheet sheet(terminal.out, command.bounds);
  if (command.json)
    print_json(root, depth, sheet);
  else
    print_text(root, depth, sheet);
  print_notes(sheet.notes(), terminal);
  if (command.notes) print_notes_line(joined(checkpoint.notes(), sheet.notes()), terminal);
  return ok;
}

}  // namespace heft::cli
