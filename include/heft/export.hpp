// Marks what the shared library exports.
//
// heft is compiled with hidden visibility: a class or a function that a program links against carries HEFT_API, and
// everything else stays inside the library. Write it after the class-key or before the return type:
//
//   class HEFT_API Checkpoint { ... };
//   HEFT_API Checkpoint open(const std::filesystem::path& path);
//
// A type that crosses the library's border as an exception needs it too, or a catch on the other side would not know it.
// Templates and inline functions need nothing.
#pragma once

#define HEFT_API __attribute__((visibility("default")))
