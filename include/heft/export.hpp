// heft/export.hpp: the macro that marks what the shared library exports.
//
// heft is compiled with hidden visibility: a class or a function that a program links against carries HEFT_API, and
// everything else stays inside the library. Write it after the class-key or before the return type:
//
//   class HEFT_API Checkpoint { ... };
//   HEFT_API Checkpoint open(const std::filesystem::path& path);
//
// A type that is thrown across the library's border needs it too: without it the program has type information of its
// own for the type, and a catch does not match. Templates and inline functions need nothing.
#pragma once

#define HEFT_API __attribute__((visibility("default")))
