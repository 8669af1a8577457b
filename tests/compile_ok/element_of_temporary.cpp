// Elements are returned by value, by the view, by the slice and by a slice of the materialized tensor.
#include <heft/heft.hpp>

float corner(const char* path) {
  return heft::open(path).tensor("w").read<float>(0, 0) + heft::open(path).tensor("w").as<float>()[0] +
         heft::materialize(heft::open(path).tensor("w"), heft::DType::f32).slice<float>()[0];
}
