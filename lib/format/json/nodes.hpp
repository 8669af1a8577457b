// format/json/nodes.hpp: conversion of JSON values to nodes of a Catalog.
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

/// Adds `value` to `catalog` as a node and returns the node's index. Strings are copied into the catalog's arena.
/// Recursion is bounded by Limits::json_depth. `what` names the value in errors. Throws Error{corrupt}, and
/// Error{ambiguous} for an object with a repeated key.
std::uint32_t add_nodes(json::Document& document, json::Value& value, std::string_view what, Catalog& catalog);

/// Returns a catalog without tensors whose metadata is the JSON object in `input`, which must contain nothing else:
/// config.json, params.json. Throws as add_nodes(), and Error{limit_exceeded}.
Catalog read_json_object(const core::Input& input, std::string_view format, const Limits& limits);

}  // namespace heft::format
