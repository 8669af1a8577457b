// bench/harness/child.hpp: runs one subject in a child process and measures it from outside, so that heft, the
// yardsticks and programs in other languages are measured in the same way.
//
// The protocol, one line per message:
//   child  -> "ready"                               set up; no payload of the checkpoint has been read
//   parent -> "go"                                  counters are recorded, the page cache is in the wanted state
//   child  -> "done SECONDS BYTES NOTE..."          all results are still in memory
//   parent -> "bye"                                 counters are recorded
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
  std::uint64_t bytes = 0;  ///< Payload bytes that the subject reports.
  std::string note;         ///< Details that the subject reports.
  std::string failure;      ///< The reason why it did not run; empty if it ran.
  bool absent = false;      ///< A program or library that it requires is not installed.
  Memory baseline;          ///< Before the work: a Python interpreter and its modules, a destination made in advance.
  Memory peak;              ///< Resident: VmHWM. Anonymous and file: the largest sampled.
  Counters used;
  std::vector<Moment> timeline;
};

struct Watch {
  const Device* device = nullptr;
  std::function<void()> before_go;  ///< Called between "ready" and "go".
  double interval_seconds = 0.005;  ///< Of memory samples.
  bool keep_timeline = false;
};

/// Starts `command` (argv[0] is looked up in PATH) and runs the protocol. Failures of the child are returned in the
/// Sample, never thrown.
Sample run_child(const std::vector<std::string>& command, const Watch& watch);

}  // namespace bench
