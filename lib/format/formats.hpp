// format/formats.hpp: every format's descriptor. Each is defined last in its own .cpp and listed in formats.cpp.
#pragma once

#include "format/format.hpp"

namespace heft::format {

extern const Format gguf_format;
extern const Format npy_format;
extern const Format npz_format;
extern const Format torch_zip_format;
extern const Format torch_legacy_format;
extern const Format torch_tar_format;
extern const Format pickle_format;
extern const Format ctranslate2_format;
extern const Format safetensors_format;
extern const Format index_json_format;

}  // namespace heft::format
