#include <ostream>

#include <fmt/format.h>

#include "cli/commands.hpp"
#include "cli/text.hpp"
#include "core/text.hpp"
#include "heft/error.hpp"

namespace heft::cli {
namespace {

// Shared and cyclic subtrees of pickles unfold without end on paper: a printed tree stops here and says so.
constexpr std::uint64_t most_nodes = 4'000'000;
constexpr std::size_t most_scalars = 16;  // children of a container without tensors, in text; the root shows all

bool is_container(const Record& record) {
  return record.kind() == RecordKind::list || record.kind() == RecordKind::map || record.kind() == RecordKind::opaque;
}

// A walk in order, without recursion: nesting in a file can be as deep as its limit allows.
struct Frame {
  Record record;
  std::size_t next = 0;
  std::size_t shown = 0;  // children to visit
};

// Python's integers have no bounds, nor have JSON's. Past this many bytes one is shown as bytes: its digits would take long.
constexpr std::uint64_t longest_integer = 1024;

std::string json_integer(const Record& record) {
  try {
    return fmt::format("{}", record.integer());
  } catch (const Error& error) {
    if (error.code() != ErrorCode::out_of_range) throw;
  }
  try {
    return fmt::format("{}", record.natural());
  } catch (const Error& error) {
    if (error.code() != ErrorCode::out_of_range) throw;
  }
  const Bytes bytes = record.bytes();
  return bytes.size_bytes() <= longest_integer ? decimal(bytes.span()) : json_bytes(bytes.span());
}

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
    case RecordKind::tensor: {
      const TensorView view = record.tensor();
      return fmt::format("{{\"$tensor\":{{\"dtype\":{},\"shape\":{}}}}}", json_text(view.dtype_name()), json_dims(view.shape()));
    }
    default: return "null";
  }
}

// An opaque record's children are its arguments and state; its own name goes first.
std::string json_opening(const Record& record) {
  if (record.kind() == RecordKind::list) return "[";
  if (record.kind() == RecordKind::map) return "{";
  return fmt::format("{{\"$opaque\":{}{}", json_text(record.class_name()), record.count() > 0 ? "," : "");
}

void print_json(const Record& root, std::size_t depth, Terminal& terminal) {
  std::vector<Frame> frames;
  std::uint64_t nodes = 0;
  const auto enter = [&](const Record& record) {
    if (++nodes > most_nodes) throw Error(ErrorCode::limit_exceeded, fmt::format("the tree has more than {} nodes when it is written out", most_nodes));
    if (!is_container(record)) terminal.out << json_scalar(record);
    else if (frames.size() >= depth) terminal.out << "\"...\"";
    else {
      terminal.out << json_opening(record);
      frames.push_back({record, 0, record.count()});
    }
  };
  enter(root);
  while (!frames.empty()) {
    Frame& frame = frames.back();
    if (frame.next == frame.shown) {
      terminal.out << (frame.record.kind() == RecordKind::list ? ']' : '}');
      frames.pop_back();
      continue;
    }
    if (frame.next > 0) terminal.out << ',';
    if (frame.record.kind() != RecordKind::list) terminal.out << json_text(frame.record.key(frame.next)) << ':';
    const Record child = frame.record.child(frame.next++);
    enter(child);
  }
  terminal.out << '\n';
}

std::string tensor_line(const TensorView& view) {
  return fmt::format("{} {} {}", view.dtype_name(), to_string(view.shape()), human_bytes(view.size_bytes()));
}

std::string container_line(const Record& record) {
  const std::uint64_t tensors = record.tensor_count();
  const std::string kind = record.kind() == RecordKind::opaque ? core::escaped(record.class_name()) : std::string(name(record.kind()));
  const std::string detail = record.detail().empty() ? "" : fmt::format(" ({})", core::escaped(record.detail()));
  if (tensors > 0) return fmt::format("{}{}, {} {}, {}", kind, detail, tensors, tensors == 1 ? "tensor" : "tensors", human_bytes(record.tensor_bytes()));
  return fmt::format("{}{} of {}", kind, detail, record.count());
}

std::string text_line(const Record& record) {
  if (record.kind() == RecordKind::tensor) return tensor_line(record.tensor());
  if (is_container(record)) return container_line(record);
  if (record.kind() == RecordKind::text) return fmt::format("'{}'", core::escaped(record.text(), 100));
  if (record.kind() == RecordKind::bytes) return fmt::format("{} bytes", record.bytes().size_bytes());
  return json_scalar(record);
}

std::size_t children_shown(const Record& record) { return record.tensor_count() > 0 ? record.count() : std::min(record.count(), most_scalars); }

void print_text(const Record& root, std::size_t depth, Terminal& terminal) {
  std::vector<Frame> frames;
  std::uint64_t nodes = 0;
  terminal.out << text_line(root) << '\n';
  if (is_container(root) && depth > 0) frames.push_back({root, 0, root.count()});
  while (!frames.empty()) {
    Frame& frame = frames.back();
    const std::string indent(frames.size() * 2, ' ');
    if (frame.next == frame.shown) {
      if (frame.shown < frame.record.count()) terminal.out << indent << "... " << frame.record.count() - frame.shown << " more\n";
      frames.pop_back();
      continue;
    }
    if (++nodes > most_nodes) throw Error(ErrorCode::limit_exceeded, fmt::format("the tree has more than {} nodes when it is written out", most_nodes));
    const Record child = frame.record.child(frame.next);
    terminal.out << indent << core::escaped(frame.record.key(frame.next++)) << ": " << text_line(child) << '\n';
    if (is_container(child) && frames.size() < depth) frames.push_back({child, 0, children_shown(child)});
  }
}

}  // namespace

int run(const TreeCommand& command, Terminal& terminal) {
  const Checkpoint checkpoint = open(command.path, command.open);
  const std::size_t depth = command.depth.value_or(SIZE_MAX);
  const Record root = command.metadata ? checkpoint.metadata() : checkpoint.root();
  if (command.json)
    print_json(root, depth, terminal);
  else
    print_text(root, depth, terminal);
  return yes;
}

}  // namespace heft::cli
