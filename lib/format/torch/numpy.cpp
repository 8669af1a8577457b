// format/torch/numpy.cpp: NumPy's scalars, dtypes and arrays inside a PyTorch pickle. An array is a tensor.
#include <array>
#include <cstring>

#include "core/endian.hpp"
#include "format/torch/resolver.hpp"

namespace heft::format {
namespace {

struct NumpyType {
  std::string_view code;  // of a pickled numpy.dtype, without the byte order
  DType dtype;
};

constexpr std::array<NumpyType, 15> numpy_types{{{"b1", DType::boolean},
                                                 {"i1", DType::i8},
                                                 {"u1", DType::u8},
                                                 {"i2", DType::i16},
                                                 {"u2", DType::u16},
                                                 {"i4", DType::i32},
                                                 {"u4", DType::u32},
                                                 {"i8", DType::i64},
                                                 {"u8", DType::u64},
                                                 {"f2", DType::f16},
                                                 {"f4", DType::f32},
                                                 {"f8", DType::f64},
                                                 {"c8", DType::c64},
                                                 {"c16", DType::c128},
                                                 {"?", DType::boolean}}};

// Returns the dtype of NumPy's type code, or unknown.
DType numpy_dtype_of(std::string_view code) noexcept {
  for (const NumpyType& row : numpy_types)
    if (row.code == code) return row.dtype;
  return torch_dtype(code).dtype;  // a type of ml_dtypes, whose name PyTorch shares
}

bool is_order(char c) noexcept { return c == '<' || c == '>' || c == '|' || c == '='; }

template <class T>
T load(const std::byte* from, bool big) noexcept {
  return big ? core::load_be<T>(from) : core::load_le<T>(from);
}

/// Returns the scalar of `dtype` at `from`; nothing for types that records lack.
std::optional<PickleValue> scalar_of(DType dtype, const std::byte* from, bool big) {
  PickleValue value;
  value.kind = PickleKind::integer;
  switch (dtype) {
    case DType::boolean:
      value.kind = PickleKind::boolean;
      value.integer = std::to_integer<int>(*from) != 0;
      return value;
    case DType::i8: value.integer = load<std::int8_t>(from, big); return value;
    case DType::u8: value.integer = load<std::uint8_t>(from, big); return value;
    case DType::i16: value.integer = load<std::int16_t>(from, big); return value;
    case DType::u16: value.integer = load<std::uint16_t>(from, big); return value;
    case DType::i32: value.integer = load<std::int32_t>(from, big); return value;
    case DType::u32: value.integer = load<std::uint32_t>(from, big); return value;
    case DType::i64: value.integer = load<std::int64_t>(from, big); return value;
    case DType::u64:
      value.unsigned_integer = load<std::uint64_t>(from, big);
      if (value.unsigned_integer > INT64_MAX) value.kind = PickleKind::unsigned_integer;
      return value;
    case DType::f32:
    case DType::f64:
      value.kind = PickleKind::real;
      value.real = dtype == DType::f32 ? static_cast<double>(load<float>(from, big)) : load<double>(from, big);
      return value;
    default: return std::nullopt;
  }
}

}  // namespace

bool TorchResolver::rewrite_numpy(const TorchCall& call) {
  switch (call.known.kind) {
    case GlobalKind::numpy_dtype: return rewrite_numpy_dtype(call);
    case GlobalKind::numpy_scalar: return rewrite_numpy_scalar(call);
    case GlobalKind::numpy_reconstruct:
    case GlobalKind::numpy_from_buffer: return rewrite_numpy_array(call);
    default: return false;
  }
}

/// Replaces dtype('f4', ...) with the state (version, order, subdtype, names, fields, ...) by the text "<f4".
/// Structured dtypes stay opaque.
bool TorchResolver::rewrite_numpy_dtype(const TorchCall& call) {
  if (call.arguments.empty()) return false;
  std::string_view code = pickle_.text(call.arguments[0]);
  // Types of the package ml_dtypes are pickled as classes.
  if (pickle_.kind(call.arguments[0]) == PickleKind::global &&
      pickle_.global(pickle_[call.arguments[0]]).module == "ml_dtypes")
    code = pickle_.global(pickle_[call.arguments[0]]).name;
  if (code.empty()) return false;
  const Arguments state = call.state == Pickle::absent ? Arguments() : pickle_.children(call.state);
  // The byte order is in the state: '<', '>', or '|' for elements of one byte. '=' would be the order of the writer.
  const std::string_view order = state.size() > 1 ? pickle_.text(state[1]) : "|";
  if (order.size() != 1 || !is_order(order[0])) return false;
  // Subdtype, names and fields are None for a dtype of plain numbers.
  for (const std::size_t structure : {std::size_t{2}, std::size_t{3}, std::size_t{4}})
    if (state.size() > structure && pickle_.kind(state[structure]) != PickleKind::null) return false;
  std::string dtype(order);
  dtype += code;
  make_text(call.value, dtype, TorchWord::dtype);
  return true;
}

bool TorchResolver::rewrite_numpy_scalar(const TorchCall& call) {
  if (call.arguments.size() != 2 || pickle_.kind(call.arguments[1]) != PickleKind::bytes) return false;
  const std::string_view code = pickle_.text(call.arguments[0]);
  // The first argument is a dtype that was rewritten to text before; one that stayed opaque has no text.
  if (code.size() < 2 || !is_order(code[0])) return false;
  const DType dtype = numpy_dtype_of(code.substr(1));
  // Scalars are short, so their bytes were never left in the file; a long blob is empty here and fails the test
  // below.
  const std::string_view bytes = pickle_.blob(pickle_[call.arguments[1]]).bytes;
  if (dtype == DType::unknown || bytes.size() != info(dtype).block_bytes) return false;
  const auto value = scalar_of(dtype, reinterpret_cast<const std::byte*>(bytes.data()), code[0] == '>');
  if (value) pickle_.values[call.value] = *value;
  return value.has_value();
}

/// Replaces _reconstruct(...) with the state (version, shape, dtype, is Fortran order, bytes), or _frombuffer(bytes,
/// dtype, shape, order), by a tensor.
bool TorchResolver::rewrite_numpy_array(const TorchCall& call) {
  if (call.known.kind == GlobalKind::numpy_from_buffer) {
    const Arguments parts = call.arguments;
    return parts.size() == 4 && make_array(call.value, parts[2], parts[1], pickle_.text(parts[3]) == "F", parts[0]);
  }
  const Arguments state = call.state == Pickle::absent ? Arguments() : pickle_.children(call.state);
  return state.size() == 5 && make_array(call.value, state[1], state[2], state[3] == Pickle::yes, state[4]);
}

/// Records an array that stays opaque, with its bytes or items, and returns false.
bool TorchResolver::leave_array(std::uint32_t value, std::uint32_t dtype) {
  objects_.arrays.push_back({value, pickle_.text(dtype)});
  return false;
}

bool TorchResolver::make_array(std::uint32_t value, std::uint32_t shape, std::uint32_t dtype, bool fortran,
                               std::uint32_t data) {
  const std::string_view code = pickle_.text(dtype);
  // Arrays of Python objects have a list here; structured dtypes have no text.
  if (pickle_.kind(data) != PickleKind::bytes || pickle_.container(shape) != PickleKind::tuple || code.size() < 2 ||
      !is_order(code[0]))
    return leave_array(value, dtype);
  TorchTensor tensor;
  tensor.dtype = numpy_dtype_of(code.substr(1));
  // The bytes stay in the pickle: the array becomes a tensor over them, without a copy.
  tensor.blob = static_cast<std::uint32_t>(pickle_[data].first);
  if (tensor.dtype == DType::unknown) return leave_array(value, dtype);
  if (code[0] == '>' && info(tensor.dtype).swap_bytes > 1) tensor.flags |= swapped;
  tensor.dims = static_cast<std::uint32_t>(objects_.dims.size());
  const std::size_t rank = read_dims(shape, "the shape of an array");
  tensor.rank = static_cast<std::uint8_t>(rank);
  // Room for the strides after the sizes.
  objects_.dims.resize(objects_.dims.size() + rank);
  const std::span<std::int64_t> dims = std::span(objects_.dims).subspan(tensor.dims);
  std::int64_t step = 1;
  for (std::size_t i = 0; i < rank; ++i) {
    // From the innermost dim outwards: the first one in Fortran order, the last one in C order.
    const std::size_t dim = fortran ? i : rank - 1 - i;
    dims[rank + dim] = step;
    // check_tensors() refuses sizes whose product overflows.
    if (__builtin_mul_overflow(step, std::max<std::int64_t>(dims[dim], 1), &step)) step = 0;
  }
  make_tensor(value, tensor);
  return true;
}

}  // namespace heft::format
