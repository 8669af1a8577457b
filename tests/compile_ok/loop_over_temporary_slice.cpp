// A loop keeps the slice, and the slice the mapping.
#include <heft/checkpoint.hpp>

float sum(const char* path) {
  float total = heft::open(path).root()["model"]["layers"][0]["norm.weight"].tensor().as<float>()[0];
  for (const float value : heft::open(path).tensor("model.norm.weight").as<float>()) total += value;
  return total;
}
