// record/checksums.cpp: Checkpoint::verify_checksums(), which compares the payload with the CRC-32 of each zip record.
// Reads the files without mapping them.
#include <algorithm>
#include <string>
#include <utility>
#include <vector>

#include <fmt/format.h>

#include "format/archive/inflate.hpp"
#include "heft/checkpoint.hpp"
#include "heft/error.hpp"
#include "record/state.hpp"

namespace heft {
namespace {

constexpr std::uint64_t chunk_bytes = 4u << 20;

// Returns the CRC-32 of the record's bytes in the file, which are read through `chunk`.
std::uint32_t checksum_of(const record::Source& file, const format::Checksum& record, std::vector<std::byte>& chunk) {
  std::uint32_t sum = 0;
  for (std::uint64_t done = 0; done < record.size;) {
    const std::span<std::byte> into(chunk.data(), std::min<std::uint64_t>(chunk_bytes, record.size - done));
    // fetch() does not compare the file with the opened one; verify_checksums() does so once at the end.
    file.fetch(record.begin + done, into);
    sum = format::crc32(into, sum);
    done += into.size();
  }
  return sum;
}

// Returns the name of the first tensor of the record at `begin`, or of the deflated member. Tensors are sorted in that
// order.
std::string tensor_at(const format::Catalog& catalog, std::uint32_t member, std::uint64_t begin) {
  const auto place = [](const format::TensorEntry& entry) { return std::pair(entry.member, entry.begin); };
  const auto found = std::ranges::lower_bound(catalog.tensors, std::pair(member, begin), {}, place);
  return found == catalog.tensors.end() || found->member != member ? std::string() : std::string(found->name);
}

}  // namespace

std::vector<Damage> Checkpoint::verify_checksums() const {
  std::vector<Damage> damage;
  std::vector<std::byte> chunk(chunk_bytes);
  for (const auto& shard : state_->shards) {
    const record::Source& file = *shard->file;
    for (const format::Checksum& record : shard->catalog->checksums)
      if (const std::uint32_t found = checksum_of(file, record, chunk); found != record.crc32)
        damage.push_back({std::string(file.path()), tensor_at(*shard->catalog, format::none, record.begin),
                          fmt::format("expected checksum {:08x}, found {:08x}", record.crc32, found)});
    // A deflated record is inflated to its end and not kept.
    for (std::size_t member = 0; member < shard->members.size(); ++member) {
      try {
        shard->members[member]->prove();
      } catch (const Error& error) {
        // A damaged record is a finding. A device that fails, or missing memory, ends the call.
        if (error.code() != ErrorCode::corrupt) throw;
        damage.push_back({std::string(file.path()), tensor_at(*shard->catalog, static_cast<std::uint32_t>(member), 0),
                          error.message()});
      }
    }
    // The bytes of a file that was replaced meanwhile have other checksums, which is no damage.
    file.check_unchanged();
  }
  return damage;
}

}  // namespace heft
