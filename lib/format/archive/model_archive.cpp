#include "format/archive/model_archive.hpp"

#include <algorithm>
#include <string>

#include <fmt/format.h>

#include "core/input.hpp"
#include "core/text.hpp"
#include "format/archive/tar.hpp"
#include "format/formats.hpp"
#include "heft/error.hpp"

namespace heft::format {
namespace {

constexpr std::size_t max_named = 3;

/// In the pickle of a file of joblib, the class of what stands for an array.
bool is_joblib(const Bytes& head) noexcept {
  const std::string_view text(reinterpret_cast<const char*>(head.data()), static_cast<std::size_t>(head.size_bytes()));
  return text.starts_with('\x80') && text.find("joblib.numpy_pickle") != text.npos;
}

// Returns the part of the message that names the first members: " holding 'a', 'b', 'c' and 2 more".
std::string holding(std::span<const std::string_view> members) {
  std::string text;
  for (std::size_t i = 0; i < std::min(members.size(), max_named); ++i)
    text += fmt::format("{}'{}'", i == 0 ? " holding " : ", ", core::escaped(members[i]));
  if (members.size() > max_named) text += fmt::format(" and {} more", members.size() - max_named);
  return text;
}

}  // namespace

void refuse_archive(std::string_view kind, std::span<const std::string_view> members) {
  throw Error(
      ErrorCode::unsupported,
      fmt::format("this is {}{}, which heft does not read: unpack it and open its contents", kind, holding(members)),
      {.offset = 0});
}

void refuse_gzip(const Bytes& inflated_head) {
  if (resembles_tar(inflated_head.span())) {
    const std::string first = first_tar_member(core::MemoryInput(inflated_head));
    const std::string_view named = first;
    // The head contains the first member's header at most, so only that one is named.
    refuse_archive("a tar archive compressed by gzip", {&named, first.empty() ? std::size_t{0} : 1});
  }
  if (is_joblib(inflated_head))
    throw Error(ErrorCode::unsupported,
                "this is a file of joblib compressed by gzip, which heft does not read: load it with joblib and save "
                "the arrays as safetensors or .npz",
                {.offset = 0});
  // The size of the inflated file is unknown, so the head is tested as if it were the whole file. Formats that
  // compare a length with the file's size do not match then, which only makes the message less specific.
  const Format* inside = recognize(inflated_head.span(), inflated_head.size_bytes());
  throw Error(ErrorCode::unsupported,
              inside == nullptr || inside->reads.empty()
                  ? "this is a file compressed by gzip that holds no Burn record: unpack it first (gzip -d)"
                  : fmt::format("this is a file of format {} compressed by gzip, which heft reads unpacked only: "
                                "unpack it first (gzip -d)",
                                inside->name),
              {.offset = 0});
}

}  // namespace heft::format
