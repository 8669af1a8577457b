// materialize/visit.hpp: a load whose tensors are used once, on its own threads, and are not kept.
#pragma once

#include "heft/materialize.hpp"
#include "heft/plan.hpp"
#include "materialize/window.hpp"

namespace heft::engine {

/// Loads the entries of `plan`, each of which must be in `windows` once, and visits them. The bytes of a window are
/// compared with their files before its visit: the visitor never sees bytes of a file that has changed. Takes the
/// memory of a few windows for each thread. Throws as materialize(), and what `visitor` throws. `options.destination`
/// is not used.
LoadStats visit(const LoadPlan& plan, const MaterializeOptions& options, const Windows& windows,
                const Visitor& visitor);

}  // namespace heft::engine
