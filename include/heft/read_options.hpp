// heft/read_options.hpp: options of open() that concern one family of formats.
//
// open() refuses an option that the opened files cannot use.
#pragma once

#include <string>
#include <vector>

#include "heft/dtype.hpp"

namespace heft {

/// Options of PyTorch's files (zips, legacy streams, tars, distributed checkpoints) and of pickles. For files of other
/// formats a member that is set is Error{out_of_range}. A value.
///
/// Example:
///   heft::OpenOptions options;
///   options.torch.top_level_key = "state_dict";     // a trainer's file: the weights are under this key
///   options.torch.strict_globals = true;            // refuse classes that heft does not read
///   checkpoint = heft::open("model.ckpt", options);
struct TorchReadOptions {
  /// Opens the state dict under this key ("state_dict", "model"). Error{not_found}, which lists the keys, when the file
  /// lacks it. Empty: the whole file.
  std::string top_level_key = {};
  /// Globals (classes and functions) that heft does not read are Error{refused}, which lists them. False: such an
  /// object is an opaque record. heft imports and calls nothing in either case.
  bool strict_globals = false;
  /// Zip files without a `byteorder` record are read as big-endian; false: as little-endian. Error{out_of_range} for
  /// PyTorch's other formats too.
  bool big_endian_default = false;
};

/// Options of NumPy's files (.npy, .npz). For a file of another format they are Error{type_mismatch}. A value.
///
/// Example:
///   heft::OpenOptions options;
///   options.numpy.raw_items = {heft::DType::bf16};  // items of two bytes that NumPy has no name for
///   checkpoint = heft::open("weights.npz", options);
struct NumpyReadOptions {
  /// Dtypes of raw items. NumPy saves the types of the package ml_dtypes without their names, as '<V2' (bf16) and '|V1'
  /// (fp8): an array of such items gets the dtype of this list whose elements have as many bytes. open() throws
  /// Error{type_mismatch} when the file has no such array, Error{out_of_range} for a dtype whose elements are not whole
  /// bytes, and for two dtypes of one size.
  std::vector<DType> raw_items = {};
};

}  // namespace heft
