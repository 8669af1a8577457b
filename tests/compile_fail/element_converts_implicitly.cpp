// Narrowing to bf16 loses bits: it is asked for by name.
// expect: conversion|no viable
#include <heft/element.hpp>

heft::bf16 narrow(float value) {
#ifdef MUST_FAIL
  const heft::bf16 narrowed = value;
#else
  const heft::bf16 narrowed{value};
#endif
  return narrowed;
}
