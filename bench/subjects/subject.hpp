// bench/subjects/subject.hpp: a piece of work that is measured in a child process: an operation of heft, or a
// yardstick.
#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

#include "harness/page_cache.hpp"

namespace bench {

/// The parameters of the work. Every member comes from the command line of the child.
struct Job {
  std::string path = {};  ///< The checkpoint.
  unsigned threads = 1;
  std::uint64_t bytes_read = 0;     ///< For yardsticks: payload bytes to read ...
  std::uint64_t bytes_written = 0;  ///< ... and to write; for heft: bytes of a reused destination.
  bool converts = false;            ///< Some tensor's dtype changes; selects yardsticks.
  bool reused = false;              ///< The destination is resident before the clock starts; else it is fresh memory.
  std::string dtype = {};           ///< Convert to this; empty: do not convert.
  std::string via = "automatic";    ///< automatic, map, direct, read.
  std::string order = "file";       ///< Of a stream: file, plan, as_finished.
  int dim = -1;                     ///< Tensor parallel: part `tp_rank` of `tp_size` along it; -1: all of every tensor.
  int tp_rank = 3;
  int tp_size = 8;
  bool transposed = false;                             ///< Matrices with their two dims exchanged.
  bool planned = false;                                ///< heft has opened and planned before the clock starts.
  std::uint64_t block_bytes = std::uint64_t{1} << 20;  ///< For direct yardsticks: bytes in one request ...
  unsigned depth = 8;                                  ///< ... and requests in flight; else the number of loads.
};

/// The result of the work.
struct Outcome {
  std::uint64_t bytes = 0;
  std::string note;
  std::function<std::string()> late_note = {};  ///< Appended to the note; called once the clock has stopped.
};

/// The work between "go" and "done". Its captures live until "bye".
using Work = std::function<Outcome()>;

/// Thrown for work that the machine or this build does not support: the row is listed as absent with this reason.
struct Absent : std::runtime_error {
  using std::runtime_error::runtime_error;
};

struct Subject {
  std::string_view name;
  Work (*prepare)(const Job& job);  ///< Set-up that is not measured; reads no payload of the checkpoint.
};

/// The subjects in the files of this folder.
std::span<const Subject> copy_yardsticks() noexcept;
std::span<const Subject> file_yardsticks() noexcept;
std::span<const Subject> direct_yardsticks() noexcept;
std::span<const Subject> heft_subjects() noexcept;
std::span<const Subject> small_subjects() noexcept;
std::span<const Subject> consume_subjects() noexcept;

/// Runs the child's side of the protocol of harness/child.hpp. Returns the exit status.
int run_subject(std::string_view name, const Job& job);

}  // namespace bench
