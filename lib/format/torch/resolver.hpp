// format/torch/resolver.hpp: the passes behind interpret(). Private to resolver.cpp (values of Python),
// tensors.cpp (storages and tensors), wrappers.cpp and numpy.cpp.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "format/torch/globals.hpp"
#include "format/torch/objects.hpp"
#include "format/torch/words.hpp"

namespace heft::format {

/// The parts of a call.
struct TorchCall {
  std::uint32_t value;                       ///< The call itself.
  KnownGlobal known;                         ///< The function or class.
  std::span<const std::uint32_t> arguments;  ///< Invalid after a value is added.
  std::uint32_t state;
  std::uint32_t items;
};

/// Replaces known calls in place, so that all references see the result.
class TorchResolver {
 public:
  TorchResolver(TorchObjects& objects, const ReadOptions& options, const TensorTable* table)
      : objects_(objects), pickle_(objects.pickle), options_(options), table_(table) {}

  void run();

 private:
  using Arguments = std::span<const std::uint32_t>;

  // resolver.cpp
  void refuse_unknown_globals() const;
  void rewrite_persistent(std::uint32_t value);
  void rewrite_call(std::uint32_t value);
  void refuse_changes(const TorchCall& call) const;
  void rewrite_object(std::uint32_t value);
  std::optional<TorchCall> take_apart(std::uint32_t value) const;
  bool rewrite_container(const TorchCall& call);
  bool rewrite_scalar(const TorchCall& call);
  bool rewrite_encode(const TorchCall& call);
  bool rewrite_byte_array(const TorchCall& call);
  bool rewrite_path(const TorchCall& call);
  bool rewrite_script(const TorchCall& call);
  bool rewrite_reconstructor(const TorchCall& call);
  bool rewrite_module(const TorchCall& call);
  void make_dict(const TorchCall& call, TorchWord word, std::uint32_t source);
  bool make_sequence(const TorchCall& call, PickleKind kind, TorchWord word);
  void make_text(std::uint32_t value, std::string_view text, TorchWord word);
  void make_bytes(std::uint32_t value, std::string_view bytes, TorchWord word);
  void alias(std::uint32_t value, std::uint32_t target) { pickle_.values[value] = pickle_.values[target]; }
  bool is_dict(std::uint32_t value) const { return value != Pickle::absent && pickle_.kind(value) == PickleKind::dict; }
  std::uint32_t entry(std::uint32_t dict, std::string_view key) const;
  std::uint32_t new_text(std::string_view text);
  void make_record(std::uint32_t value, TorchWord word,
                   std::span<const std::pair<std::string_view, std::uint32_t>> entries);

  // tensors.cpp
  bool rewrite_tensor(TorchCall call);
  bool rewrite_plain_tensor(const TorchCall& call);
  bool unwrap(TorchCall& call, bool& has_attributes) const;
  bool holds_entries(std::uint32_t state) const;
  void make_tabled_tensor(std::uint32_t value, std::uint32_t key);
  void group_storages();
  StorageUse read_storage_id(Arguments id) const;
  std::uint32_t use_of(std::uint32_t value);
  std::uint64_t unsigned_integer(std::uint32_t value, std::string_view what) const;
  std::size_t read_dims(std::uint32_t value, std::string_view what);
  std::size_t read_dims(const SegmentedNumbers& numbers, std::string_view what);
  void read_layout(TorchTensor& tensor, std::uint32_t sizes, std::uint32_t strides);
  void make_tensor(std::uint32_t value, TorchTensor tensor);
  void rebuild(const TorchCall& call, std::uint32_t metadata_at, std::optional<KnownGlobal> dtype);
  void rebuild_from_state(std::uint32_t value, const KnownGlobal& known, Arguments state);
  void rebuild_meta(const TorchCall& call);
  void rebuild_quantized(const TorchCall& call);
  void require_channels(std::uint32_t integers, std::span<const std::uint32_t, 3> quantizer) const;
  bool rebuild_sparse(const TorchCall& call);
  void read_lazy_bits(TorchTensor& tensor, std::uint32_t metadata) const;
  KnownGlobal dtype_value(std::uint32_t value) const;
  void require_arguments(const TorchCall& call, std::size_t count) const;

  // wrappers.cpp
  using Fields = std::vector<std::pair<std::string_view, std::uint32_t>>;
  Fields fields_of(std::uint32_t state) const;
  bool rebuild_wrapper(const TorchCall& call);
  bool rebuild_distributed(const TorchCall& call, std::uint32_t local, std::uint32_t spec);
  std::string placement_text(std::uint32_t value) const;
  bool is_whole(std::uint32_t local, std::uint32_t size, const std::vector<std::string>& placements) const;

  // numpy.cpp
  bool rewrite_numpy(const TorchCall& call);
  bool rewrite_numpy_dtype(const TorchCall& call);
  bool rewrite_numpy_scalar(const TorchCall& call);
  bool rewrite_numpy_array(const TorchCall& call);
  bool leave_array(std::uint32_t value, std::uint32_t dtype);
  bool make_array(std::uint32_t value, std::uint32_t shape, std::uint32_t dtype, bool fortran, std::uint32_t data);

  [[noreturn]] void corrupt(std::string message) const;

  TorchObjects& objects_;
  Pickle& pickle_;
  const ReadOptions& options_;
  const TensorTable* table_;              // of a tar, or null
  std::vector<KnownGlobal> known_;        // of each global in pickle_.globals
  std::uint32_t current_ = Pickle::null;  // the value that is being rewritten, for errors
};

}  // namespace heft::format
