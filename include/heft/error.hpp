// heft/error.hpp: the one exception type, and the codes that say what a caller can do about it.
#pragma once

#include <cstdint>
#include <optional>
#include <stdexcept>
#include <string>
#include <string_view>

#include "heft/export.hpp"

namespace heft {

/// What the caller can do, not where in heft it happened. The sentence of the Error says the rest.
enum class ErrorCode : std::uint8_t {
  /// The operating system failed an operation; os_error() says which way. Retry, or look at the device.
  io,
  /// No such file, tensor or record. The sentence names the nearest name there is.
  not_found,
  /// The first bytes are of no format that heft reads.
  unrecognized,
  /// The file breaks a rule of its format: truncated, out of bounds, malformed. Get the file again.
  corrupt,
  /// Two readers could read the file in two ways (duplicates, twins, overlaps). heft does not choose.
  ambiguous,
  /// Legal, but beyond a named limit of heft::Limits. Raise the limit if the file is trusted.
  limit_exceeded,
  /// Legal, but heft cannot do it: a format version, a compression, a conversion.
  unsupported,
  /// heft will not do it for safety: a path outside the folder, a global under strict_globals.
  refused,
  /// A typed view of another dtype, a layout that is not contiguous, or the wrong kind of record.
  type_mismatch,
  /// A typed view of bytes that do not lie on the type's alignment. materialize() copies and aligns.
  misaligned,
  /// An argument of the call: index, dimension, range, offset.
  out_of_range,
  /// The destination or the staging memory could not be had.
  out_of_memory,
  /// The file is not the one that was opened, or it shrank under its mapping.
  changed_on_disk,
  /// A stop was requested. Nothing half-loaded was handed out.
  cancelled,
};

/// The code's name as it is spelt in the source: "corrupt", "out_of_range", ...
HEFT_API std::string_view name(ErrorCode code) noexcept;

/// Where an Error happened, as far as it is known. Every member may be absent.
struct ErrorPlace {
  /// The file, as the caller named it. Empty: no file is involved.
  std::string path = {};
  /// The tensor or record, unescaped. Empty: none.
  std::string tensor = {};
  /// Byte offset in the file (or in the inflated record that the sentence names).
  std::optional<std::uint64_t> offset = {};
  /// errno of the failed call; 0: the operating system did not fail.
  int os_error = 0;
};

/// The one exception type of heft.
///
/// what() is one line of printable UTF-8, whatever the file holds: `path: tensor 'name': sentence (at byte N): text of errno`. Control
/// characters, marks of direction and bytes that are no UTF-8 are escaped in it (\n, \x1b, \u202e); the path is cut at 1000 characters, the
/// name at 200, the sentence at 8192. sentence() is printable too; path() and tensor() return the raw text, whole.
///
/// Threads: an Error is a value; const members may be called from several threads.
class HEFT_API Error : public std::runtime_error {
 public:
  /// `sentence` states what was expected and what was found, without path, tensor or offset: those are in `place`. It is made printable.
  Error(ErrorCode code, std::string sentence, ErrorPlace place = {});

  [[nodiscard]] ErrorCode code() const noexcept { return code_; }
  [[nodiscard]] const std::string& sentence() const noexcept { return sentence_; }
  [[nodiscard]] const std::string& path() const noexcept { return place_.path; }
  [[nodiscard]] const std::string& tensor() const noexcept { return place_.tensor; }
  /// Byte offset in the file, where one is known.
  [[nodiscard]] std::optional<std::uint64_t> offset() const noexcept { return place_.offset; }
  /// errno of the failed system call, 0 when none failed.
  [[nodiscard]] int os_error() const noexcept { return place_.os_error; }
  [[nodiscard]] const ErrorPlace& place() const noexcept { return place_; }

  /// The same error with the path filled in, when it has none yet: how a lower room that sees bytes only gets its file named.
  [[nodiscard]] Error with_path(std::string_view path) const;
  /// The same error with the tensor filled in, when it has none yet.
  [[nodiscard]] Error with_tensor(std::string_view tensor) const;

 private:
  struct Printable {
    std::string text;
  };
  Error(Printable sentence, ErrorCode code, ErrorPlace place);

  ErrorCode code_;
  std::string sentence_;
  ErrorPlace place_;
};

}  // namespace heft
