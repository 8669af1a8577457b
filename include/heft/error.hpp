// heft/error.hpp: the one exception type, and the codes that name what a caller can do about it.
//
// Every function of heft that fails throws heft::Error, except where memory for a small object runs out:
// std::bad_alloc. Exceptions of the caller's own functions (progress, adapters, destinations) pass through unchanged.
#pragma once

#include <cstdint>
#include <optional>
#include <stdexcept>
#include <string>
#include <string_view>

#include "heft/export.hpp"

namespace heft {

/// Names what the caller can do, not the place in heft that failed. The Error's message has the details. The numbers
/// are fixed: a later version adds codes at the end. 0 is no code, so that a C function can return it for success.
enum class ErrorCode : std::uint8_t {
  /// A system call failed; os_error() is its errno. Retry, free space on the device, or correct permissions.
  io = 1,
  /// No such file, tensor or record. The message names the nearest name that exists ("did you mean").
  not_found,
  /// The first bytes match no format that heft reads. Convert the file, or check that the download was complete.
  unrecognized,
  /// The file breaks a rule of its format: truncated, out of bounds, malformed. Get the file again.
  corrupt,
  /// The file can be read in two ways (duplicate names, overlapping ranges, several candidates in a folder). heft does
  /// not choose: name the file, or remove the duplicate.
  ambiguous,
  /// Legal, but above a limit of heft::Limits, which the message names. Raise the limit if the file is trusted.
  limit_exceeded,
  /// Legal, but heft does not implement it: a format, its version, a compression, a conversion. The message names it.
  unsupported,
  /// heft does not do it for safety: a path outside the folder, a global under strict_globals. Change the option, where
  /// there is one, if the file is trusted.
  refused,
  /// The value is of another type: a typed view of another dtype, a layout that is not contiguous, another kind of
  /// record. Ask for the dtype that the message names, or materialize().
  type_mismatch,
  /// A typed view of bytes that do not lie on the type's alignment. materialize() copies and aligns.
  misaligned,
  /// An argument of the call is invalid: an index, a dim, a range, an offset, an option.
  out_of_range,
  /// Memory for the destination or for staging could not be allocated, or would exceed what the system has left.
  out_of_memory,
  /// The file is not the one that was opened, was written to, or shrank under its mapping. Open the path again.
  changed_on_disk,
  /// A stop was requested through a std::stop_token. Nothing half-loaded was handed out.
  cancelled,
};

/// Returns the code's name as it is spelled in the source: "corrupt", "out_of_range", ...; "unknown" for any other
/// value.
HEFT_API std::string_view name(ErrorCode code) noexcept;

/// Where an Error happened, as far as it is known. Every member may be absent.
struct ErrorPlace {
  /// The file, as the caller named it. Empty: no file is involved.
  std::string path = {};
  /// The tensor or record, unescaped. Empty: none.
  std::string tensor = {};
  /// Byte offset in the file (or in the inflated record that the message names).
  std::optional<std::uint64_t> offset = {};
  /// errno of the failed system call; 0: no system call failed.
  int os_error = 0;
};

/// The one exception type of heft.
///
/// what() is one line of printable UTF-8, whatever the file contains: `path: tensor 'name': message (at byte N): text
/// of errno`. Control characters, marks of direction and bytes that are not UTF-8 are escaped in it (\n, \x1b, \u202e);
/// the path is cut at 1000 characters, the name at 200, the message at 8192. message() is printable too. path() and
/// tensor() return the raw text, whole: escape them before they reach a terminal.
///
/// A value: const members may be called from several threads. References that the getters return are valid while this
/// Error lives; called on a temporary, the getters return copies.
///
/// Example:
///   try {
///     checkpoint = heft::open("model.safetensors");
///   } catch (const heft::Error& error) {
///     if (error.code() == heft::ErrorCode::not_found) std::cerr << error.what() << '\n';
///   }
class HEFT_API Error : public std::runtime_error {
 public:
  /// Makes an Error with a text for what(). `message` states what was expected and what was found, without path,
  /// tensor and offset, which are in `place`; it is made printable.
  Error(ErrorCode code, std::string message, ErrorPlace place = {});

  /// Kind of the failure, by what the caller can do.
  [[nodiscard]] ErrorCode code() const noexcept { return code_; }
  /// Text of the failure: what was expected and what was found, without the place.
  [[nodiscard]] const std::string& message() const& noexcept { return message_; }
  [[nodiscard]] std::string message() const&& { return message_; }
  /// The file, as the caller named it; empty where none is involved.
  [[nodiscard]] const std::string& path() const& noexcept { return place_.path; }
  [[nodiscard]] std::string path() const&& { return place_.path; }
  /// The tensor or record, unescaped; empty where none is involved.
  [[nodiscard]] const std::string& tensor() const& noexcept { return place_.tensor; }
  [[nodiscard]] std::string tensor() const&& { return place_.tensor; }
  /// Byte offset in the file, where one is known.
  [[nodiscard]] std::optional<std::uint64_t> offset() const noexcept { return place_.offset; }
  /// errno of the failed system call, 0 when none failed.
  [[nodiscard]] int os_error() const noexcept { return place_.os_error; }
  /// Path, tensor, offset and errno together.
  [[nodiscard]] const ErrorPlace& place() const& noexcept { return place_; }
  [[nodiscard]] ErrorPlace place() const&& { return place_; }

  /// Returns the same error with the path filled in, unless it has one. Code that parses bytes throws without a path;
  /// its caller, which opened the file, adds it.
  [[nodiscard]] Error with_path(std::string_view path) const;
  /// Returns the same error with the tensor filled in, unless it has one.
  [[nodiscard]] Error with_tensor(std::string_view tensor) const;

 private:
  struct Printable {
    std::string text;
  };
  Error(Printable message, ErrorCode code, ErrorPlace place);

  ErrorCode code_;
  std::string message_;
  ErrorPlace place_;
};

}  // namespace heft
