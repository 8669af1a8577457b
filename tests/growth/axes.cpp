#include "axes.hpp"

#include <cmath>
#include <filesystem>
#include <functional>
#include <string>
#include <utility>
#include <vector>

#include <fmt/format.h>

#include "support/burnpack_builder.hpp"
#include "support/cbor_builder.hpp"
#include "support/dcp_builder.hpp"
#include "support/gguf_builder.hpp"
#include "support/pickle_builder.hpp"
#include "support/safetensors_builder.hpp"
#include "support/tar_builder.hpp"
#include "support/torch_builder.hpp"
#include "support/zip_builder.hpp"

namespace heft::test {
namespace {

using NameOf = std::function<std::string(std::size_t)>;

std::string repeated(std::string_view text, std::size_t times) {
  std::string all;
  for (std::size_t i = 0; i < times; ++i) all += text;
  return all;
}

// Tensors of one f32 each.
std::string safetensors_of(std::size_t count, const NameOf& name_of) {
  SafetensorsBuilder builder;
  for (std::size_t i = 0; i < count; ++i) builder.add(name_of(i), "F32", {1}, packed<float>({1.5F}));
  return builder.build();
}

std::string plain_name(std::size_t i) { return fmt::format("tensor{:07}", i); }

std::string gguf_of(std::size_t count) {
  GgufBuilder builder;
  for (std::size_t i = 0; i < count; ++i) builder.tensor(plain_name(i), {1}, 0, packed<float>({1.5F}));
  return builder.build();
}

std::string npy_of(float value) {
  const std::string header = "{'descr': '<f4', 'fortran_order': False, 'shape': (1,), }";
  const std::size_t size = (header.size() + 1 + 10 + 63) / 64 * 64 - 10;
  return std::string("\x93NUMPY\x01\x00", 8) + little(size, 2) + header + std::string(size - header.size() - 1, ' ') +
         '\n' + packed<float>({value});
}

std::string npz_of(std::size_t count) {
  ZipBuilder zip;
  const std::string member = npy_of(1.5F);
  for (std::size_t i = 0; i < count; ++i) zip.add(plain_name(i) + ".npy", member);
  return zip.build();
}

std::string torch_views_of(std::size_t count) {
  std::vector<std::string> items;
  for (std::size_t i = 0; i < count; ++i) {
    items.push_back(pickle::text(plain_name(i)));
    items.push_back(pickle::tensor("0", 4, 0, {4}, {1}));
  }
  return pickle::torch_file(pickle::dict(items), {packed<float>({1, 2, 3, 4})});
}

std::string torch_storages_of(std::size_t count, bool deflate) {
  TorchBuilder builder;
  if (deflate) builder.deflate();
  for (std::size_t i = 0; i < count; ++i) builder.tensor(plain_name(i), "FloatStorage", {1}, packed<float>({1.5F}));
  return builder.build();
}

// Each with a storage of its own.
std::string torch_stream_of(std::size_t count) {
  std::vector<std::string> items;
  for (std::size_t i = 0; i < count; ++i) {
    items.push_back(pickle::text(plain_name(i)));
    items.push_back(pickle::tensor(fmt::format("{}", i), 1, 0, {1}, {1}));
  }
  return pickle::torch_stream(pickle::dict(items), std::vector<std::string>(count, packed<float>({1.5F})),
                              sizeof(float));
}

// As PyTorch wrote in 2016; each tensor with a storage of its own.
std::string torch_tar_of(std::size_t count) {
  const auto number = [](std::size_t value) { return pickle::integer(static_cast<std::int32_t>(value)); };
  std::string storages = pickle::pickled(number(count));
  std::string tensors = storages;
  std::vector<std::string> items;
  for (std::size_t i = 0; i < count; ++i) {
    storages +=
        pickle::pickled(pickle::tuple({number(i), pickle::text("cpu"), pickle::global("torch", "FloatStorage")})) +
        little(1, 8) + packed<float>({1.5F});
    tensors += pickle::pickled(pickle::tuple({number(count + i), number(i), pickle::global("torch", "FloatTensor")})) +
               little(1, 4) + little(0, 4) + little(1, 8) + little(1, 8) + little(0, 8);
    items.push_back(pickle::text(plain_name(i)));
    items.push_back(number(count + i) + "Q");
  }
  return tar_file({{"sys_info", pickle::pickled(pickle::dict({pickle::text("protocol_version"), number(1000)}))},
                   {"storages", storages + pickle::pickled(pickle::list({}))},
                   {"tensors", tensors},
                   {"pickle", pickle::pickled(pickle::dict(items))}});
}

std::string burnpack_of(std::size_t count) {
  constexpr std::uint64_t step = 256;
  std::vector<std::string> tensors;
  std::string data;
  for (std::size_t i = 0; i < count; ++i) {
    data.resize(i * step);
    tensors.push_back(cbor::text(plain_name(i)));
    tensors.push_back(burnpack::tensor(cbor::text("F32"), {1}, data.size(), data.size() + sizeof(float)));
    data += packed<float>({1.5F});
  }
  return burnpack::file(burnpack::metadata(tensors), data);
}

// A checkpoint of torch.distributed, written once. `fill` adds what it holds.
std::string distributed(const TempFolder& folder, const std::string& name,
                        const std::function<void(DcpBuilder&)>& fill) {
  const std::filesystem::path path = folder.path() / name;
  if (std::filesystem::exists(path)) return path;
  DcpBuilder builder;
  fill(builder);
  builder.write(folder, name);
  return path;
}

// One square tensor cut along both dims.
std::string tiles(const TempFolder& folder, std::size_t count) {
  const int side = static_cast<int>(std::lround(std::sqrt(count)));
  return distributed(folder, fmt::format("tiles-{}", count), [side](DcpBuilder& builder) {
    builder.tensor("w", {side, side});
    for (int i = 0; i < side; ++i)
      for (int j = 0; j < side; ++j) builder.chunk({i, j}, {1, 1}, packed<float>({1.5F}));
  });
}

// Tensors, each cut in two.
std::string cut_tensors(const TempFolder& folder, std::size_t count) {
  return distributed(folder, fmt::format("cut-{}", count), [count](DcpBuilder& builder) {
    for (std::size_t i = 0; i < count; ++i)
      builder.tensor(plain_name(i), {2}).chunk({0}, {1}, packed<float>({1.5F})).chunk({1}, {1}, packed<float>({2.5F}));
  });
}

std::string pickled_values(const TempFolder& folder, std::size_t count) {
  return distributed(folder, fmt::format("values-{}", count), [count](DcpBuilder& builder) {
    for (std::size_t i = 0; i < count; ++i) builder.value(plain_name(i), "K\x01");
  });
}

// A tensor under every name of `parts` parts, of which the first differs, so that no two share a part.
std::string many_parts(std::size_t parts) {
  return safetensors_of(50, [&](std::size_t i) { return fmt::format("m{}{}", i, repeated(".d", parts)); });
}

// Names whose paths share all but the end: one deep branch with leaves at every depth.
std::string comb(std::size_t count) {
  return safetensors_of(count, [](std::size_t i) { return fmt::format("{}w{}", repeated("a.", i % 200), i); });
}

std::string long_names(std::size_t bytes) {
  return safetensors_of(60, [&](std::size_t i) { return fmt::format("{}{:04}", std::string(bytes, 'n'), i); });
}

std::string many_dims(std::size_t rank) {
  SafetensorsBuilder builder;
  for (std::size_t i = 0; i < 3000; ++i)
    builder.add(plain_name(i), "F32", std::vector<std::int64_t>(rank, 1), packed<float>({1.5F}));
  return builder.build();
}

std::string shard_name(std::size_t i) { return fmt::format("part-{:05}.safetensors", i); }

// An index of as many files, each of one tensor; written once.
std::string shards(const std::filesystem::path& folder, std::size_t count) {
  const std::filesystem::path index = folder / fmt::format("shards-{}", count) / "model.safetensors.index.json";
  if (std::filesystem::exists(index)) return index;
  const TempFolder& unused = TempFolder();
  std::filesystem::create_directories(index.parent_path());
  std::string map;
  for (std::size_t i = 0; i < count; ++i) {
    unused.write("s", safetensors_of(1, [&](std::size_t) { return plain_name(i); }));
    std::filesystem::rename(unused.path() / "s", index.parent_path() / shard_name(i));
    map += fmt::format("{}\"{}\":\"{}\"", i == 0 ? "" : ",", plain_name(i), shard_name(i));
  }
  unused.write("i", fmt::format("{{\"metadata\":{{}},\"weight_map\":{{{}}}}}", map));
  std::filesystem::rename(unused.path() / "i", index);
  return index;
}

std::string pickle_file(const std::string& object) { return pickle::torch_file(object, {}); }

std::string items(std::size_t count, const NameOf& item) {
  std::string all;
  for (std::size_t i = 0; i < count; ++i) all += item(i);
  return all;
}

std::string value_keys(std::size_t count) {
  return pickle_file("}(" + pickle::text("map") + "}(" +
                     items(count, [](std::size_t i) { return pickle::text(plain_name(i)) + "K\x01"; }) + "uu");
}

std::string integer_keys(std::size_t count) {
  return pickle_file("}(" + pickle::text("map") + "}(" +
                     items(count, [](std::size_t i) { return pickle::integer(static_cast<std::int32_t>(i)) + "N"; }) +
                     "uu");
}

std::string one_by_one(std::size_t count) {
  return pickle_file("}(" + pickle::text("map") + "}" +
                     items(count, [](std::size_t i) { return pickle::text(plain_name(i)) + "Ns"; }) + "u");
}

std::string list_elements(std::size_t count) {
  return pickle_file("}(" + pickle::text("list") + "](" + repeated("K\x01", count) + "eu");
}

std::string lists_in_list(std::size_t count) {
  return pickle_file("}(" + pickle::text("list") + "](" +
                     repeated("](K\x01"
                              "e",
                              count) +
                     "eu");
}

std::string memo_entries(std::size_t count) {
  return pickle_file("}(" + pickle::text("list") + "](" +
                     items(count, [](std::size_t i) { return "Nr" + little(i, 4) + "j" + little(i, 4); }) + "eu");
}

std::string classes(std::size_t count) {
  return pickle_file("}(" + pickle::text("list") + "](" +
                     items(count, [](std::size_t i) { return fmt::format("cm{}\nC\n)\x81", i); }) + "eu");
}

// Lists in lists: each holds the next.
std::string nesting(std::size_t count) {
  return pickle_file("}(" + pickle::text("list") + "](" + repeated(repeated("](", 180) + repeated("e", 180), count) +
                     "eu");
}

std::string metadata_keys(std::size_t count) {
  SafetensorsBuilder builder;
  for (std::size_t i = 0; i < count; ++i) builder.metadata(fmt::format("key.{}", i), "value");
  return builder.build();
}

std::string gguf_pairs(std::size_t count) {
  GgufBuilder builder;
  for (std::size_t i = 0; i < count; ++i) builder.text(fmt::format("key.{}", i), "value");
  return builder.build();
}

std::string gguf_elements(std::size_t count) {
  GgufBuilder builder;
  builder.pair("words", GgufValue::array,
               builder.array_head(GgufValue::string, count) + repeated(builder.string("word"), count));
  return builder.build();
}

std::string zip_entries(std::size_t count) {
  ZipBuilder zip;
  zip.add({.name = "archive/data.pkl", .content = pickle::proto() + "}."});
  for (std::size_t i = 0; i < count; ++i) zip.add(fmt::format("archive/data/x{}", i), "");
  return zip.add("archive/version", "3\n").build();
}

// A file that `content` makes, written when it is asked for the first time.
Axis file_axis(const TempFolder& folder, std::string name, std::size_t size, std::string suffix,
               std::function<std::string(std::size_t)> content) {
  const auto make = [&folder, name, suffix, content = std::move(content)](std::size_t count) {
    std::string file = fmt::format("{}-{}{}", name, count, suffix);
    for (char& c : file) c = c == ' ' || c == '\'' ? '_' : c;
    const std::filesystem::path path = folder.path() / file;
    return (std::filesystem::exists(path) ? path : folder.write(file, content(count))).string();
  };
  return {std::move(name), size, make};
}

}  // namespace

std::vector<Axis> tensor_axes(const TempFolder& folder) {
  const auto torch_stored = [](std::size_t count) { return torch_storages_of(count, false); };
  const auto torch_deflated = [](std::size_t count) { return torch_storages_of(count, true); };
  return {
      file_axis(folder, "tensors", 8000, ".safetensors",
                [](std::size_t count) { return safetensors_of(count, plain_name); }),
      file_axis(folder, "tensors of gguf", 4000, ".gguf", gguf_of),
      file_axis(folder, "members of npz", 2000, ".npz", npz_of),
      file_axis(folder, "views of one storage", 3000, ".pt", torch_views_of),
      file_axis(folder, "storages", 2000, ".pt", torch_stored),
      file_axis(folder, "deflated storages", 1000, ".pt", torch_deflated),
      file_axis(folder, "names' length", 16'000, ".safetensors", long_names),
      file_axis(folder, "names' parts", 240, ".safetensors", many_parts),
      file_axis(folder, "leaves at every depth", 1000, ".safetensors", comb),
      file_axis(folder, "dims", 8, ".safetensors", many_dims),
      file_axis(folder, "storages of a stream", 2000, ".pt", torch_stream_of),
      file_axis(folder, "tensors of a tar", 2000, ".tar", torch_tar_of),
      file_axis(folder, "tensors of burnpack", 4000, ".bpk", burnpack_of),
      {"shards", 100, [path = folder.path()](std::size_t count) { return shards(path, count); }},
      {"tiles of one tensor", 256, [&folder](std::size_t count) { return tiles(folder, count); }},
      {"tensors cut in two", 200, [&folder](std::size_t count) { return cut_tensors(folder, count); }},
  };
}

std::vector<Axis> value_axes(const TempFolder& folder) {
  return {
      file_axis(folder, "keys of a map", 8000, ".pt", value_keys),
      file_axis(folder, "integer keys", 8000, ".pt", integer_keys),
      file_axis(folder, "keys set one by one", 8000, ".pt", one_by_one),
      file_axis(folder, "elements of a list", 20'000, ".pt", list_elements),
      file_axis(folder, "lists in a list", 10'000, ".pt", lists_in_list),
      file_axis(folder, "memo entries", 10'000, ".pt", memo_entries),
      file_axis(folder, "classes", 4000, ".pt", classes),
      file_axis(folder, "nests of lists", 50, ".pt", nesting),
      file_axis(folder, "metadata keys", 8000, ".safetensors", metadata_keys),
      file_axis(folder, "pairs of gguf", 8000, ".gguf", gguf_pairs),
      file_axis(folder, "elements of a gguf array", 20'000, ".gguf", gguf_elements),
      file_axis(folder, "zip entries", 4000, ".pt", zip_entries),
      {"pickled values", 200, [&folder](std::size_t count) { return pickled_values(folder, count); }},
  };
}

}  // namespace heft::test
