// Makes distributed checkpoints as torch.distributed.checkpoint does: chunks of tensors and pickled values in
// files, and the index .metadata.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "support/pickle_builder.hpp"
#include "support/temp_folder.hpp"

namespace heft::test {

/// Every part is public and can be changed to an invalid value before write().
class DcpBuilder {
 public:
  using Dims = std::vector<int>;

  struct Stored {
    std::string file;
    std::uint64_t offset = 0;
    std::uint64_t size = 0;
  };
  struct Chunk {
    Dims at;
    Dims sizes;
    Stored stored;
    bool is_declared = true;  ///< In storage_data.
  };
  struct Tensor {
    std::string name;
    std::string dtype;  ///< "float32"
    Dims sizes;
    std::vector<Chunk> chunks;
  };
  struct Value {
    std::string name;
    Stored stored;
  };

  DcpBuilder& tensor(std::string name, const Dims& sizes, std::string dtype = "float32") {
    tensors.push_back({std::move(name), std::move(dtype), sizes, {}});
    return *this;
  }
  /// Adds a chunk of the tensor added last.
  DcpBuilder& chunk(const Dims& at, const Dims& sizes, const std::string& payload,
                    const std::string& file = "__0_0.distcp", std::string_view storage = "FloatStorage") {
    int count = 1;
    Dims strides(sizes.size());
    for (std::size_t dim = sizes.size(); dim-- > 0; count *= sizes[dim]) strides[dim] = count;
    const std::string saved = pickle::torch_file(pickle::tensor("0", count, 0, sizes, strides, storage), {payload});
    tensors.back().chunks.push_back({at, sizes, store(file, saved)});
    return *this;
  }
  DcpBuilder& value(std::string name, const std::string& pickled, const std::string& file = "__0_0.distcp") {
    values.push_back({std::move(name), store(file, pickle::torch_file(pickled))});
    return *this;
  }
  Stored store(const std::string& file, const std::string& bytes) {
    std::string& content = files[file];
    const Stored stored{file, content.size(), bytes.size()};
    content += bytes;
    return stored;
  }

  [[nodiscard]] std::string metadata() const {
    using namespace pickle;
    std::vector<std::string> declared, stored;
    for (const Tensor& one : tensors) {
      std::vector<std::string> chunks;
      for (const Chunk& chunk : one.chunks) {
        chunks.push_back(object(module, "ChunkStorageMetadata",
                                dict({text("offsets"), size(chunk.at), text("sizes"), size(chunk.sizes)})));
        if (!chunk.is_declared) continue;
        stored.push_back(key(one.name, size(chunk.at)));
        stored.push_back(place(chunk.stored));
      }
      const std::string properties =
          object(module, "TensorProperties", tuple({global("torch", one.dtype), "N", "\x89", "N", "\x89"}));
      declared.push_back(text(one.name));
      declared.push_back(
          object(module, "TensorStorageMetadata",
                 dict({text("properties"), properties, text("size"), size(one.sizes), text("chunks"), list(chunks)})));
    }
    for (const Value& one : values) {
      declared.push_back(text(one.name));
      declared.push_back(global(module, "BytesStorageMetadata") + ")\x81");
      stored.push_back(key(one.name, "N"));
      stored.push_back(place(one.stored));
    }
    return proto() +
           object(module, "Metadata",
                  dict({text("state_dict_metadata"), dict(declared), text("planner_data"), "N", text("storage_data"),
                        dict(stored)})) +
           ".";
  }

  void write(const TempFolder& folder, const std::string& name = "") const {
    const std::string prefix = name.empty() ? "" : name + "/";
    for (const auto& [file, content] : files) folder.write(prefix + file, content);
    folder.write(prefix + ".metadata", metadata());
  }

  std::vector<Tensor> tensors;
  std::vector<Value> values;
  std::map<std::string, std::string> files;
  std::string transform;  ///< Of all places; empty: none.

 private:
  static constexpr std::string_view module = "torch.distributed.checkpoint.metadata";

  static std::string size(const Dims& dims) { return pickle::call("torch", "Size", {pickle::integers(dims)}); }
  static std::string key(const std::string& name, const std::string& offset) {
    using namespace pickle;
    return object(module, "MetadataIndex", dict({text("fqn"), text(name), text("offset"), offset, text("index"), "N"}));
  }
  [[nodiscard]] std::string place(const Stored& stored) const {
    using namespace pickle;
    return object("torch.distributed.checkpoint.filesystem", "_StorageInfo",
                  dict({text("relative_path"), text(stored.file), text("offset"),
                        integer(static_cast<std::int32_t>(stored.offset)), text("length"),
                        integer(static_cast<std::int32_t>(stored.size)), text("transform_descriptors"),
                        transform.empty() ? std::string("N") : list({text(transform)})}));
  }
};

}  // namespace heft::test
