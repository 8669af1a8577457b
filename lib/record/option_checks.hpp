// record/option_checks.hpp: options of open() that the opened files cannot use, which are errors.
#pragma once

#include <string_view>

#include "heft/checkpoint.hpp"
#include "record/state.hpp"

namespace heft::record {

/// Throws Error{out_of_range} for an option that applies to none of the files.
void require_applicable(const OpenOptions& options, const State& state);

/// Throws Error{out_of_range} for top_level_key: there is no key to choose, and `why`.
[[noreturn]] void fail_no_keys(const OpenOptions& options, const State& state, std::string_view why);

}  // namespace heft::record
