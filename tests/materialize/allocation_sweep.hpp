// Fails each allocation of a call, once or from then on: the call throws std::bad_alloc or Error{out_of_memory}, loses
// nothing, and succeeds afterwards. For the files allocations*.cpp.
#pragma once

#include <dirent.h>
#include <doctest/doctest.h>

#include <array>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <functional>
#include <new>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "heft/heft.hpp"
#include "support/failing_allocations.hpp"
#include "support/fixtures.hpp"
#include "support/safetensors_builder.hpp"

namespace heft::sweeps {

using test::FailingAllocations;

// The results of a call. Codes of Error count from 1 on.
inline constexpr int done = 0;
inline constexpr int no_memory = -1;
inline constexpr int other_exception = -2;

// Catches without allocating.
template <class Call>
int outcome(const Call& call) noexcept {
  try {
    call();
    return done;
  } catch (const Error& error) {
    return error.code() == ErrorCode::out_of_memory ? no_memory : 1 + static_cast<int>(error.code());
  } catch (const std::bad_alloc&) {
    return no_memory;
  } catch (...) {
    return other_exception;
  }
}

inline std::size_t open_descriptors() {
  DIR* const folder = ::opendir("/proc/self/fd");
  std::size_t count = 0;
  while (::readdir(folder) != nullptr) ++count;
  ::closedir(folder);
  return count;
}

struct Counts {
  std::uint64_t allocations = 0;  // of the call when nothing fails
  std::uint64_t failed = 0;       // calls in which an allocation failed
  std::uint64_t refused = 0;      // of those: bad_alloc or out_of_memory
  std::uint64_t absorbed = 0;     // of those: came to what they come to otherwise
};

// For the terminate handler, which has no memory to say it with.
inline std::array<char, 120> current_call{};
inline std::uint64_t current_number = 0;

[[noreturn]] inline void tell_and_abort() {
  std::fprintf(stderr, "terminated: '%s', allocation %llu\n", current_call.data(),
               static_cast<unsigned long long>(current_number));
  std::abort();
}

struct Failed {
  int came_to = done;
  bool any = false;
  std::int64_t lost_blocks = 0;
  std::int64_t lost_mappings = 0;
};

inline Failed failed(const std::function<void()>& call, std::uint64_t number, std::uint64_t times) {
  Failed result{.lost_blocks = -test::live_blocks(), .lost_mappings = -test::live_mappings()};
  {
    const FailingAllocations memory(number, times);
    result.came_to = outcome(call);
    result.any = memory.failed() > 0;
  }
  result.lost_blocks += test::live_blocks();
  result.lost_mappings += test::live_mappings();
  return result;
}

// The requirement of a sweep on blocks: none is lost; or nothing, where a library loses some.
enum class Blocks : std::uint8_t { kept, may_be_lost };

inline void sweep_one(const std::function<void()>& call, int expected, std::uint64_t number, std::uint64_t times,
                      Counts& counts, Blocks blocks) {
  current_number = number;
  CAPTURE(number);
  CAPTURE(times);
  Failed result = failed(call, number, times);
  // The unwinder, and the test framework, may have kept something for good on the first way through here.
  if (result.lost_blocks != 0) result = failed(call, number, times);
  CHECK((result.came_to == expected || result.came_to == no_memory));
  if (blocks == Blocks::kept) CHECK(result.lost_blocks == 0);
  CHECK(result.lost_mappings == 0);
  if (times != 1) CHECK(outcome(call) == expected);
  if (!result.any) return;
  ++counts.failed;
  ++(result.came_to == no_memory ? counts.refused : counts.absorbed);
}

// Fails each allocation of `call`, which comes to `expected` when none fails.
inline Counts sweep(const std::string& name, const std::function<void()>& call, int expected = done,
                    Blocks blocks = Blocks::kept) {
  CAPTURE(name);
  std::snprintf(current_call.data(), current_call.size(), "%s", name.c_str());
  const std::terminate_handler before = std::set_terminate(tell_and_abort);
  // What is made once and stays, is there after the first calls.
  for (int i = 0; i < 2; ++i) REQUIRE(outcome(call) == expected);
  const std::size_t descriptors = open_descriptors();
  Counts counts;
  {
    const FailingAllocations none(FailingAllocations::for_ever, 0);
    static_cast<void>(outcome(call));
    counts.allocations = none.asked();
  }
  for (std::uint64_t number = 0; number < counts.allocations; ++number)
    // For ever first: no exception has passed yet, and what lets one through for the first time has no memory either.
    for (const std::uint64_t times : {FailingAllocations::for_ever, std::uint64_t{1}})
      sweep_one(call, expected, number, times, counts, blocks);
  CHECK(open_descriptors() == descriptors);
  std::set_terminate(before);
  return counts;
}

// The counts of several sweeps, told when it dies.
class Tally {
 public:
  explicit Tally(std::string what) : what_(std::move(what)) {}
  ~Tally() {
    CHECK(sum_.failed > 0);
    MESSAGE(what_, ": ", calls_, " calls, ", sum_.allocations, " allocations; failed ", sum_.failed, ": refused ",
            sum_.refused, ", absorbed ", sum_.absorbed);
  }
  Tally(const Tally&) = delete;
  Tally& operator=(const Tally&) = delete;

  void add(const std::string& name, const std::function<void()>& call, int expected = done,
           Blocks blocks = Blocks::kept) {
    const Counts counts = sweep(name, call, expected, blocks);
    ++calls_;
    sum_.allocations += counts.allocations;
    sum_.failed += counts.failed;
    sum_.refused += counts.refused;
    sum_.absorbed += counts.absorbed;
  }

 private:
  std::string what_;
  std::uint64_t calls_ = 0;
  Counts sum_;
};

constexpr int expected(ErrorCode code) { return 1 + static_cast<int>(code); }

// Small tensors of every kind of name and rank, and metadata.
inline std::string small_model() {
  test::SafetensorsBuilder file;
  for (int layer = 0; layer < 3; ++layer) {
    const std::string prefix = "model.layers." + std::to_string(2 * layer) + ".";
    file.add(prefix + "norm.weight", "F32", {2}, test::pattern(8));
    file.add(prefix + "up.weight", "BF16", {4, 2}, test::pattern(16));
  }
  file.add("eight_dims", "F32", {1, 2, 1, 2, 1, 2, 1, 2}, test::pattern(64));
  file.metadata("format", "pt").metadata("steps", "12");
  return file.build();
}

// Enough for two threads: large tensors and small ones.
inline std::string large_model() {
  test::SafetensorsBuilder file;
  file.align(4096);
  for (int i = 0; i < 4; ++i)
    file.add("large." + std::to_string(i), "BF16", {1024, 1024},
             test::pattern(2u << 20, static_cast<std::uint32_t>(i)));
  for (int i = 0; i < 20; ++i) file.add("small." + std::to_string(i), "F16", {11, 37}, test::pattern(11 * 37 * 2));
  return file.build();
}

// Some of it converted, a part of one tensor transposed.
inline LoadPlan plan_of(const Checkpoint& checkpoint) {
  LoadPlan plan;
  for (const TensorView& view : checkpoint.tensors()) {
    if (view.name() == "large.1")
      plan.add(view.slice(0, 0, 64).transpose(0, 1));
    else
      plan.add(view, view.name().starts_with("small") ? DType::f32 : view.dtype());
  }
  return plan;
}

struct Layer {
  TensorView norm;
  std::optional<TensorView> bias;
  template <class Fields>
  void describe(Fields& f) {
    f("norm.weight", norm).alias("gamma").alias("scale.of.the.norm.under.a.name.that.is.long");
    f("bias", bias);
  }
};

struct Network {
  std::vector<Layer> layers;
  std::int64_t steps = 0;
  template <class Fields>
  void describe(Fields& f) {
    f("layers", layers);
    f("steps", steps).default_value(-1);
  }
};

inline void walk(const Record& record) {
  for (std::size_t i = 0; i < record.size(); ++i) {
    static_cast<void>(record.key(i));
    walk(record.child(i));
  }
}

}  // namespace heft::sweeps
