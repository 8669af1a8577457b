// record/parallel.hpp: independent steps of open(), several at a time.
#pragma once

#include <cstddef>
#include <functional>

namespace heft::record {

/// Calls step(0) to step(count - 1), each once, from up to eight threads, this one among them; with few steps from this one alone. Returns when
/// all are done. When steps throw, the rest are still called, and then the exception of the lowest number is rethrown: which error a caller
/// sees does not depend on timing.
void in_parallel(std::size_t count, const std::function<void(std::size_t)>& step);

}  // namespace heft::record
