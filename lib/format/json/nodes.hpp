// format/json/nodes.hpp: JSON values as nodes of a Catalog.
#pragma once

#include <cstdint>
#include <string_view>

#include "core/input.hpp"
#include "format/catalog.hpp"
#include "heft/limits.hpp"

namespace heft::format {

namespace json {
class Document;
class Value;
}  // namespace json

/// Makes `value` a node of `catalog`, strings copied into its arena, and gives the node's index. Recursion is bounded by Limits::json_depth.
/// Throws Error{corrupt}, and Error{ambiguous} for a key that an object has twice; `what` names the value in sentences.
std::uint32_t add_nodes(json::Document& document, json::Value& value, std::string_view what, Catalog& catalog);

/// A catalog without tensors whose metadata is the JSON object that is all of `input`: config.json, params.json. Throws as add_nodes(), and
/// Error{limit_exceeded}.
Catalog read_json_object(const core::Input& input, std::string_view format, const Limits& limits);

}  // namespace heft::format
