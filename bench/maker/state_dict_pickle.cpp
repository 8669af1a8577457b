#include "maker/state_dict_pickle.hpp"

#include <fmt/format.h>

#include "maker/output.hpp"

namespace bench {

namespace {

constexpr char mark = '(', tuple = 't', empty_tuple = ')', reduce = 'R', set_items = 'u', persistent_id = 'Q',
               new_false = '\x89', none = 'N';
constexpr std::size_t batch = 1000;  // the items of a dict that Python's pickler sets at once

void put_tuple(Pickle& out, const std::vector<std::int64_t>& values) {
  constexpr char short_tuple[] = {empty_tuple, '\x85', '\x86', '\x87'};
  const bool is_short = values.size() < sizeof short_tuple;
  if (!is_short) out.op(mark);
  for (const std::int64_t v : values) out.integer(v);
  out.op(is_short ? short_tuple[values.size()] : tuple);
  if (!values.empty()) out.memoize();
}

std::vector<std::int64_t> packed_strides(const std::vector<std::int64_t>& shape) {
  std::vector<std::int64_t> strides(shape.size(), 1);
  for (std::size_t i = shape.size(); i-- > 1;) strides[i - 1] = strides[i] * shape[i];
  return strides;
}

void put_ordered_dict(Pickle& out) {
  out.global("collections OrderedDict");
  out.op(empty_tuple);
  out.op(reduce);
  out.memoize();
}

void put_storage(Pickle& out, const Tensor& t, StorageIds ids, std::size_t number) {
  out.op(mark);
  out.text("storage");
  out.global(fmt::format("torch {}", info(t.kind).torch));
  out.text(storage_key(ids, number));
  out.text("cpu");
  out.integer(static_cast<std::int64_t>(t.elements()));
  if (ids == StorageIds::legacy) out.op(none);
  out.op(tuple);
  out.memoize();
  out.op(persistent_id);
}

// _rebuild_tensor_v2(storage, offset, size, stride, requires_grad, backward_hooks)
void put_tensor(Pickle& out, const Tensor& t, StorageIds ids, std::size_t number) {
  out.global("torch._utils _rebuild_tensor_v2");
  out.op(mark);
  put_storage(out, t, ids, number);
  out.integer(0);
  put_tuple(out, t.shape);
  put_tuple(out, packed_strides(t.shape));
  out.op(new_false);
  put_ordered_dict(out);
  out.op(tuple);
  out.memoize();
  out.op(reduce);
  out.memoize();
}

}  // namespace

Pickle::Pickle() : bytes_{std::byte{0x80}, std::byte{2}} {}

void Pickle::raw(std::string_view bytes) { put_text(bytes_, bytes); }

void Pickle::memoize() {
  if (next_ < 256) {
    op('q');
    put_le<std::uint8_t>(bytes_, static_cast<std::uint8_t>(next_));
  } else {
    op('r');
    put_le(bytes_, next_);
  }
  ++next_;
}

bool Pickle::fetched(const std::string& key) {
  const auto [at, is_new] = memo_.try_emplace(key, next_);
  if (is_new) return false;
  if (at->second < 256) {
    op('h');
    put_le<std::uint8_t>(bytes_, static_cast<std::uint8_t>(at->second));
  } else {
    op('j');
    put_le(bytes_, at->second);
  }
  return true;
}

void Pickle::text(std::string_view value) {
  if (fetched(fmt::format("text {}", value))) return;
  op('X');
  put_le<std::uint32_t>(bytes_, static_cast<std::uint32_t>(value.size()));
  raw(value);
  memoize();
}

void Pickle::global(std::string_view module_and_name) {
  if (fetched(fmt::format("global {}", module_and_name))) return;
  const std::size_t space = module_and_name.find(' ');
  raw(fmt::format("c{}\n{}\n", module_and_name.substr(0, space), module_and_name.substr(space + 1)));
  memoize();
}

void Pickle::integer(std::int64_t value) {
  if (value >= 0 && value < 256) {
    op('K');
    put_le<std::uint8_t>(bytes_, static_cast<std::uint8_t>(value));
  } else if (value >= 0 && value < 65536) {
    op('M');
    put_le<std::uint16_t>(bytes_, static_cast<std::uint16_t>(value));
  } else if (value >= INT32_MIN && value <= INT32_MAX) {
    op('J');
    put_le<std::int32_t>(bytes_, static_cast<std::int32_t>(value));
  } else {
    raw("\x8a\x08");
    put_le<std::int64_t>(bytes_, value);
  }
}

std::vector<std::byte> Pickle::finish() {
  op('.');
  return std::move(bytes_);
}

std::string storage_key(StorageIds ids, std::size_t number) {
  return ids == StorageIds::zip ? fmt::format("{}", number) : fmt::format("{}", 94000000000000 + 128 * number);
}

std::vector<std::byte> pickle_state_dict(const std::vector<const Tensor*>& tensors, StorageIds ids) {
  Pickle out;
  put_ordered_dict(out);
  for (std::size_t first = 0; first < tensors.size(); first += batch) {
    out.op(mark);
    for (std::size_t i = first; i < std::min(first + batch, tensors.size()); ++i) {
      out.text(tensors[i]->name);
      put_tensor(out, *tensors[i], ids, i);
    }
    out.op(set_items);
  }
  return out.finish();
}

}  // namespace bench
