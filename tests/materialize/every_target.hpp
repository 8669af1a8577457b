// Runs a check on every SIMD target that this machine has.
#pragma once

#include <doctest/doctest.h>
#include <hwy/targets.h>

namespace heft::test {

/// Calls `check` once for each target that the kernels were compiled for and the processor can run.
template <class Check>
void on_every_target(Check check) {
  for (const std::int64_t target : hwy::SupportedAndGeneratedTargets()) {
    INFO("target ", hwy::TargetName(target));
    hwy::SetSupportedTargetsForTest(target);
    hwy::GetChosenTarget().Update(hwy::SupportedTargets());
    check();
  }
  hwy::SetSupportedTargetsForTest(0);
  hwy::GetChosenTarget().DeInit();
}

}  // namespace heft::test
