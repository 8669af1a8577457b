// format/torch/tree.hpp: conversion of the objects of a PyTorch pickle to names: every path to a tensor is an entry of
// the Catalog.
#pragma once

#include <cstdint>
#include <string_view>

#include "format/catalog.hpp"
#include "format/format.hpp"
#include "format/torch/entries.hpp"
#include "format/torch/objects.hpp"

namespace heft::format {

/// Adds the objects' tensors and other values to the Catalog, under dotted names. The Catalog keeps the memory that
/// they point into.
///
/// The parts of a name are keys (3 is "3") and indices of lists. A container without tensors is one value. A tensor
/// with two paths is listed under both; an object that contains itself is not entered a second time. A pickle that is
/// only a tensor gets the name "tensor", another single value, or numbers alone, the name "value". The parts of an object of unknown class
/// that holds tensors are `class`, `arguments` and `state`.
///
/// Throws Error{not_found} and Error{type_mismatch} for ReadOptions::top_level_key, Error{limit_exceeded} for tensors,
/// record_depth, record_visits and name_bytes, before anything of that size is allocated.
void add_objects(Catalog& catalog, TorchObjects&& objects, const ReadOptions& options, const TorchPlace& place);

/// Returns the catalog of a file of `format` that consists of `objects` only. Throws the errors of check_tensors(),
/// add_objects() and finish().
Catalog catalog_of(const core::Input& input, std::string_view format, std::string_view detail, TorchObjects&& objects,
                   const ReadOptions& options);

/// Last step of every PyTorch format: sorts the Catalog. Throws Error{ambiguous} if two entries have the same name.
void finish(Catalog& catalog);

}  // namespace heft::format
