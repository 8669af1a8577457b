// bench/harness/child.hpp: runs one subject in a process of its own and watches it from outside, so that heft, the
// yardsticks and programs in other languages are measured by the same instrument.
//
// What the two say to each other, one line each:
//   child  -> "ready"                               set up; nothing of the checkpoint has been read
//   parent -> "go"                                  counters noted, page cache in the wanted state
//   child  -> "done SECONDS BYTES NOTE..."          all results still held
//   parent -> "bye"                                 counters noted
// or, instead of ready or done: "absent REASON", "failed REASON".
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "harness/probe.hpp"

namespace bench {

/// Memory at one moment, seconds after "go".
struct Moment {
  double seconds = 0;
  Memory memory;
};

struct Sample {
  double seconds = 0;
  std::uint64_t bytes = 0;  ///< Payload bytes that the subject says it handled.
  std::string note;         ///< What it says about how.
  std::string failure;      ///< Not empty: it did not run, and why.
  bool absent = false;      ///< What it needs is not installed.
  Memory baseline;          ///< Before the work: a Python interpreter and its modules, a destination made beforehand.
  Memory peak;              ///< Resident: VmHWM. Anonymous and file: the largest that were sampled.
  Counters used;
  std::vector<Moment> timeline;
};

struct Watch {
  const Device* device = nullptr;
  std::function<void()> before_go;  ///< Called between "ready" and "go".
  double interval_seconds = 0.005;  ///< Of memory samples.
  bool keep_timeline = false;
};

/// Starts `command` (argv[0] is looked up in PATH) and sees it through. Never throws for what the child does.
Sample run_child(const std::vector<std::string>& command, const Watch& watch);

}  // namespace bench
