// GGUF: magic | u32 version | u64 tensors | u64 keys | keys | tensor infos | padding to 32 | tensors, each padded
// to 32.
#include <stdexcept>

#include <fmt/format.h>

#include "maker/gguf_metadata.hpp"
#include "maker/output.hpp"
#include "maker/writers.hpp"

namespace bench {

namespace {

constexpr std::uint64_t alignment = 32;

constexpr std::uint64_t padded(std::uint64_t bytes) { return (bytes + alignment - 1) / alignment * alignment; }

std::uint32_t ggml_type(const Tensor& t) {
  const KindInfo& kind = info(t.kind);
  if (kind.ggml == KindInfo::none) throw std::runtime_error(fmt::format("{}: GGUF has no type {}", t.name, kind.name));
  return kind.ggml;
}

void put_string(std::vector<std::byte>& out, std::string_view text) {
  put_le<std::uint64_t>(out, text.size());
  put_text(out, text);
}

void put_info(std::vector<std::byte>& out, const Tensor& t, std::uint64_t offset) {
  put_string(out, t.name);
  put_le<std::uint32_t>(out, static_cast<std::uint32_t>(t.shape.size()));
  for (std::size_t i = t.shape.size(); i-- > 0;) put_le<std::uint64_t>(out, static_cast<std::uint64_t>(t.shape[i]));
  put_le<std::uint32_t>(out, ggml_type(t));
  put_le<std::uint64_t>(out, offset);
}

}  // namespace

void write_gguf(const Model& model, const std::filesystem::path& path, Progress& progress) {
  const GgufMetadata metadata = gguf_metadata(model);
  std::vector<std::byte> head;
  put_text(head, "GGUF");
  put_le<std::uint32_t>(head, 3);
  put_le<std::uint64_t>(head, model.tensor_count());
  put_le<std::uint64_t>(head, metadata.pairs);
  head.insert(head.end(), metadata.bytes.begin(), metadata.bytes.end());
  std::uint64_t offset = 0;
  for (const Shard& shard : model.shards) {
    for (const Tensor& t : shard) {
      put_info(head, t, offset);
      offset += padded(t.bytes());
    }
  }
  head.resize(padded(head.size()));
  Output out(path, progress);
  out.append(head);
  for (const Shard& shard : model.shards) {
    for (const Tensor& t : shard) {
      out.append_payload(t);
      out.skip(padded(t.bytes()) - t.bytes());
    }
  }
  out.commit();
}

}  // namespace bench
