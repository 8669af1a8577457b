// cli/printable_stream.hpp: the last gate between a command and a terminal or a log.
#pragma once

#include <ostream>
#include <streambuf>
#include <string>
#include <string_view>

namespace heft::cli {

/// Passes printable text and line feeds on. Every other code point, and every byte that is no UTF-8, is written as core::escaped() writes
/// it: whatever a command prints, nothing acts on the terminal. A command escapes names itself, because a line feed in one passes here.
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
  /// Writes out a sequence that was left unfinished, too, and flushes the stream.
  int sync() override;

 private:
  void put(std::string_view text);
  void finish();

  std::ostream& to_;
  std::string pending_;  // the start of a UTF-8 sequence whose end has not come yet
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
