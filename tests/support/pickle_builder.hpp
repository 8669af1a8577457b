// Writes pickles opcode by opcode, valid or not. Parts are strings, so that they can be joined with +.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "support/zip_builder.hpp"

namespace heft::test::pickle {

inline std::string proto(int version = 2) { return std::string("\x80") + static_cast<char>(version); }
inline std::string integer(std::int32_t value) { return "J" + little(static_cast<std::uint32_t>(value), 4); }
inline std::string text(std::string_view value) { return "X" + little(value.size(), 4) + std::string(value); }
inline std::string bytes(std::string_view value) { return "B" + little(value.size(), 4) + std::string(value); }
inline std::string global(std::string_view module, std::string_view name) {
  return "c" + std::string(module) + "\n" + std::string(name) + "\n";
}
/// Return the items as a tuple, list or dict (keys and values in turn).
inline std::string tuple(const std::vector<std::string>& items) {
  std::string out = "(";
  for (const std::string& item : items) out += item;
  return out + "t";
}
inline std::string list(const std::vector<std::string>& items) {
  std::string out = "](";
  for (const std::string& item : items) out += item;
  return out + "e";
}
inline std::string dict(const std::vector<std::string>& items) {
  std::string out = "}(";
  for (const std::string& item : items) out += item;
  return out + "u";
}
inline std::string call(std::string_view module, std::string_view name, const std::vector<std::string>& arguments) {
  return global(module, name) + tuple(arguments) + "R";
}
inline std::string object(std::string_view module, std::string_view name, const std::string& state) {
  return global(module, name) + ")\x81" + state + "b";
}
inline std::string integers(const std::vector<int>& values) {
  std::vector<std::string> items;
  for (const int value : values) items.push_back(integer(value));
  return tuple(items);
}
inline std::string storage(std::string_view type, std::string_view key, int count) {
  return tuple({text("storage"), global("torch", type), text(key), text("cpu"), integer(count)}) + "Q";
}
inline std::string tensor(std::string_view key, int count, int offset, const std::vector<int>& sizes,
                          const std::vector<int>& strides, std::string_view type = "FloatStorage") {
  return call("torch._utils", "_rebuild_tensor_v2",
              {storage(type, key, count), integer(offset), integers(sizes), integers(strides), "\x89",
               call("collections", "OrderedDict", {})});
}

/// Returns a pickle of protocol 2 of the object.
inline std::string pickled(const std::string& object) { return proto() + object + "."; }

/// Returns PyTorch's stream before 1.6 of that object and those storages ("0", "1", ...), whose elements have
/// `element_bytes`.
inline std::string torch_stream(const std::string& object, const std::vector<std::string>& storages,
                                std::uint64_t element_bytes) {
  const std::string sizes = dict({text("short"), integer(2), text("int"), integer(4), text("long"), integer(4)});
  const std::string system =
      dict({text("protocol_version"), integer(1001), text("little_endian"), "\x88", text("type_sizes"), sizes});
  std::vector<std::string> keys;
  for (std::size_t i = 0; i < storages.size(); ++i) keys.push_back(text(std::to_string(i)));
  std::string file = pickled("\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19") + pickled(integer(1001)) +
                     pickled(system) + pickled(object) + pickled(list(keys));
  for (const std::string& storage : storages) file += little(storage.size() / element_bytes, 8) + storage;
  return file;
}

/// Returns a PyTorch zip of that object and those storages ("0", "1", ...).
inline std::string torch_file(const std::string& object, const std::vector<std::string>& storages = {}) {
  ZipBuilder zip;
  zip.add({.name = "archive/data.pkl", .content = proto() + object + "."});
  for (std::size_t i = 0; i < storages.size(); ++i)
    zip.add({.name = "archive/data/" + std::to_string(i), .content = storages[i]});
  return zip.add("archive/version", "3\n").build();
}

}  // namespace heft::test::pickle
