// bench/maker/state_dict_pickle.hpp: the pickles that torch.save writes for a state dict, opcode by opcode.
#pragma once

#include <cstddef>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "maker/model.hpp"

namespace bench {

/// Writes protocol 2 as Python's pickler does: every object is put into the memo, and fetched from it when it is
/// written again.
class Pickle {
 public:
  Pickle();

  void op(char opcode) { bytes_.push_back(static_cast<std::byte>(opcode)); }
  void integer(std::int64_t value);
  void text(std::string_view value);              ///< Memoized by value, as Python's interned strings are.
  void global(std::string_view module_and_name);  ///< "torch FloatStorage".
  void memoize();
  void raw(std::string_view bytes);
  std::vector<std::byte> finish();

 private:
  bool fetched(const std::string& key);

  std::vector<std::byte> bytes_;
  std::map<std::string, std::uint32_t, std::less<>> memo_;
  std::uint32_t next_ = 0;
};

/// The two ways in which torch.save names storages.
enum class StorageIds { zip, legacy };

/// Returns the key of storage `number`: "0", "1", ... in zips; an address in legacy streams.
std::string storage_key(StorageIds ids, std::size_t number);

/// Returns the pickle of an OrderedDict of tensors, each of which is a whole storage.
std::vector<std::byte> pickle_state_dict(const std::vector<const Tensor*>& tensors, StorageIds ids);

}  // namespace bench
