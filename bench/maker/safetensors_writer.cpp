// safetensors: u64 header length | JSON, padded with spaces to 8 bytes | tensors without gaps.
#include <algorithm>

#include <fmt/format.h>

#include "maker/output.hpp"
#include "maker/writers.hpp"

namespace bench {

namespace {

// Returns tensors in the order of the format's library: wide types first, so that all are aligned, then by name.
Shard in_file_order(Shard shard) {
  std::stable_sort(shard.begin(), shard.end(), [](const Tensor& a, const Tensor& b) {
    const std::uint32_t wide_a = info(a.kind).bytes, wide_b = info(b.kind).bytes;
    return wide_a != wide_b ? wide_a > wide_b : a.name < b.name;
  });
  return shard;
}

std::string header_of(const Shard& shard) {
  std::string json = R"({"__metadata__":{"format":"pt"})";
  std::uint64_t begin = 0;
  for (const Tensor& t : shard) {
    const std::uint64_t end = begin + t.bytes();
    fmt::format_to(std::back_inserter(json), R"(,"{}":{{"dtype":"{}","shape":[{}],"data_offsets":[{},{}]}})", t.name,
                   info(t.kind).safetensors, fmt::join(t.shape, ","), begin, end);
    begin = end;
  }
  json += '}';
  json.resize((json.size() + 7) / 8 * 8, ' ');
  return json;
}

void write_shard(const Shard& shard, bool sparse, const std::filesystem::path& path, Progress& progress) {
  const Shard ordered = in_file_order(shard);
  const std::string header = header_of(ordered);
  std::vector<std::byte> length;
  put_le<std::uint64_t>(length, header.size());
  Output out(path, progress);
  out.append(length);
  out.append(header);
  for (const Tensor& t : ordered) {
    if (sparse)
      out.skip(t.bytes());
    else
      out.append_payload(t);
  }
  out.commit();
}

void write_index(const Model& model, const std::vector<std::string>& files, const std::filesystem::path& path,
                 Progress& progress) {
  std::string json =
      fmt::format("{{\n  \"metadata\": {{\n    \"total_size\": {}\n  }},\n  \"weight_map\": {{", model.bytes());
  std::string_view comma = "\n";
  for (std::size_t s = 0; s < model.shards.size(); ++s) {
    for (const Tensor& t : model.shards[s]) {
      fmt::format_to(std::back_inserter(json), "{}    \"{}\": \"{}\"", comma, t.name, files[s]);
      comma = ",\n";
    }
  }
  json += "\n  }\n}\n";
  Output out(path, progress);
  out.append(json);
  out.commit();
}

}  // namespace

void write_safetensors(const Model& model, const std::filesystem::path& path, Progress& progress) {
  if (model.shards.size() == 1) return write_shard(model.shards[0], model.sparse, path, progress);
  std::filesystem::create_directory(path);
  std::vector<std::string> files;
  for (std::size_t s = 0; s < model.shards.size(); ++s) {
    files.push_back(fmt::format(fmt::runtime(model.shard_pattern), s + 1, model.shards.size()));
    write_shard(model.shards[s], model.sparse, path / files.back(), progress);
  }
  write_index(model, files, path / "model.safetensors.index.json", progress);
}

}  // namespace bench
