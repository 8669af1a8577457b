// record/meta.cpp: the places of N parts of a tensor in the whole:
//
//   tensor                                 whole (unknown: ?)             cut along
//   tok_embeddings.weight                  [vocab, dim]                   1 in Llama 1 and 2, 0 since Llama 3
//   output.weight                          [vocab, dim]                   0
//   attention.wq.weight                    [heads * head_dim, dim]        0
//   attention.wk.weight, wv                [kv_heads * head_dim, dim]     0; parts can repeat their neighbour
//   attention.wo.weight                    [dim, heads * head_dim]        1
//   feed_forward.w1.weight, w3             [?, dim]                       0
//   feed_forward.w2.weight                 [dim, ?]                       1
//   norm.weight and *_norm.weight          [dim]                          not
//   rope.freqs                             [?]                            not
//
// Dims that params.json declares are compared first: the one that is whole / N in a part is the cut one. A dim that it
// does not declare (vocab_size is -1 in Llama 1 and 2, the hidden size follows from a formula with rounding) is the cut
// one if the other is whole.
#include "record/meta.hpp"

#include <algorithm>
#include <array>
#include <optional>
#include <span>
#include <utility>

#include <fmt/format.h>

#include "core/text.hpp"
#include "format/json/nodes.hpp"
#include "heft/error.hpp"
#include "record/view_access.hpp"

namespace heft::record {
namespace {

constexpr std::int64_t unknown = -1;

struct Params {
  std::int64_t dim = unknown;
  std::int64_t vocab = unknown;
  std::int64_t query_rows = unknown;
  std::int64_t key_rows = unknown;
  std::int64_t head_dim = unknown;
};

// Returns a positive integer of params.json, or `unknown`.
std::int64_t number(const format::Catalog& catalog, std::string_view wanted) noexcept {
  const format::Node* const value = catalog.find_key(catalog.metadata, wanted);
  if (value == nullptr || value->kind != format::NodeKind::integer || value->count != 0) return unknown;
  // Dims of matrices are far below 2^31, which keeps products within 64 bits.
  return value->integer > 0 && value->integer <= INT32_MAX ? value->integer : unknown;
}

// Returns the dims that params.json declares or implies: query_rows and key_rows are the rows of wq and of wk, wv.
Params read_params(const format::Catalog& catalog) {
  Params params{
      .dim = number(catalog, "dim"), .vocab = number(catalog, "vocab_size"), .head_dim = number(catalog, "head_dim")};
  const std::int64_t heads = number(catalog, "n_heads");
  const std::int64_t declared = number(catalog, "n_kv_heads");
  // Files of Llama 1 have no n_kv_heads: each head has its own keys.
  const std::int64_t key_heads = declared == unknown ? heads : declared;
  if (params.head_dim == unknown && params.dim != unknown && heads != unknown && params.dim % heads == 0)
    params.head_dim = params.dim / heads;
  if (params.head_dim == unknown || heads == unknown) return params;
  params.query_rows = heads * params.head_dim;
  params.key_rows = key_heads * params.head_dim;
  return params;
}

// The known dims of a whole tensor.
struct Whole {
  std::vector<std::int64_t> shape;  // `unknown` for dims that params.json does not declare
  bool replicated = false;
  bool heads_repeat = false;  // parts can have the same rows of dim 0
};

// Returns the known dims of the tensor of that name; nothing without a rule in the table above.
std::optional<Whole> whole_of(std::string_view name, const Params& params) {
  // `ending` must be whole parts of the name: "output.weight" is not the end of "my_output.weight".
  const auto is = [&](std::string_view ending) {
    return name.ends_with(ending) && (name.size() == ending.size() || name[name.size() - ending.size() - 1] == '.');
  };
  if (is("tok_embeddings.weight") || is("output.weight")) return Whole{{params.vocab, params.dim}};
  if (is("attention.wq.weight")) return Whole{{params.query_rows, params.dim}};
  if (is("attention.wk.weight") || is("attention.wv.weight")) return Whole{{params.key_rows, params.dim}, false, true};
  if (is("attention.wo.weight")) return Whole{{params.dim, params.query_rows}};
  if (is("feed_forward.w1.weight") || is("feed_forward.w3.weight")) return Whole{{unknown, params.dim}};
  if (is("feed_forward.w2.weight")) return Whole{{params.dim, unknown}};
  // Without a dot in front: attention_norm, ffn_norm and norm.
  if (name.ends_with("norm.weight")) return Whole{{params.dim}, true};
  if (is("rope.freqs")) return Whole{{unknown}, true};
  return {};
}

struct Cut {
  std::size_t dim = 0;
  std::int64_t every = 1;  // number of neighbouring parts with the same rows, of which one is used
};

// Returns how `parts` parts of that shape make the whole, or nothing if they do not.
std::optional<Cut> cut_of(const Whole& whole, const Shape& part, std::int64_t parts) {
  if (part.rank() != 2) return {};
  for (std::size_t dim = 0; dim < 2; ++dim) {
    const std::int64_t full = whole.shape[dim];
    const std::int64_t other = whole.shape[1 - dim];
    // The other dim must be whole in a part. One that params.json does not declare is taken for whole if this dim is
    // declared and is not.
    const bool other_whole = other == part[1 - dim] || (other == unknown && full != unknown && full != part[dim]);
    if (!other_whole || part[dim] == 0) continue;
    if (full == unknown || part[dim] * parts == full) return Cut{dim};
    // With fewer heads than parts, each head is in several neighbouring parts, of which the first is used.
    const std::int64_t distinct = full / part[dim];
    if (whole.heads_repeat && dim == 0 && full % part[dim] == 0 && distinct < parts && parts % distinct == 0)
      return Cut{0, parts / distinct};
  }
  return {};
}

class Merger {
 public:
  Merger(State& state, const Params& params) : state_(state), params_(params) {
    for (std::uint32_t part = 0; part < state_.shards.size(); ++part) {
      const auto& tensors = state_.catalog(part).tensors;
      // Names of a catalog are unique, so no comparison is needed to insert them. Parts can list them in different
      // orders.
      core::NameIndex names(tensors.size());
      for (std::uint32_t entry = 0; entry < tensors.size(); ++entry)
        names.insert(state_.hash(tensors[entry].name), entry, [](std::uint32_t) { return false; });
      names_.push_back(std::move(names));
    }
  }

  void merge() {
    const auto& first = state_.catalog(0).tensors;
    for (std::uint32_t part = 1; part < state_.shards.size(); ++part)
      // With equal numbers, and each name of the first part found in the others, no part has another tensor.
      if (state_.catalog(part).tensors.size() != first.size())
        fail(part, {},
             fmt::format("expected {} tensors as in the first part, found {}", first.size(),
                         state_.catalog(part).tensors.size()));
    for (std::uint32_t entry = 0; entry < first.size(); ++entry) add(entry);
    state_.index_names();
  }

 private:
  [[noreturn]] void fail(std::uint32_t part, std::string_view name, std::string message) const {
    throw Error(ErrorCode::corrupt, std::move(message),
                {.path = std::string(state_.shards[part]->file->path()), .tensor = std::string(name)});
  }

  void add(std::uint32_t entry) {
    // Throws for a part that lacks the tensor, with or without a rule.
    std::vector<TensorView> parts = views_of(state_.catalog(0).tensors[entry]);
    const auto whole = whole_of(parts.front().name(), params_);
    if (!whole) return add_apart(std::move(parts));
    require_alike(parts);
    // All parts have the same values by construction; comparing them would read payload.
    if (whole->replicated) {
      state_.entries.push_back({0, entry});
      return;
    }
    const auto count = static_cast<std::int64_t>(parts.size());
    const auto cut = cut_of(*whole, parts.front().shape(), count);
    if (!cut)
      fail(0, parts.front().name(),
           fmt::format("a part of shape {} in {} parts fits no whole that params.json implies",
                       to_string(parts.front().shape()), count));
    add_made(join(std::move(parts), *cut));
  }

  [[nodiscard]] std::vector<TensorView> views_of(const format::TensorEntry& first) const {
    std::vector<TensorView> parts{state_.shards[0]->view(first)};
    for (std::uint32_t part = 1; part < state_.shards.size(); ++part) {
      const auto& tensors = state_.catalog(part).tensors;
      const std::uint32_t entry = names_[part].find(
          state_.hash(first.name), [&](std::uint32_t held) { return tensors[held].name == first.name; });
      if (entry == core::NameIndex::none) fail(part, first.name, "the first part has this tensor, this part has not");
      parts.push_back(state_.shards[part]->view(tensors[entry]));
    }
    return parts;
  }

  void require_alike(const std::vector<TensorView>& parts) const {
    const TensorView& first = parts.front();
    for (std::uint32_t part = 1; part < parts.size(); ++part)
      if (parts[part].dtype() != first.dtype() || parts[part].shape() != first.shape())
        fail(part, first.name(),
             fmt::format("expected {} {} as in the first part, found {} {}", core::escaped(first.dtype_name()),
                         to_string(first.shape()), core::escaped(parts[part].dtype_name()),
                         to_string(parts[part].shape())));
  }

  static TensorView join(std::vector<TensorView> parts, Cut cut) {
    Shape shape = parts.front().shape();
    std::string name(parts.front().name());
    std::vector<Piece> pieces;
    // Parts have equal shapes, as require_alike() has checked.
    const std::int64_t step = shape[cut.dim];
    // Skips parts that repeat the rows of the one before.
    for (std::size_t part = 0; part < parts.size(); part += static_cast<std::size_t>(cut.every)) {
      Dims at(shape.rank(), 0);
      at[cut.dim] = static_cast<std::int64_t>(pieces.size()) * step;
      pieces.push_back({std::move(parts[part]), std::move(at)});
    }
    shape[cut.dim] = step * static_cast<std::int64_t>(pieces.size());
    return TensorView::over_pieces(std::move(name), std::move(shape), std::move(pieces));
  }

  void add_made(TensorView view) {
    state_.entries.push_back({EntryRef::made, static_cast<std::uint32_t>(state_.made.size())});
    state_.made.push_back(std::move(view));
  }

  void add_apart(std::vector<TensorView> parts) {
    state_.notes.push_back(fmt::format("tensor '{}': no rule combines its {} parts, each is listed",
                                       core::escaped(parts.front().name()), parts.size()));
    for (std::size_t part = 0; part < parts.size(); ++part)
      // Names of one tensor in several parts must differ in the table; the file's name in front makes them so.
      add_made(parts[part].renamed(fmt::format("consolidated.{:02}.{}", part, parts[part].name())));
  }

  State& state_;
  const Params& params_;
  std::vector<core::NameIndex> names_;  // of each part
};

}  // namespace

std::shared_ptr<const Shard> open_params(std::shared_ptr<const Source> file, const OpenOptions& options,
                                         const std::shared_ptr<core::MetadataBudget>& budget) {
  auto shard = std::make_shared<Shard>();
  try {
    const SourceInput input(*file, budget);
    shard->catalog =
        std::make_shared<const format::Catalog>(format::read_json_object(input, "params.json", options.limits));
    file->check_unchanged();
  } catch (const Error& error) {
    throw error.with_path(file->path());
  }
  std::vector<std::string> no_notes;
  // Read, not mapped: the shard has no tensors, and its values lie in the catalog.
  shard->source = file->payload(shard->catalog, Access::read, no_notes);
  shard->file = std::move(file);
  return shard;
}

void merge_meta(State& state, const Shard& params) { Merger(state, read_params(*params.catalog)).merge(); }

}  // namespace heft::record
