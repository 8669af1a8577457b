#include "heft/error.hpp"

#include <cerrno>

#include <doctest/doctest.h>

#include "support/printable.hpp"

using heft::Error;
using heft::ErrorCode;

TEST_CASE("error: what() names path, tensor, message, offset and errno in that order") {
  const Error error(ErrorCode::corrupt, "expected 4000000 bytes, data_offsets span 12",
                    {.path = "model.safetensors", .tensor = "x", .offset = 318, .os_error = EIO});
  CHECK(
      std::string(error.what()) ==
      "model.safetensors: tensor 'x': expected 4000000 bytes, data_offsets span 12 (at byte 318): Input/output error");
  CHECK(error.code() == ErrorCode::corrupt);
  CHECK(error.offset() == 318);
  CHECK(error.os_error() == EIO);
}

TEST_CASE("error: what() contains only the parts that are known") {
  CHECK(std::string(Error(ErrorCode::not_found, "no such tensor").what()) == "no such tensor");
}

TEST_CASE("error: a name from a file cannot write to the terminal or add a line") {
  const Error error(ErrorCode::corrupt, "bad", {.tensor = "a\n\x1b[31mb'\xff"});
  CHECK(std::string(error.what()) == "tensor 'a\\n\\x1b[31mb\\'\\xff': bad");
  CHECK(error.tensor() == "a\n\x1b[31mb'\xff");
}

TEST_CASE("error: what() and message() are one printable line for any message and path") {
  for (int byte = 0; byte < 256; ++byte) {
    const std::string text = "a" + std::string(1, static_cast<char>(byte)) + "b\xE2\x80\xA8\xD8\x9C";
    const Error error(ErrorCode::corrupt, text, {.path = text, .tensor = text, .offset = 1, .os_error = EIO});
    CHECK(heft::test::unprintable_at(error.what()) == std::string_view::npos);
    CHECK(heft::test::unprintable_at(error.message()) == std::string_view::npos);
    CHECK(heft::test::unprintable_at(error.with_path("p").what()) == std::string_view::npos);
    CHECK(error.path() == text);
  }
  CHECK(
      std::string(Error(ErrorCode::io, std::string(1 << 20, 's'), {.path = std::string(1 << 20, 'p')}).what()).size() <
      20'000);
}

TEST_CASE("error: the text of errno is written once") {
  const Error error(ErrorCode::not_found, "No such file or directory", {.path = "/nonexistent", .os_error = ENOENT});
  CHECK(std::string(error.what()) == "/nonexistent: No such file or directory");
}

TEST_CASE("error: a name of a megabyte is cut in the message and whole in tensor()") {
  const Error error(ErrorCode::corrupt, "bad", {.tensor = std::string(1 << 20, 'n')});
  CHECK(std::string(error.what()).size() < 300);
  CHECK(error.tensor().size() == 1 << 20);
}

TEST_CASE("error: with_path and with_tensor fill in missing names and keep existing ones") {
  const Error bare(ErrorCode::io, "failed");
  CHECK(bare.with_path("p").path() == "p");
  CHECK(bare.with_path("p").with_path("q").path() == "p");
  CHECK(bare.with_tensor("t").with_tensor("u").tensor() == "t");
  CHECK(bare.with_path("p").code() == ErrorCode::io);
}

TEST_CASE("error: every code has its own name and its fixed number, from 1 on") {
  for (int code = 0; code <= static_cast<int>(ErrorCode::cancelled); ++code)
    for (int other = 0; other < code; ++other)
      CHECK(heft::name(static_cast<ErrorCode>(code)) != heft::name(static_cast<ErrorCode>(other)));
  CHECK(heft::name(ErrorCode::io) == "io");
  CHECK(heft::name(ErrorCode::cancelled) == "cancelled");
  CHECK(static_cast<int>(ErrorCode::io) == 1);
  CHECK(static_cast<int>(ErrorCode::cancelled) == 14);
  CHECK(heft::name(static_cast<ErrorCode>(0)) == "unknown");
  CHECK(heft::name(static_cast<ErrorCode>(15)) == "unknown");
}
