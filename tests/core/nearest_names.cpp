#include "core/nearest_names.hpp"

#include <string>
#include <vector>

#include <doctest/doctest.h>
#include <fmt/format.h>

using heft::core::did_you_mean;
using heft::core::NearestNames;

namespace {

std::vector<std::string> nearest(std::string_view wanted, const std::vector<std::string>& names) {
  NearestNames nearest(wanted);
  for (const std::string& name : names) nearest.offer(name);
  return nearest.found();
}

// Returns the names of a transformer with that many layers.
std::vector<std::string> layer_names(int layers) {
  std::vector<std::string> names;
  for (int layer = 0; layer < layers; ++layer)
    for (const char* part : {"self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj", "self_attn.o_proj",
                             "mlp.up_proj", "mlp.down_proj"})
      names.push_back(fmt::format("model.layers.{}.{}.weight", layer, part));
  return names;
}

}  // namespace

TEST_CASE("nearest names: the nearest first") {
  const std::vector<std::string> names = {"model.norm.bias", "lm_head.weight", "model.norm.weight", "x"};
  CHECK(nearest("model.norm.wieght", names) == std::vector<std::string>{"model.norm.weight", "model.norm.bias"});
  CHECK(nearest("completely different", names).empty());
}

TEST_CASE("nearest names: did_you_mean() is a message") {
  const std::vector<std::string_view> names = {"model.norm.weight", "lm_head.weight", "x"};
  CHECK(did_you_mean("lm_head.weigh", names) == " (did you mean 'lm_head.weight'?)");
  CHECK(did_you_mean("y", names) == " (did you mean 'x'?)");
  CHECK(did_you_mean("zzzzzzzzzzzz", names).empty());
  CHECK(did_you_mean("", {}).empty());
}

TEST_CASE("nearest names: two typing errors among many names with a common prefix") {
  const std::vector<std::string> names = layer_names(500);
  CHECK(nearest("modle.layers.317.self_attn.q_porj.weight", names).front() ==
        "model.layers.317.self_attn.q_proj.weight");
  CHECK(nearest("model.layer.41.mlp.down_proj.weights", names).front() == "model.layers.41.mlp.down_proj.weight");
}

TEST_CASE("nearest names: long names are compared at both ends") {
  const std::string prefix(60'000, 'p');
  std::vector<std::string> names;
  for (int i = 0; i < 100; ++i) names.push_back(fmt::format("{}{:06}", prefix, 1000 * i));
  CHECK(nearest(prefix + "77O00", names).front() == prefix + "077000");
}

TEST_CASE("nearest names: at most 8 MiB of names are considered") {
  const std::string name(200, 'n');
  NearestNames nearest(name + "x");
  std::size_t looked_at = 0;
  while (nearest.offer(name)) ++looked_at;
  CHECK(looked_at == (8u << 20) / 200);
  CHECK(nearest.found() == std::vector<std::string>{name, name, name});
  // A long name counts by its compared bytes, an empty name as 8 bytes.
  NearestNames of_long_names(name);
  for (looked_at = 0; of_long_names.offer(std::string(60'000, 'n'));) ++looked_at;
  CHECK(looked_at == (8u << 20) / 256);
  NearestNames of_empty_names(name);
  for (looked_at = 0; of_empty_names.offer("");) ++looked_at;
  CHECK(looked_at == 1u << 20);
}
