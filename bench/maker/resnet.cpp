// Names and shapes of torchvision's ResNet-152: bottlenecks of 1x1, 3x3 and 1x1 convolutions, each with a batch norm.
#include <array>

#include <fmt/format.h>

#include "maker/published.hpp"

namespace bench {

namespace {

void add_norm(std::vector<Tensor>& out, const std::string& name, std::int64_t channels) {
  for (std::string_view part : {"weight", "bias", "running_mean", "running_var"})
    out.push_back({fmt::format("{}.{}", name, part), Kind::f32, {channels}});
  out.push_back({name + ".num_batches_tracked", Kind::i64, {}});
}

void add_convolution(std::vector<Tensor>& out, const std::string& name, std::int64_t to, std::int64_t from,
                     std::int64_t kernel) {
  out.push_back({name + ".weight", Kind::f32, {to, from, kernel, kernel}});
}

void add_bottleneck(std::vector<Tensor>& out, const std::string& name, std::int64_t from, std::int64_t width,
                    bool downsample) {
  add_convolution(out, name + ".conv1", width, from, 1);
  add_norm(out, name + ".bn1", width);
  add_convolution(out, name + ".conv2", width, width, 3);
  add_norm(out, name + ".bn2", width);
  add_convolution(out, name + ".conv3", 4 * width, width, 1);
  add_norm(out, name + ".bn3", 4 * width);
  if (!downsample) return;
  add_convolution(out, name + ".downsample.0", 4 * width, from, 1);
  add_norm(out, name + ".downsample.1", 4 * width);
}

}  // namespace

std::vector<Tensor> resnet_152() {
  constexpr std::array<int, 4> blocks = {3, 8, 36, 3};
  std::vector<Tensor> out;
  add_convolution(out, "conv1", 64, 3, 7);
  add_norm(out, "bn1", 64);
  std::int64_t from = 64;
  for (std::size_t stage = 0; stage < blocks.size(); ++stage) {
    const std::int64_t width = std::int64_t{64} << stage;
    for (int block = 0; block < blocks[stage]; ++block) {
      add_bottleneck(out, fmt::format("layer{}.{}", stage + 1, block), from, width, block == 0);
      from = 4 * width;
    }
  }
  out.push_back({"fc.weight", Kind::f32, {1000, from}});
  out.push_back({"fc.bias", Kind::f32, {1000}});
  return out;
}

}  // namespace bench
