// format/safetensors/index_reader.cpp: reader of the index of a sharded checkpoint: model.safetensors.index.json,
// pytorch_model.bin.index.json and their variants.
//
//   {"metadata": {"total_size": 689486551552},
//    "weight_map": {"model.norm.weight": "model-00160-of-000163.safetensors", ...}}
//
// "metadata" is optional and can be any JSON; its total_size is an integer, a real or a string.
//
// Only the tensors in the map are loaded; a shard can hold others. File names are not checked here: the record room
// accepts plain names in the same folder only.
#include <algorithm>
#include <functional>
#include <utility>
#include <vector>

#include <fmt/format.h>

#include "core/checked.hpp"
#include "core/name_table.hpp"
#include "core/text.hpp"
#include "format/formats.hpp"
#include "format/json/nodes.hpp"
#include "format/json/reader.hpp"
#include "format/name_table.hpp"
#include "format/unrecognized.hpp"
#include "heft/error.hpp"

namespace heft::format {
namespace {

constexpr std::uint64_t usual_entry_bytes = 96;  // of a tensor in the index of a large model; for reserving tables

// Reads weight_map: tensor name to file name.
class MapReader {
 public:
  // Requires the document's text.
  MapReader(json::Document& document, const Bytes& text, const Limits& limits, Catalog& catalog)
      : document_(document), limits_(limits), catalog_(catalog), names_(text.size_bytes() / usual_entry_bytes) {
    // An estimate from the file's real size, not from a declared count; tables grow if it is too small.
    catalog.located.reserve(text.size_bytes() / usual_entry_bytes);
    // Names without escapes point into the text, so the catalog keeps it.
    catalog.kept.push_back(text);
  }

  void read(json::Value& map) {
    map.members("weight_map", [this](const json::Key& key, json::Value& file) {
      core::require_limit(catalog_.located.size() + 1, limits_.tensors, "the number of tensors", "tensors",
                          document_.offset(key.at));
      core::require_limit(key.text.size(), limits_.name_bytes, "the length of a name", "name_bytes",
                          document_.offset(key.at));
      try {
        // Errors inside have no name of the tensor; it is added here.
        locate(key, file);
      } catch (const Error& error) {
        throw error.with_tensor(key.text);
      }
    });
    catalog_.shards.adopt(std::move(shards_).take_names());
  }

 private:
  void locate(const json::Key& key, json::Value& file) {
    const std::string_view name = kept(key.text);
    const auto name_of = [this](std::uint32_t number) { return catalog_.located[number].name; };
    // The table stores numbers only, so it finds a name through the row that has it.
    if (names_.add(name, name_of) != names_.none)
      document_.fail(ErrorCode::ambiguous, "weight_map: the name occurs twice", key.at);
    catalog_.located.push_back({name, shard(file)});
  }

  // Returns a name that lives as long as the catalog: a view of the kept text, or a copy of a name that had escapes.
  [[nodiscard]] std::string_view kept(std::string_view name) {
    const std::span<const std::byte> text = catalog_.kept.back().span();
    const auto* from = reinterpret_cast<const std::byte*>(name.data());
    // std::less compares pointers into different arrays, for which `<` is unspecified.
    const bool inside = !std::less<>()(from, text.data()) && std::less<>()(from, text.data() + text.size());
    return inside ? name : catalog_.arena.store(name);
  }

  // Returns the number of the shard. Compares with the previous one first, because neighbours mostly share a shard.
  std::uint32_t shard(json::Value& file) {
    const std::string_view name = file.text("weight_map");
    if (!catalog_.located.empty()) {
      const std::uint32_t last = catalog_.located.back().shard;
      if (shards_.names()[last] == name) return last;
    }
    const auto known = shards_.find(name);
    if (known) return *known;
    // Counted when a new name appears: the tensors of the map can be many more than the shards.
    core::require_limit(shards_.names().size() + 1, limits_.shards, "the number of shards", "shards",
                        document_.offset(file.at()));
    return shards_.add(catalog_.arena.store(name)).index;
  }

  json::Document& document_;
  const Limits& limits_;
  Catalog& catalog_;
  core::NameTable names_;  // of catalog_.located
  NameTable shards_;
};

bool matches(std::span<const std::byte> head, std::uint64_t) noexcept {
  const auto first = std::ranges::find_if_not(head, [](std::byte b) {
    return b == std::byte{' '} || b == std::byte{'\t'} || b == std::byte{'\n'} || b == std::byte{'\r'};
  });
  return first != head.end() && *first == std::byte{'{'};
}

// Refuses JSON in a file that is not named .json, unless it has a weight_map: it is the message of a server or another
// file in the place of weights.
void require_index(const core::Input& input, std::string_view file_name) {
  // The file name is empty for bytes without a file.
  if (file_name.empty() || file_name.ends_with(".json")) return;
  const Bytes head = input.read(0, std::min<std::uint64_t>(head_bytes, input.size_bytes()));
  const std::string_view text(reinterpret_cast<const char*>(head.data()), static_cast<std::size_t>(head.size_bytes()));
  if (text.find("\"weight_map\"") == text.npos) refuse_unknown(head.span(), input.size_bytes());
}

Catalog read(const core::Input& input, const ReadOptions& options) {
  Catalog catalog(input.budget());
  catalog.format = index_json_format.name;
  const Limits& limits = options.limits;
  require_index(input, options.file_name);
  // The text is read whole, so its size is compared first.
  core::require_limit(input.size_bytes(), limits.json_bytes, "the size of the index", "json_bytes");
  const Bytes text = input.read(0, input.size_bytes());
  json::Document document(text, 0, limits);
  bool has_map = false;
  // Metadata can come before or after the map; other members are checked as JSON and ignored, as transformers does.
  document.members([&](const json::Key& key, json::Value& value) {
    if (key.is("weight_map")) {
      // Of two maps each parser takes another, and would load other tensors.
      if (std::exchange(has_map, true))
        document.fail(ErrorCode::ambiguous, "expected one weight_map, found a second", key.at);
      MapReader(document, text, limits, catalog).read(value);
    } else if (key.is("metadata")) {
      if (catalog.metadata != none)
        document.fail(ErrorCode::ambiguous, "expected one metadata, found a second", key.at);
      catalog.metadata = add_nodes(document, value, "metadata", catalog);
    } else {
      value.skip("an unknown member");
    }
  });
  // Any JSON object arrives here, for example config.json.
  if (!has_map)
    throw Error(ErrorCode::unrecognized,
                "expected the index of a sharded checkpoint, found a JSON object without weight_map");
  return catalog;
}

}  // namespace

constinit const Format index_json_format{
    .name = "index.json",
    .suffixes = ".safetensors.index.json .bin.index.json .msgpack.index.json",
    .reads = "weight_map of shards in the same folder; metadata",
    .matches = matches,
    .read = read,
};

}  // namespace heft::format
