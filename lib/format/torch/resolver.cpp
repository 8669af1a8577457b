#include "format/torch/resolver.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "core/text.hpp"
#include "heft/error.hpp"

namespace heft::format {
namespace {

constexpr std::size_t max_listed_globals = 50;

/// Converts UTF-8 of characters below 256 to Latin-1; returns nothing if there is another character.
std::optional<std::string> to_latin1(std::string_view text) {
  std::string out;
  for (std::size_t at = 0; at < text.size(); ++at) {
    const auto byte = static_cast<unsigned char>(text[at]);
    if (byte < 0x80) {
      out += text[at];
    } else {
      // C0 to C3 begin the two bytes of a character up to U+00FF; the text is known to be UTF-8.
      if ((byte & 0xFC) != 0xC0 || at + 1 == text.size()) return std::nullopt;
      out += static_cast<char>((byte & 0x03) << 6 | (text[++at] & 0x3F));
    }
  }
  return out;
}

// Returns true for classes whose value depends on the state that a later BUILD sets, so that only the second pass can
// rewrite them.
bool is_object(GlobalKind kind) noexcept {
  switch (kind) {
    case GlobalKind::unknown:
    case GlobalKind::name_space:
    case GlobalKind::script_class:
    case GlobalKind::tensor_class:
    case GlobalKind::parameter:
    case GlobalKind::numpy_reconstruct: return true;
    default: return false;
  }
}

}  // namespace

void TorchResolver::corrupt(std::string message) const {
  // Only calls and persistent values have the offset of their opcode.
  ErrorPlace place;
  const PickleValue& value = pickle_[current_];
  if (value.kind == PickleKind::call || value.kind == PickleKind::persistent)
    place.offset = pickle_.begin + value.count;
  place.tensor = path_to(pickle_, current_);
  throw Error(ErrorCode::corrupt, fmt::format("{}: {}", objects_.what, message), std::move(place));
}

/// Makes two passes: calls of functions in order, so that arguments come before calls; then objects in reverse order,
/// because an object is created before its state.
void TorchResolver::run() {
  known_.reserve(pickle_.globals.size());
  // Once for each name and not for each call: a file has few names and many calls.
  for (const PickleGlobal& global : pickle_.globals) known_.push_back(known_global(global));
  // Before anything is interpreted, so that the error lists all names at once.
  if (options_.torch.strict_globals) refuse_unknown_globals();
  // Usually each mention of a storage belongs to one tensor.
  objects_.uses.reserve(pickle_.persistent_count);
  objects_.tensors.reserve(pickle_.persistent_count);
  objects_.dims.reserve(std::size_t{pickle_.persistent_count} * 4);
  // Rewriting appends values (texts, records), which are results and need no pass.
  const auto count = static_cast<std::uint32_t>(pickle_.values.size());
  for (std::uint32_t value = 0; value < count; ++value) {
    current_ = value;
    if (pickle_.kind(value) == PickleKind::persistent)
      rewrite_persistent(value);
    else if (pickle_.kind(value) == PickleKind::call)
      rewrite_call(value);
  }
  for (std::uint32_t value = count; value-- > 0;) {
    current_ = value;
    if (pickle_.kind(value) == PickleKind::call) rewrite_object(value);
  }
  group_storages();
}

void TorchResolver::refuse_unknown_globals() const {
  std::string list;
  std::size_t listed = 0;
  for (std::size_t i = 0; i < known_.size(); ++i) {
    // `listed` counts on past the bound, for the number in the message.
    if (known_[i].kind != GlobalKind::unknown || listed++ >= max_listed_globals) continue;
    const PickleGlobal& global = pickle_.globals[i];
    list += fmt::format("{}{}.{}", list.empty() ? "" : ", ", core::escaped(global.module), core::escaped(global.name));
  }
  if (listed == 0) return;
  if (listed > max_listed_globals) list += fmt::format(" and {} more", listed - max_listed_globals);
  throw Error(ErrorCode::refused, fmt::format("{}: strict_globals refuses {}", objects_.what, list),
              {.offset = pickle_.begin});
}

/// Replaces ('storage', ...) by a storage, and ('module', class, source file, source), of pickles of whole modules
/// before 1.6, by the class.
void TorchResolver::rewrite_persistent(std::uint32_t value) {
  const auto id = static_cast<std::uint32_t>(pickle_[value].first);
  // A tar has a table of tensors beside the pickle, and its ids are bare keys.
  if (pickle_.kind(id) != PickleKind::tuple) return make_tabled_tensor(value, id);
  const Arguments parts = pickle_.children(id);
  if (parts.empty()) corrupt("expected a persistent id of ('storage', ...), found an empty tuple");
  const std::string_view word = pickle_.text(parts[0]);
  if (word == "module" && parts.size() >= 2 && pickle_.kind(parts[1]) == PickleKind::global)
    return alias(value, parts[1]);
  if (word != "storage")
    corrupt(fmt::format("expected a persistent id of ('storage', ...), found '{}'", core::escaped(word)));
  StorageUse use = read_storage_id(parts);
  use.value = value;
  pickle_.values[value].first = objects_.uses.size();
  // Marks a storage: `first` is now an index in `uses` and no longer the value of the id.
  pickle_.values[value].variant = 1;
  objects_.uses.push_back(use);
}

std::optional<TorchCall> TorchResolver::take_apart(std::uint32_t value) const {
  const PickleValue& call = pickle_[value];
  const PickleValue& callable = pickle_[pickle_.part(call, call_callable)];
  // A call of the result of a call has no name, so it stays opaque.
  if (callable.kind != PickleKind::global) return std::nullopt;
  const std::uint32_t arguments = pickle_.part(call, call_arguments);
  return TorchCall{value, known_[callable.count], pickle_.children(arguments), pickle_.part(call, call_state),
                   pickle_.part(call, call_items)};
}

void TorchResolver::rewrite_call(std::uint32_t value) {
  const std::optional<TorchCall> call = take_apart(value);
  if (!call || is_object(call->known.kind) || rewrite_container(*call)) return;
  // Each returns false, without a change, for functions that are not its own.
  const bool done = rewrite_scalar(*call) || rewrite_script(*call) || rewrite_numpy(*call) || rewrite_tensor(*call);
  if (done)
    refuse_changes(*call);
  else
    rewrite_reconstructor(*call);
}

/// Refuses items or state set on a tensor, the start of CVE-2026-24747. The parts of the call are still in the pool.
void TorchResolver::refuse_changes(const TorchCall& call) const {
  const bool tensor = pickle_.kind(call.value) == PickleKind::tensor;
  if (call.items != Pickle::absent)
    corrupt(fmt::format("items are set on a {}", tensor ? "tensor" : "value that takes none"));
  if (call.state != Pickle::absent && tensor) corrupt("BUILD on a tensor that is complete");
}

bool TorchResolver::rewrite_container(const TorchCall& call) {
  const std::uint32_t first = call.arguments.empty() ? Pickle::absent : call.arguments[0];
  switch (call.known.kind) {
    case GlobalKind::dict: make_dict(call, TorchWord::plain, first); return true;
    case GlobalKind::ordered_dict: make_dict(call, TorchWord::ordered_dict, first); return true;
    case GlobalKind::counter: make_dict(call, TorchWord::counter, first); return true;
    case GlobalKind::default_dict:
      // The first argument of defaultdict is the factory of missing values, which no file needs.
      make_dict(call, TorchWord::default_dict, call.arguments.size() > 1 ? call.arguments[1] : Pickle::absent);
      return true;
    case GlobalKind::list: return make_sequence(call, PickleKind::list, TorchWord::plain);
    case GlobalKind::tuple: return make_sequence(call, PickleKind::tuple, TorchWord::tuple);
    case GlobalKind::set: return make_sequence(call, PickleKind::set, TorchWord::set);
    case GlobalKind::frozen_set: return make_sequence(call, PickleKind::frozen_set, TorchWord::frozen_set);
    case GlobalKind::size: return make_sequence(call, PickleKind::tuple, TorchWord::size);
    default: return false;
  }
}

/// Makes a dict from its argument (a dict, or a list of pairs as in OrderedDict of Python 2) or from the items that
/// were set on it.
void TorchResolver::make_dict(const TorchCall& call, TorchWord word, std::uint32_t source) {
  // SETITEMS on the call has made its items a dict, APPENDS a list.
  if (call.items != Pickle::absent && pickle_.kind(call.items) != PickleKind::dict)
    corrupt("list items are added to a dict");
  std::vector<std::uint32_t> pairs;
  if (is_dict(source)) {
    const Arguments given = pickle_.children(source);
    // Copied: the source can be used elsewhere, and items are added below.
    pairs.assign(given.begin(), given.end());
  } else if (source != Pickle::absent && pickle_.kind(source) != PickleKind::null) {
    if (pickle_.kind(source) == PickleKind::numbers) corrupt("expected a dict made of pairs of key and value");
    if (pickle_.kind(source) != PickleKind::list && pickle_.kind(source) != PickleKind::tuple)
      return;  // an unknown source: stays a call
    for (const std::uint32_t pair : pickle_.children(source)) {
      const Arguments both = pickle_.children(pair);
      // A dict of one entry also has two children, and dict() would take its keys.
      if (both.size() != 2 || pickle_.kind(pair) == PickleKind::dict || pickle_[both[0]].unhashable)
        corrupt("expected a dict made of pairs of key and value");
      pairs.insert(pairs.end(), both.begin(), both.end());
    }
  }
  PickleValue& value = pickle_.values[call.value];
  if (pairs.empty() && call.items != Pickle::absent) {
    value = pickle_[call.items];  // the common case: share the items
  } else {
    if (call.items != Pickle::absent) {
      const Arguments more = pickle_.children(call.items);
      pairs.insert(pairs.end(), more.begin(), more.end());
    }
    value.kind = PickleKind::dict;
    value.count = static_cast<std::uint32_t>(pairs.size() / 2);
    value.first = pickle_.items.size();
    pickle_.items.insert(pickle_.items.end(), pairs.begin(), pairs.end());
  }
  value.variant = static_cast<std::uint8_t>(word);
}

/// Makes list(x), tuple(x), set(x) or torch.Size(x), which share the items of x.
bool TorchResolver::make_sequence(const TorchCall& call, PickleKind kind, TorchWord word) {
  PickleValue made;
  made.kind = kind;
  made.variant = static_cast<std::uint8_t>(word);
  const bool has_items = call.items != Pickle::absent;
  if (call.arguments.size() > 1 || (has_items && !call.arguments.empty())) return false;
  // A set or list that is made by a call gets its items from its argument or from later opcodes, never from both.
  const std::uint32_t source = has_items                ? call.items
                               : call.arguments.empty() ? Pickle::empty_tuple
                                                        : call.arguments[0];
  // torch.Size takes only integers. Another value stays an opaque call, so that no shape is wrong.
  if (word == TorchWord::size && pickle_.kind(source) == PickleKind::numbers &&
      pickle_.numbers(pickle_[source])->dtype().find() != DType::i64)
    return false;
  const PickleValue& from = pickle_[source];
  const PickleKind given = pickle_.container(source);
  if (given != PickleKind::list && given != PickleKind::tuple && given != PickleKind::set) return false;
  // Numbers stay what was stepped over.
  if (from.kind == PickleKind::numbers) made.kind = from.kind, made.container = kind;
  if (word == TorchWord::size)
    for (const std::uint32_t item : pickle_.children(source))
      if (pickle_.kind(item) != PickleKind::integer) return false;
  made.count = from.count;
  // Shares the items. Nothing appends to them any more: the program of the pickle has ended.
  made.first = from.first;
  pickle_.values[call.value] = made;
  return true;
}

void TorchResolver::make_text(std::uint32_t value, std::string_view text, TorchWord word) {
  PickleValue made;
  made.kind = PickleKind::text;
  made.variant = static_cast<std::uint8_t>(word);
  const std::string_view stored = pickle_.arena.store(text);
  made.count = static_cast<std::uint32_t>(stored.size());
  made.text = stored.data();
  pickle_.values[value] = made;
}

void TorchResolver::make_bytes(std::uint32_t value, std::string_view bytes, TorchWord word) {
  PickleValue made;
  made.kind = PickleKind::bytes;
  made.variant = static_cast<std::uint8_t>(word);
  made.first = pickle_.blobs.size();
  pickle_.blobs.push_back({.bytes = pickle_.arena.store(bytes), .size = bytes.size()});
  pickle_.values[value] = made;
}

/// _codecs.encode(text, 'latin1'): how protocol 2 spells bytes.
bool TorchResolver::rewrite_encode(const TorchCall& call) {
  const Arguments arguments = call.arguments;
  const std::string_view encoding = arguments.size() == 2 ? pickle_.text(arguments[1]) : std::string_view();
  if (encoding != "latin1" && encoding != "latin-1") return false;
  // Long text was left in the file; decode_latin1() decodes it when the bytes are read.
  if (pickle_.kind(arguments[0]) == PickleKind::far_text) {
    alias(call.value, arguments[0]);
    pickle_.values[call.value].kind = PickleKind::bytes;
    return true;
  }
  if (pickle_.kind(arguments[0]) != PickleKind::text) return false;
  const std::optional<std::string> bytes = to_latin1(pickle_.text(arguments[0]));
  if (bytes) make_bytes(call.value, *bytes, TorchWord::plain);
  return bytes.has_value();
}

/// bytearray(), bytearray(bytes) and, in protocol 2, bytearray(text, 'latin-1').
bool TorchResolver::rewrite_byte_array(const TorchCall& call) {
  const Arguments arguments = call.arguments;
  if (arguments.empty()) return make_bytes(call.value, {}, TorchWord::byte_array), true;
  if (pickle_.kind(arguments[0]) == PickleKind::bytes) {
    alias(call.value, arguments[0]);
    pickle_.values[call.value].variant = PickleValue::byte_array;
    return true;
  }
  if (arguments.size() != 2 || pickle_.kind(arguments[0]) != PickleKind::text) return false;
  const std::optional<std::string> bytes = to_latin1(pickle_.text(arguments[0]));
  if (bytes) make_bytes(call.value, *bytes, TorchWord::byte_array);
  return bytes.has_value();
}

bool TorchResolver::rewrite_path(const TorchCall& call) {
  // pathlib pickles the parts of a path. WindowsPath is joined by slashes too: the text is only shown.
  std::string joined;
  for (const std::uint32_t part : call.arguments) {
    if (pickle_.kind(part) != PickleKind::text) return false;
    if (!joined.empty() && joined.back() != '/') joined += '/';
    joined += pickle_.text(part);
  }
  make_text(call.value, joined, TorchWord::path);
  return true;
}

bool TorchResolver::rewrite_scalar(const TorchCall& call) {
  const Arguments arguments = call.arguments;
  const std::string_view text = arguments.empty() ? std::string_view() : pickle_.text(arguments[0]);
  const bool one_text = !arguments.empty() && pickle_.kind(arguments[0]) == PickleKind::text;
  switch (call.known.kind) {
    case GlobalKind::encode: return rewrite_encode(call);
    case GlobalKind::bytes:
      if (arguments.empty()) make_bytes(call.value, {}, TorchWord::plain);
      return arguments.empty();
    case GlobalKind::byte_array: return rewrite_byte_array(call);
    case GlobalKind::device_mesh:
      alias(call.value,
            pickle_.part(pickle_[call.value], call_callable));  // its tensors contain device numbers, not weights
      return true;
    case GlobalKind::complex:
      if (arguments.size() != 2) return false;
      // complex(real, imaginary) becomes the tuple of its arguments, with a word of its own.
      alias(call.value, pickle_.part(pickle_[call.value], call_arguments));
      pickle_.values[call.value].variant = static_cast<std::uint8_t>(TorchWord::complex);
      return true;
    case GlobalKind::get_layout:
      if (one_text) make_text(call.value, text, TorchWord::layout);
      return one_text;
    case GlobalKind::device: {
      if (!one_text) return false;
      // device('cuda', 0) and device('cuda:0') get the same text.
      const bool has_index = arguments.size() > 1 && pickle_.kind(arguments[1]) == PickleKind::integer;
      make_text(call.value, has_index ? fmt::format("{}:{}", text, pickle_[arguments[1]].integer) : std::string(text),
                TorchWord::device);
      return true;
    }
    case GlobalKind::path: return rewrite_path(call);
    default: return false;
  }
}

bool TorchResolver::rewrite_script(const TorchCall& call) {
  if (call.known.kind != GlobalKind::script_list && call.known.kind != GlobalKind::script_tag) return false;
  if (call.arguments.empty()) return false;
  alias(call.value, call.arguments[0]);
  return true;
}

/// Replaces copyreg._reconstructor(class, base, base's value) by an object of that class, whose items are base's value.
bool TorchResolver::rewrite_reconstructor(const TorchCall& call) {
  if (call.known.kind != GlobalKind::reconstructor || call.arguments.size() != 3) return false;
  const std::uint32_t type = call.arguments[0];
  const std::uint32_t content = call.arguments[2];
  const std::size_t parts = static_cast<std::size_t>(pickle_[call.value].first);
  const PickleKind kind = pickle_.container(content);
  // The parts of the call are replaced in place: it is then a call like NEWOBJ of that class.
  pickle_.items[parts + call_callable] = type;
  pickle_.items[parts + call_arguments] = Pickle::empty_tuple;
  if (call.items == Pickle::absent && (kind == PickleKind::dict || kind == PickleKind::list))
    pickle_.items[parts + call_items] = content;
  const std::optional<TorchCall> object = take_apart(call.value);
  // A subclass of a container that is known (OrderedDict in protocol 0) is complete with its items.
  if (object) rewrite_container(*object);
  return true;
}

/// Replaces an object by the value that its state describes.
void TorchResolver::rewrite_object(std::uint32_t value) {
  const std::optional<TorchCall> call = take_apart(value);
  if (!call || !is_object(call->known.kind)) return;
  switch (call->known.kind) {
    case GlobalKind::unknown: rewrite_module(*call); return;
    case GlobalKind::numpy_reconstruct: rewrite_numpy(*call); return;
    case GlobalKind::name_space:
      if (is_dict(call->state)) {
        alias(value, call->state);
        pickle_.values[value].variant = static_cast<std::uint8_t>(TorchWord::name_space);
      }
      return;
    case GlobalKind::script_class:
      // A script object is its attributes; one that was saved without any is an empty record.
      if (call->state != Pickle::absent)
        alias(value, call->state);
      else
        make_record(value, TorchWord::plain, {});
      return;
    default:
      if (rewrite_tensor(*call) && call->items != Pickle::absent) corrupt("items are set on a tensor");
      return;
  }
}

std::uint32_t TorchResolver::entry(std::uint32_t dict, std::string_view key) const {
  const Arguments pairs = pickle_.children(dict);
  // Linear: states of objects have few keys, and each is looked up once.
  for (std::size_t i = 0; i + 1 < pairs.size(); i += 2)
    if (pickle_.text(pairs[i]) == key) return pairs[i + 1];
  return Pickle::absent;
}

/// Replaces an nn.Module by its state dict: its parameters, its persistent buffers and its modules, without those that
/// are None.
bool TorchResolver::rewrite_module(const TorchCall& call) {
  if (!is_dict(call.state)) return false;
  const std::array<std::uint32_t, 3> parts{entry(call.state, "_parameters"), entry(call.state, "_buffers"),
                                           entry(call.state, "_modules")};
  // Any other object with a state stays opaque; all three dicts together are the mark of an nn.Module.
  for (const std::uint32_t part : parts)
    if (!is_dict(part)) return false;
  const std::uint32_t left_out = entry(call.state, "_non_persistent_buffers_set");
  std::vector<std::string_view> transient;
  if (left_out != Pickle::absent && pickle_.kind(left_out) == PickleKind::set)
    for (const std::uint32_t name : pickle_.children(left_out)) transient.push_back(pickle_.text(name));
  // Sorted for the search below, because names chosen by the file must not make it slow.
  std::sort(transient.begin(), transient.end());
  std::vector<std::uint32_t> pairs;
  for (const std::uint32_t part : parts) {
    const Arguments entries = pickle_.children(part);
    for (std::size_t i = 0; i < entries.size(); i += 2) {
      if (pickle_.kind(entries[i + 1]) == PickleKind::null) continue;
      // state_dict() leaves out parameters that are None and buffers that were registered as not persistent; so does
      // this.
      if (part == parts[1] && std::binary_search(transient.begin(), transient.end(), pickle_.text(entries[i])))
        continue;
      pairs.insert(pairs.end(), {entries[i], entries[i + 1]});
    }
  }
  PickleValue made;
  made.kind = PickleKind::dict;
  made.count = static_cast<std::uint32_t>(pairs.size() / 2);
  made.first = pickle_.items.size();
  pickle_.items.insert(pickle_.items.end(), pairs.begin(), pairs.end());
  pickle_.values[call.value] = made;
  return true;
}

std::uint32_t TorchResolver::new_text(std::string_view text) {
  PickleValue value;
  value.kind = PickleKind::text;
  value.count = static_cast<std::uint32_t>(text.size());
  value.text = text.data();  // a string literal, which lives as long as the process
  pickle_.values.push_back(value);
  return static_cast<std::uint32_t>(pickle_.values.size() - 1);
}

void TorchResolver::make_record(std::uint32_t value, TorchWord word,
                                std::span<const std::pair<std::string_view, std::uint32_t>> entries) {
  PickleValue made;
  made.kind = PickleKind::dict;
  made.variant = static_cast<std::uint8_t>(word);
  made.count = static_cast<std::uint32_t>(entries.size());
  made.first = pickle_.items.size();
  // `value` is written last: new_text() can move the table of values.
  for (const auto& [key, item] : entries) pickle_.items.insert(pickle_.items.end(), {new_text(key), item});
  pickle_.values[value] = made;
}

TorchObjects interpret(Pickle pickle, const ReadOptions& options, std::string_view what, const TensorTable* table) {
  TorchObjects objects(std::move(pickle));
  objects.what = what;
  TorchResolver(objects, options, table).run();
  return objects;
}

}  // namespace heft::format
