// cli/printable_stream.hpp: escapes the output of commands for a terminal or a log.
#pragma once

#include <ostream>
#include <streambuf>
#include <string>
#include <string_view>

namespace heft::cli {

/// Writes printable text and line feeds unchanged, and other code points and bytes that are not UTF-8 as
/// core::escaped() does, so that no output controls the terminal. Commands must escape names themselves, because line
/// feeds in them are not escaped here.
class PrintableBuffer final : public std::streambuf {
 public:
  /// `to` must outlive the buffer.
  explicit PrintableBuffer(std::ostream& to) noexcept : to_(to) {}
  ~PrintableBuffer() override { finish(); }
  PrintableBuffer(const PrintableBuffer&) = delete;
  PrintableBuffer& operator=(const PrintableBuffer&) = delete;

 protected:
  int_type overflow(int_type c) override;
  std::streamsize xsputn(const char* text, std::streamsize size) override;
  /// Writes an incomplete sequence too, and flushes the stream.
  int sync() override;

 private:
  void put(std::string_view text);
  void finish();

  std::ostream& to_;
  std::string pending_;  // the start of an incomplete UTF-8 sequence
};

/// A stream over a PrintableBuffer.
class PrintableStream final : public std::ostream {
 public:
  explicit PrintableStream(std::ostream& to) : std::ostream(nullptr), buffer_(to) { rdbuf(&buffer_); }
  ~PrintableStream() override { rdbuf(nullptr); }

 private:
  PrintableBuffer buffer_;
};

}  // namespace heft::cli
