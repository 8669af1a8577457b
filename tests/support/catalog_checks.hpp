// Invariants of the Catalog of any file, and ways to damage a file. For tests and fuzz targets: a violation throws
// std::logic_error.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <memory>
#include <span>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

#include "core/gather_run.hpp"
#include "core/input.hpp"
#include "format/archive/inflate_stream.hpp"
#include "format/format.hpp"
#include "format/msgpack/number_lists.hpp"
#include "heft/error.hpp"
#include "support/printable.hpp"

namespace heft::test {

/// A heap buffer of exactly these bytes, so that a sanitizer sees the first byte read too far.
inline Bytes exact_bytes(std::string_view bytes) {
  auto buffer = std::make_shared<std::unique_ptr<std::byte[]>>(new std::byte[bytes.size()]);
  if (!bytes.empty()) std::memcpy(buffer->get(), bytes.data(), bytes.size());
  return {{buffer->get(), bytes.size()}, buffer};
}

inline format::Catalog read_bytes(const format::Format& format, std::string_view bytes,
                                  const format::ReadOptions& options = {}) {
  return format.read(core::MemoryInput(exact_bytes(bytes)), options);
}

/// A catalog of a file of `file_size` bytes must point only into the file and into its own tables.
class SoundCatalog {
 public:
  SoundCatalog(const format::Catalog& catalog, std::uint64_t file_size) : catalog_(catalog), file_size_(file_size) {}

  void check() {
    for (const format::TensorEntry& tensor : catalog_.tensors) check_tensor(tensor);
    for (const format::TensorEntry& part : catalog_.parts) check_tensor(part);
    for (const format::Joined& joined : catalog_.joined) check_joined(joined);
    for (const format::Member& member : catalog_.members)
      require_range(member.begin, member.size,
                    member.inside == format::none ? file_size_ : catalog_.members.at(member.inside).full_size,
                    "a member");
    for (const format::Node& node : catalog_.nodes) check_node(node);
    for (const std::uint32_t child : catalog_.children)
      require(child < catalog_.nodes.size(), "a child that is no node");
    for (const format::PackedList& list : catalog_.packed)
      for (std::uint32_t i = 0; i < list.count; ++i) check_node(catalog_.node(list.first + i));
    for (const format::Value& value : catalog_.values)
      require(value.node < catalog_.nodes.size(), "a value that is no node");
    for (const std::string& note : catalog_.notes) require_printable(note, "a note");
    require_printable(catalog_.detail, "a catalog's detail");
    if (catalog_.metadata != format::none)
      require(catalog_.nodes.at(catalog_.metadata).kind == format::NodeKind::map, "metadata that is no map");
    if (touched_ == UINT64_MAX) throw std::logic_error("never: keeps the reads alive");
  }

 private:
  static void require(bool holds, const char* what) {
    if (!holds) throw std::logic_error(what);
  }
  static void require_range(std::uint64_t begin, std::uint64_t size, std::uint64_t bound, const char* what) {
    require(begin <= bound && size <= bound - begin, what);
  }
  void touch(std::string_view text) {
    for (const char letter : text) touched_ += static_cast<unsigned char>(letter) & 1u;
  }

  void check_tensor(const format::TensorEntry& tensor) {
    touch(tensor.name);
    if (tensor.member == format::none) {
      require_range(tensor.begin, tensor.size, file_size_, "a storage outside the file");
    } else {
      require_range(tensor.begin, tensor.size, catalog_.members.at(tensor.member).full_size,
                    "a storage outside its member");
    }
    for (const std::int64_t size : catalog_.sizes(tensor)) require(size >= 0, "a negative dim");
    if (tensor.dtype == DType::unknown) {
      require(tensor.type_name < catalog_.type_names.size(), "a type without a name");
      // Throws an Error when they do not fit, which is_read() takes for a violation.
      if (Shape(catalog_.sizes(tensor)).element_count() == 0) require(tensor.size == 0, "bytes of no elements");
    } else if ((tensor.flags & (format::strided | format::no_data)) == 0 && tensor.first == 0)
      require(bytes_for(tensor.dtype, Shape(catalog_.sizes(tensor))) <= tensor.size,
              "a tensor larger than its storage");
  }

  void check_joined(const format::Joined& joined) {
    touch(joined.whole.name);
    require_range(joined.first_part, joined.part_count, catalog_.parts.size(), "parts outside the table");
    std::uint64_t elements = 0;
    for (std::uint32_t part = 0; part < joined.part_count; ++part)
      elements += static_cast<std::uint64_t>(catalog_.sizes(catalog_.parts[joined.first_part + part])[0]);
    require(elements == Shape(catalog_.sizes(joined.whole)).element_count(), "parts that are not the whole");
  }

  void check_node(const format::Node& node) {
    using enum format::NodeKind;
    require(node.word == 0 || node.word < catalog_.words.size(), "a word that is in no table");
    switch (node.kind) {
      case text:
      case bytes: return touch({node.text, node.count});
      case list:
        if ((node.first & format::packed_list) != 0) return check_packed(node);
        [[fallthrough]];
      case opaque: return require_range(node.first, node.count, catalog_.children.size(), "items outside the table");
      case map:
        return require_range(node.first, 2 * std::uint64_t{node.count}, catalog_.children.size(),
                             "pairs outside the table");
      case tensor: return require(node.tensor < catalog_.tensors.size(), "a node of no tensor");
      default: return;
    }
  }

  void check_packed(const format::Node& list) {
    if (list.count == 0) return;
    const auto known = [&](const format::PackedList& packed) {
      return catalog_.child(list, 0) == packed.first && list.count == packed.count;
    };
    require(std::ranges::any_of(catalog_.packed, known), "a packed list that is in no table");
  }

  const format::Catalog& catalog_;
  std::uint64_t file_size_;
  std::uint64_t touched_ = 0;
};

/// An Error must be one line of printable text for every file.
inline void check_words(const Error& error) {
  if (std::string_view(error.what()).empty()) throw std::logic_error("an Error without words");
  require_printable(error.what(), "an Error");
  require_printable(error.message(), "an Error's message");
}

/// Produces the bytes of a catalog's members, within the time of a test: inflates deflated bytes, gathers numbers. An
/// Error is allowed; any other exception is not.
class MemberWalk {
 public:
  MemberWalk(const format::Catalog& catalog, std::string_view file) : catalog_(catalog), file_(exact_bytes(file)) {}

  void run() {
    for (const format::Member& member : catalog_.members) {
      if (member.is_latin1 || !member.made.empty()) continue;
      try {
        if (!member.lists)
          inflate(member);
        else if (member.inside == format::none)
          for (const format::NumberList& list : member.lists->lists()) gather(list);
      } catch (const Error& error) {
        check_words(error);
      }
    }
  }

 private:
  static constexpr std::uint64_t max_bytes = 1u << 20;

  void inflate(const format::Member& member) {
    format::InflateStream stream(file_, member, "a member");
    std::vector<std::byte> room(std::min(member.full_size, max_bytes));
    const std::size_t half = room.size() / 2;
    stream.read(half, std::span(room).subspan(half));
    stream.read(0, std::span(room).first(half));
    if (member.full_size <= max_bytes) stream.finish();
  }

  void gather(const format::NumberList& list) {
    for (std::uint64_t number = 0; number < std::min(list.count(), max_bytes / 8);) {
      const format::NumberRun run = format::run_of(list, number);
      const std::uint64_t count = std::min(run.end.number - number, max_bytes / 8);
      std::vector<std::byte> room(count * info(list.dtype).block_bytes);
      const Bytes bytes = file_.read(run.begin.offset, run.end.offset - run.begin.offset);
      const format::Gathered done =
          format::gather(list, bytes.span(), run.begin.offset, room.data(), count, core::gather_run);
      if (done.numbers != count) throw std::logic_error("a list of fewer numbers than were stepped over");
      format::require_place(run, {number + count, run.begin.offset + done.used});
      number += count;
    }
  }

  const format::Catalog& catalog_;
  core::MemoryInput file_;
};

/// Reads any file: it must be refused with an Error, or its catalog must be sound.
inline bool is_read(const format::Format& format, std::string_view bytes, const format::ReadOptions& options = {}) {
  format::Catalog catalog{nullptr};
  try {
    catalog = read_bytes(format, bytes, options);
  } catch (const Error& error) {
    check_words(error);
    return false;
  }
  try {
    SoundCatalog(catalog, bytes.size()).check();
  } catch (const Error&) {
    throw std::logic_error("numbers that do not fit");
  }
  MemberWalk(catalog, bytes).run();
  return true;
}

/// Tries every strict prefix of a file. Returns how many are read without an Error.
inline std::size_t readable_prefixes(const format::Format& format, std::string_view bytes) {
  std::size_t read = 0;
  for (std::size_t size = 0; size < bytes.size(); ++size) read += is_read(format, bytes.substr(0, size));
  return read;
}

/// Flips each bit of the first `count` bytes, one at a time: every result must be refused or sound.
inline void flip_every_bit(const format::Format& format, std::string bytes, std::size_t count) {
  for (std::size_t bit = 0; bit < 8 * count; ++bit) {
    const auto mask = static_cast<char>(1u << (bit % 8));
    bytes.at(bit / 8) ^= mask;
    is_read(format, bytes);
    bytes.at(bit / 8) ^= mask;
  }
}

}  // namespace heft::test
