// torch.save: the zip archive of PyTorch 1.6 and later, and the stream of pickles before it.
//
//   zip:     local header | "archive/data/0" | padding to 64 bytes | storage | descriptor | ...
//            | directory | zip64 end | locator | end
//   legacy:  pickled magic | protocol | system info | state dict | storage keys | { i64 elements | storage } ...
#include <fmt/format.h>
#include <libdeflate.h>

#include "maker/output.hpp"
#include "maker/state_dict_pickle.hpp"
#include "maker/writers.hpp"

namespace bench {

namespace {

std::vector<const Tensor*> flat(const Model& model) {
  std::vector<const Tensor*> out;
  for (const Shard& shard : model.shards)
    for (const Tensor& t : shard) out.push_back(&t);
  return out;
}

/// Writes stored records as PyTorch does: sizes and CRC are in the descriptor and the directory, not in the local
/// header; version and date are zero.
class Zip {
 public:
  Zip(Output& out, std::string prefix) : out_(out), prefix_(std::move(prefix)) {}

  void add(std::string_view name, std::span<const std::byte> bytes) {
    begin(name);
    out_.append(bytes);
    end(bytes.size(), libdeflate_crc32(0, bytes.data(), bytes.size()));
  }
  void add(std::string_view name, std::string_view text) { add(name, std::as_bytes(std::span(text))); }
  void add(std::string_view name, const Tensor& tensor) {
    begin(name);
    end(tensor.bytes(), out_.append_payload(tensor));
  }
  void finish();

 private:
  struct Entry {
    std::string name;
    std::uint64_t header, size;
    std::uint32_t crc;
  };
  static constexpr std::uint32_t all_ones = 0xffffffff;
  static constexpr std::uint16_t flags = 0x0808;  // descriptor follows; names are UTF-8

  void begin(std::string_view name);
  void end(std::uint64_t size, std::uint32_t crc);
  static void put_directory_entry(std::vector<std::byte>& out, const Entry& e);
  void put_end(std::vector<std::byte>& out, std::uint64_t directory, std::uint64_t directory_bytes) const;

  Output& out_;
  std::string prefix_;
  std::vector<Entry> entries_;
};

void Zip::begin(std::string_view name) {
  entries_.push_back({fmt::format("{}/{}", prefix_, name), out_.position(), 0, 0});
  const std::string& full = entries_.back().name;
  const std::uint64_t unpadded = out_.position() + 30 + full.size() + 4;
  const auto padding = static_cast<std::uint16_t>((64 - unpadded % 64) % 64);
  std::vector<std::byte> header;
  put_le<std::uint32_t>(header, 0x04034b50);
  put_le<std::uint16_t>(header, 0);
  put_le<std::uint16_t>(header, flags);
  header.resize(26);  // method, time, date, CRC and both sizes: zero
  put_le<std::uint16_t>(header, static_cast<std::uint16_t>(full.size()));
  put_le<std::uint16_t>(header, static_cast<std::uint16_t>(padding + 4));
  put_text(header, full);
  put_text(header, "FB");
  put_le<std::uint16_t>(header, padding);
  header.insert(header.end(), padding, std::byte{'Z'});
  out_.append(header);
}

void Zip::end(std::uint64_t size, std::uint32_t crc) {
  entries_.back().size = size;
  entries_.back().crc = crc;
  std::vector<std::byte> descriptor;
  put_le<std::uint32_t>(descriptor, 0x08074b50);
  put_le<std::uint32_t>(descriptor, crc);
  const bool wide = size >= all_ones;
  for (int twice = 0; twice < 2; ++twice) {
    if (wide)
      put_le<std::uint64_t>(descriptor, size);
    else
      put_le<std::uint32_t>(descriptor, static_cast<std::uint32_t>(size));
  }
  out_.append(descriptor);
}

void Zip::put_directory_entry(std::vector<std::byte>& out, const Entry& e) {
  std::vector<std::byte> wide;  // the zip64 field: the values that do not fit 32 bits
  if (e.size >= all_ones) put_le<std::uint64_t>(wide, e.size), put_le<std::uint64_t>(wide, e.size);
  if (e.header >= all_ones) put_le<std::uint64_t>(wide, e.header);
  const auto narrow = [](std::uint64_t v) { return static_cast<std::uint32_t>(std::min<std::uint64_t>(v, all_ones)); };
  put_le<std::uint32_t>(out, 0x02014b50);
  put_le<std::uint32_t>(out, 0);  // made by, needed
  put_le<std::uint16_t>(out, flags);
  put_le<std::uint16_t>(out, 0);  // stored
  put_le<std::uint32_t>(out, 0);  // time, date
  put_le<std::uint32_t>(out, e.crc);
  put_le<std::uint32_t>(out, narrow(e.size));
  put_le<std::uint32_t>(out, narrow(e.size));
  put_le<std::uint16_t>(out, static_cast<std::uint16_t>(e.name.size()));
  put_le<std::uint16_t>(out, static_cast<std::uint16_t>(wide.empty() ? 0 : wide.size() + 4));
  out.insert(out.end(), 10, std::byte{});  // comment, disk, attributes
  put_le<std::uint32_t>(out, narrow(e.header));
  put_text(out, e.name);
  if (wide.empty()) return;
  put_le<std::uint16_t>(out, 1);
  put_le<std::uint16_t>(out, static_cast<std::uint16_t>(wide.size()));
  out.insert(out.end(), wide.begin(), wide.end());
}

void Zip::put_end(std::vector<std::byte>& out, std::uint64_t directory, std::uint64_t directory_bytes) const {
  const std::uint64_t zip64_end = directory + directory_bytes;
  put_le<std::uint32_t>(out, 0x06064b50);
  put_le<std::uint64_t>(out, 44);
  put_le<std::uint32_t>(out, 0x002d031e);
  put_le<std::uint64_t>(out, 0);  // disks
  put_le<std::uint64_t>(out, entries_.size());
  put_le<std::uint64_t>(out, entries_.size());
  put_le<std::uint64_t>(out, directory_bytes);
  put_le<std::uint64_t>(out, directory);
  put_le<std::uint32_t>(out, 0x07064b50);
  put_le<std::uint32_t>(out, 0);
  put_le<std::uint64_t>(out, zip64_end);
  put_le<std::uint32_t>(out, 1);
  const auto count = static_cast<std::uint16_t>(std::min<std::size_t>(entries_.size(), 0xffff));
  put_le<std::uint32_t>(out, 0x06054b50);
  put_le<std::uint32_t>(out, 0);
  put_le<std::uint16_t>(out, count);
  put_le<std::uint16_t>(out, count);
  put_le<std::uint32_t>(out, static_cast<std::uint32_t>(std::min<std::uint64_t>(directory_bytes, all_ones)));
  put_le<std::uint32_t>(out, static_cast<std::uint32_t>(std::min<std::uint64_t>(directory, all_ones)));
  put_le<std::uint16_t>(out, 0);
}

void Zip::finish() {
  const std::uint64_t directory = out_.position();
  std::vector<std::byte> tail;
  for (const Entry& e : entries_) put_directory_entry(tail, e);
  put_end(tail, directory, tail.size());
  out_.append(tail);
}

std::vector<std::byte> system_info() {
  Pickle out;
  out.op('}');
  out.memoize();
  out.op('(');
  out.text("protocol_version");
  out.integer(1001);
  out.text("little_endian");
  out.op('\x88');
  out.text("type_sizes");
  out.op('}');
  out.memoize();
  out.op('(');
  for (const auto& [type, bytes] : {std::pair{"short", 2}, {"int", 4}, {"long", 4}}) {
    out.text(type);
    out.integer(bytes);
  }
  out.raw("uu");
  return out.finish();
}

std::vector<std::byte> storage_keys(std::size_t count) {
  Pickle out;
  out.op(']');
  out.op('(');
  for (std::size_t i = 0; i < count; ++i) out.text(storage_key(StorageIds::legacy, i));
  out.op('e');
  return out.finish();
}

}  // namespace

void write_torch_zip(const Model& model, const std::filesystem::path& path, Progress& progress) {
  const std::vector<const Tensor*> tensors = flat(model);
  Output out(path, progress);
  Zip zip(out, "archive");
  zip.add("data.pkl", pickle_state_dict(tensors, StorageIds::zip));
  zip.add(".format_version", "1");
  zip.add(".storage_alignment", "64");
  zip.add("byteorder", "little");
  for (std::size_t i = 0; i < tensors.size(); ++i) zip.add(fmt::format("data/{}", i), *tensors[i]);
  zip.add("version", "3\n");
  zip.add(".data/serialization_id", fmt::format("{:040}", tensors.size()));
  zip.finish();
  out.commit();
}

void write_torch_legacy(const Model& model, const std::filesystem::path& path, Progress& progress) {
  const std::vector<const Tensor*> tensors = flat(model);
  Output out(path, progress);
  out.append(std::string_view("\x80\x02\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19.", 15));
  out.append(std::string_view("\x80\x02M\xe9\x03.", 6));
  out.append(system_info());
  out.append(pickle_state_dict(tensors, StorageIds::legacy));
  out.append(storage_keys(tensors.size()));
  for (const Tensor* t : tensors) {
    std::vector<std::byte> count;
    put_le<std::uint64_t>(count, t->elements());
    out.append(count);
    out.append_payload(*t);
  }
  out.commit();
}

}  // namespace bench
