#include "format/json/nodes.hpp"

#include <cstdint>
#include <variant>
#include <vector>

#include <fmt/format.h>

#include "core/checked.hpp"
#include "core/text.hpp"
#include "format/json/reader.hpp"
#include "format/name_table.hpp"
#include "heft/error.hpp"

namespace heft::format {
namespace {

// Converts JSON values to nodes. Recursion is bounded by Limits::json_depth.
class NodeMaker {
 public:
  NodeMaker(json::Document& document, std::string_view what, Catalog& catalog)
      : document_(document), what_(what), catalog_(catalog) {}

  std::uint32_t make(json::Value& value) {
    // A Value is read by exactly one call, so the kind, which its first character implies, selects it.
    switch (value.kind(what_)) {
      case json::Kind::object: return object(value);
      case json::Kind::list: return list(value);
      case json::Kind::text: return text(value.text(what_));
      case json::Kind::number: return number(value);
      case json::Kind::boolean:
        return catalog_.add_node({.kind = NodeKind::boolean, .integer = value.boolean(what_) ? 1 : 0});
      case json::Kind::null: break;
    }
    // kind() saw an 'n'; null() requires the whole word.
    value.null(what_);
    return catalog_.add_node({});
  }

 private:
  std::uint32_t text(std::string_view text) { return catalog_.add_text(catalog_.arena.store(text)); }

  std::uint32_t object(json::Value& value) {
    std::vector<std::uint32_t> pairs;
    // A repeated key is an error: parsers differ in which value they keep.
    NameTable keys;
    value.members(what_, [&](const json::Key& key, json::Value& member) {
      if (!keys.add(key.text).fresh)
        document_.fail(ErrorCode::ambiguous,
                       fmt::format("{}: the key '{}' occurs twice", what_, core::escaped(key.text)), key.at);
      // Children are added before their container, so that the items of each container are contiguous in
      // Catalog::children.
      pairs.push_back(text(key.text));
      pairs.push_back(make(member));
    });
    return catalog_.add_container(NodeKind::map, pairs);
  }

  std::uint32_t list(json::Value& value) {
    std::vector<std::uint32_t> items;
    value.elements(what_, [&](json::Value& element) { items.push_back(make(element)); });
    return catalog_.add_container(NodeKind::list, items);
  }

  std::uint32_t number(json::Value& value) {
    // Integers stay exact: seeds and offsets over 2^53 would change as doubles. unsigned_integer is used only over
    // INT64_MAX, as Node requires.
    const json::Number number = value.number(what_);
    if (const auto* integer = std::get_if<std::int64_t>(&number)) return catalog_.add_integer(*integer);
    if (const auto* unsigned_integer = std::get_if<std::uint64_t>(&number))
      return catalog_.add_node({.kind = NodeKind::unsigned_integer, .unsigned_integer = *unsigned_integer});
    return catalog_.add_node({.kind = NodeKind::real, .real = std::get<double>(number)});
  }

  json::Document& document_;
  std::string_view what_;
  Catalog& catalog_;
};

}  // namespace

std::uint32_t add_nodes(json::Document& document, json::Value& value, std::string_view what, Catalog& catalog) {
  return NodeMaker(document, what, catalog).make(value);
}

Catalog read_json_object(const core::Input& input, std::string_view format, const Limits& limits) {
  // The file is read whole, so its size is compared first.
  core::require_limit(input.size_bytes(), limits.json_bytes, "the size of the file", "json_bytes");
  Catalog catalog(input.budget());
  catalog.format = format;
  json::Document document(input.read(0, input.size_bytes()), 0, limits);
  std::vector<std::uint32_t> pairs;
  NameTable keys;
  document.members([&](const json::Key& key, json::Value& value) {
    if (!keys.add(key.text).fresh)
      document.fail(ErrorCode::ambiguous, fmt::format("the key '{}' occurs twice", core::escaped(key.text)), key.at);
    pairs.push_back(catalog.add_text(catalog.arena.store(key.text)));
    pairs.push_back(add_nodes(document, value, key.text, catalog));
  });
  catalog.metadata = catalog.add_container(NodeKind::map, pairs);
  return catalog;
}

}  // namespace heft::format
