// record/parallel.hpp: runs independent steps of open() in parallel.
#pragma once

#include <cstddef>
#include <functional>

namespace heft::record {

/// Calls step(0) to step(count - 1), each once, from up to eight threads including the caller's; few steps run on the
/// caller's thread only. Returns when all are done. If steps throw, the others are still called, and then the exception
/// of the lowest number is rethrown, so that the error does not depend on timing.
void in_parallel(std::size_t count, const std::function<void(std::size_t)>& step);

}  // namespace heft::record
