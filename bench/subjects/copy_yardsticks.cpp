// Yardsticks of memory: the cost of copying the same number of bytes and nothing else.
#include <array>
#include <cmath>
#include <memory>

#include <fmt/format.h>

#include "subjects/memory.hpp"
#include "subjects/stream.hpp"
#include "subjects/subject.hpp"

namespace bench {

namespace {

// A job that is larger reads the source repeatedly. The source is far larger than any cache, and memory for two copies
// of a large model is not required.
constexpr std::uint64_t max_source_bytes = std::uint64_t{1} << 30;

struct Buffers {
  HugeMemory source, target;
};

std::shared_ptr<Buffers> make_buffers(const Job& job, std::uint64_t bytes_read, std::uint64_t bytes_written) {
  auto buffers = std::make_shared<Buffers>();
  buffers->source = destination(std::min(bytes_read, max_source_bytes), true, job.threads);
  buffers->target = destination(bytes_written, job.reused, job.threads);
  return buffers;
}

void copy_run(const Buffers& b, std::uint64_t begin, std::uint64_t end) {
  const std::uint64_t wrap = b.source.size_bytes();
  while (begin < end) {
    const std::uint64_t from = begin % wrap, run = std::min(end - begin, wrap - from);
    std::memcpy(b.target.data() + begin, b.source.data() + from, run);
    begin += run;
  }
}

Work prepare_memcpy(const Job& job) {
  auto buffers = make_buffers(job, job.bytes_read, job.bytes_read);
  return [buffers, threads = job.threads, bytes = job.bytes_read]() -> Outcome {
    in_parallel(threads, bytes, HugeMemory::page,
                [&](std::uint64_t begin, std::uint64_t end) { copy_run(*buffers, begin, end); });
    return {bytes, fmt::format("{} threads", threads)};
  };
}

/// One step of the stream: the bytes read and written, in the nearest ratio that stream() supports.
struct Step {
  std::uint64_t in, out;
};

Step step_for(const Job& job) {
  constexpr std::uint64_t unit = std::uint64_t{64} << 10;
  const double ratio = static_cast<double>(job.bytes_written) / static_cast<double>(job.bytes_read);
  const int power = std::clamp(static_cast<int>(std::lround(std::log2(ratio))), -2, 2);
  return power >= 0 ? Step{unit, unit << power} : Step{unit << -power, unit};
}

Work prepare_stream(const Job& job) {
  const Step step = step_for(job);
  const std::uint64_t steps = (job.bytes_written + step.out - 1) / step.out;
  auto buffers = make_buffers(job, steps * step.in, steps * step.out);
  const std::uint64_t source_steps = buffers->source.size_bytes() / step.in;
  return [=, threads = job.threads, bytes = job.bytes_read]() -> Outcome {
    in_parallel(threads, steps, 1, [&](std::uint64_t begin, std::uint64_t end) {
      for (std::uint64_t i = begin; i < end; ++i)
        stream({buffers->source.data() + i % source_steps * step.in, step.in},
               {buffers->target.data() + i * step.out, step.out});
    });
    return {bytes, fmt::format("{} threads, {} bytes out", threads, steps * step.out)};
  };
}

constexpr std::array<Subject, 2> subjects = {{{"memcpy", prepare_memcpy}, {"stream", prepare_stream}}};

}  // namespace

std::span<const Subject> copy_yardsticks() noexcept { return subjects; }

}  // namespace bench
