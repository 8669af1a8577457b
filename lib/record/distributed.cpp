#include "record/distributed.hpp"

#include <algorithm>
#include <string>
#include <utility>

#include <fmt/format.h>

#include "core/checked.hpp"
#include "core/text.hpp"
#include "format/formats.hpp"
#include "format/name_table.hpp"
#include "format/torch/embedded.hpp"
#include "heft/error.hpp"
#include "record/parallel.hpp"
#include "record/view_access.hpp"

namespace heft::record {
namespace {

using format::Catalog;
using format::TensorEntry;
using format::Tile;

/// The contents of one file by the index: numbers of tiles and of embedded values, each in the order of their bytes.
struct Content {
  std::vector<std::uint32_t> tiles;
  std::vector<std::uint32_t> values;
};

/// The place of each tile: an entry of the catalog of its file.
using Places = std::vector<EntryRef>;

/// Entries of a file's catalog that are tensors inside values, not tiles.
using Entries = std::vector<std::uint32_t>;

// Returns Error{corrupt} about `tensor` at `offset` of the file.
Error failure(const Source& file, std::string_view tensor, std::uint64_t offset, std::string message) {
  return Error(ErrorCode::corrupt, std::move(message),
               {.path = std::string(file.path()), .tensor = std::string(tensor), .offset = offset});
}

Shape shape_of(const Catalog& catalog, const TensorEntry& entry) { return Shape(catalog.sizes(entry)); }

// Returns the start of the tile in the whole. The index stores it before the tile's sizes.
std::span<const std::int64_t> place_of(const Catalog& index, const Tile& tile, std::size_t rank) {
  return std::span(index.dims).subspan(tile.dims, rank);
}

// Returns the tile's sizes.
std::span<const std::int64_t> sizes_of(const Catalog& index, const Tile& tile, std::size_t rank) {
  return std::span(index.dims).subspan(tile.dims + rank, rank);
}

// Returns the name of the dtype; the file's own word for a dtype that heft does not have.
std::string_view dtype_word(const Catalog& catalog, const TensorEntry& entry) {
  return entry.type_name == format::none ? name(entry.dtype) : catalog.type_names[entry.type_name];
}

/// Reads the contents of one file.
class PartReader {
 public:
  PartReader(const Catalog& index, std::span<const std::uint32_t> owners, const Source& file, std::uint32_t number,
             const OpenOptions& options)
      : index_(index), owners_(owners), file_(file), input_(file, index.budget), number_(number) {
    // Only options of embedded tensors. Keys and raw items concern whole files.
    options_.limits = options.limits;
    options_.torch = options.torch;
  }

  Catalog read(const Content& content, Places& places, Entries& others) {
    const bool is_safetensors = recognize(file_) == &format::safetensors_format;
    if (is_safetensors) read_safetensors();
    catalog_.format = format::torch_dcp_format.name;
    catalog_.detail = fmt::format("{} chunks and {} values of a distributed checkpoint{}", content.tiles.size(),
                                  content.values.size(), is_safetensors ? ", safetensors" : "");
    for (const std::uint32_t tile : content.tiles)
      // Files are read in parallel; each writes only the places of its own tiles, so no lock is needed.
      places[tile] = {number_, is_safetensors ? find_tile(tile) : read_tile(tile)};
    // Entries from here on are tensors inside values, which get their own names in the table.
    const std::size_t chunks = catalog_.tensors.size();
    // Empty chunks are not read.
    const auto filled = static_cast<std::size_t>(
        std::ranges::count_if(catalog_.tensors, [](const TensorEntry& tensor) { return tensor.size != 0; }));
    if (is_safetensors && filled > content.tiles.size())
      catalog_.notes.push_back(
          fmt::format("{} tensors that the index does not name are left out", filled - content.tiles.size()));
    for (const std::uint32_t value : content.values) read_value(index_.embedded[value]);
    for (std::size_t entry = chunks; entry < catalog_.tensors.size(); ++entry)
      others.push_back(static_cast<std::uint32_t>(entry));
    catalog_.order.clear();  // the order of chunks is not that of a document
    return std::move(catalog_);
  }

 private:
  [[nodiscard]] const format::Tiled& owner(std::uint32_t tile) const { return index_.tiled[owners_[tile]]; }

  void require_inside(std::string_view name, std::uint64_t begin, std::uint64_t size) const {
    if (core::inside(begin, size, file_.size_bytes())) return;
    throw failure(file_, name, begin,
                  fmt::format("the index declares {} bytes at {}, the file has {}: the download is incomplete", size,
                              begin, file_.size_bytes()));
  }

  /// Requires that the chunk has the dtype and shape that the index declares.
  void require_tile(std::uint32_t number, const TensorEntry& found) const {
    const TensorEntry& whole = owner(number).whole;
    const Shape expected(sizes_of(index_, index_.tiles[number], whole.rank));
    // Names are compared too, because two unknown dtypes are equal as enumerators.
    const bool same_dtype = found.dtype == whole.dtype && dtype_word(catalog_, found) == dtype_word(index_, whole);
    if (same_dtype && shape_of(catalog_, found) == expected) return;
    throw failure(file_, whole.name, found.begin,
                  fmt::format("expected a chunk of {} {} as the index declares, found {} {}",
                              core::escaped(dtype_word(index_, whole)), to_string(expected),
                              core::escaped(dtype_word(catalog_, found)), to_string(shape_of(catalog_, found))));
  }

  std::uint32_t read_tile(std::uint32_t number) {
    const Tile& tile = index_.tiles[number];
    const std::string_view name = owner(number).whole.name;
    require_inside(name, tile.begin, tile.size);
    try {
      catalog_.tensors.push_back(
          format::read_embedded_tensor({input_, tile.begin, tile.size, options_}, name, catalog_));
    } catch (const Error& error) {
      // The chunk has no name of its own; only the index has it.
      throw error.with_tensor(name);
    }
    require_tile(number, catalog_.tensors.back());
    return static_cast<std::uint32_t>(catalog_.tensors.size() - 1);
  }

  void read_safetensors() {
    catalog_ = format::safetensors_format.read(input_, options_);
    catalog_.metadata = format::none;  // the places of chunks, which the index declares too
    for (const TensorEntry& tensor : catalog_.tensors) names_.add(tensor.name);
  }

  /// Finds a chunk by the name of its tensor. A file of this kind has at most one chunk of each tensor.
  std::uint32_t find_tile(std::uint32_t number) {
    const TensorEntry& whole = owner(number).whole;
    // Offsets of the index do not apply to safetensors files, whose header has the places.
    const auto found = names_.find(whole.name);
    if (!found)
      throw failure(file_, whole.name, 0,
                    "the index places a chunk of this tensor in the file, which does not have it");
    require_tile(number, catalog_.tensors[*found]);
    return *found;
  }

  void read_value(const format::Embedded& value) {
    require_inside(value.name, value.begin, value.size);
    try {
      format::read_embedded_value({input_, value.begin, value.size, options_}, value.name, catalog_);
    } catch (const Error& error) {
      throw error.with_tensor(value.name);
    }
  }

  const Catalog& index_;
  std::span<const std::uint32_t> owners_;
  const Source& file_;
  SourceInput input_;
  std::uint32_t number_;
  format::ReadOptions options_;
  format::NameTable names_;
  Catalog catalog_{index_.budget};
};

/// Returns the number of the tensor of each tile.
std::vector<std::uint32_t> owners_of(const Catalog& index) {
  std::vector<std::uint32_t> owners(index.tiles.size());
  for (std::uint32_t tensor = 0; tensor < index.tiled.size(); ++tensor) {
    const format::Tiled& tiled = index.tiled[tensor];
    std::fill_n(owners.begin() + tiled.first_tile, tiled.tile_count, tensor);
  }
  return owners;
}

// Returns the contents of each file. `numbers` contains the position of each file that the index names.
std::vector<Content> contents_of(const Catalog& index, std::size_t files, const std::vector<std::uint32_t>& numbers) {
  std::vector<Content> contents(files);
  for (std::uint32_t tile = 0; tile < index.tiles.size(); ++tile)
    contents[numbers[index.tiles[tile].shard]].tiles.push_back(tile);
  for (std::uint32_t value = 0; value < index.embedded.size(); ++value)
    contents[numbers[index.embedded[value].shard]].values.push_back(value);
  for (Content& content : contents) {
    // In the order of bytes, so that heads are read from front to back.
    std::ranges::stable_sort(content.tiles, {}, [&](std::uint32_t tile) { return index.tiles[tile].begin; });
    std::ranges::stable_sort(content.values, {}, [&](std::uint32_t value) { return index.embedded[value].begin; });
  }
  return contents;
}

/// Makes the table of tensors from the tiles.
class Assembler {
 public:
  Assembler(State& state, const Shard& index, const Places& places, std::span<const Entries> others)
      : state_(state), index_(index), places_(places), others_(others) {}

  void assemble() {
    for (const format::Tiled& tiled : index_.catalog->tiled) add(tiled);
    for (std::uint32_t shard = 0; shard < others_.size(); ++shard)
      for (const std::uint32_t entry : others_[shard]) state_.entries.push_back({shard, entry});
    state_.index_names();
  }

 private:
  void add(const format::Tiled& tiled) {
    const Catalog& index = *index_.catalog;
    const Shape whole = shape_of(index, tiled.whole);
    // No file has a chunk of a tensor without elements. The entry of the index has its dtype and shape.
    if (whole.element_count() == 0 && tiled.tile_count == 0) return add_made(index_.view(tiled.whole));
    // A chunk that is the whole tensor stays an entry of the file's catalog, which takes less memory than a made view.
    if (tiled.tile_count == 1 &&
        std::ranges::equal(sizes_of(index, index.tiles[tiled.first_tile], whole.rank()), whole)) {
      state_.entries.push_back(places_[tiled.first_tile]);
      return;
    }
    std::vector<Piece> pieces;
    for (std::uint32_t i = 0; i < tiled.tile_count; ++i) {
      const Tile& tile = index.tiles[tiled.first_tile + i];
      const EntryRef at = places_[tiled.first_tile + i];
      pieces.push_back({state_.shards[at.shard]->view(state_.catalog(at.shard).tensors[at.entry]),
                        Dims(place_of(index, tile, whole.rank()))});
    }
    try {
      add_made(TensorView::over_pieces(std::string(tiled.whole.name), whole, std::move(pieces)));
    } catch (const Error& error) {
      // over_pieces() reports a caller's mistake; here the file is at fault.
      throw Error(ErrorCode::corrupt, fmt::format("its chunks do not cover the tensor: {}", error.message()),
                  {.path = std::string(index_.file->path()), .tensor = std::string(tiled.whole.name), .offset = 0});
    }
  }

  void add_made(TensorView view) {
    state_.entries.push_back({EntryRef::made, static_cast<std::uint32_t>(state_.made.size())});
    state_.made.push_back(std::move(view));
  }

  State& state_;
  const Shard& index_;
  const Places& places_;
  std::span<const Entries> others_;  // of each file
};

}  // namespace

void open_distributed(State& state, const std::shared_ptr<const Shard>& index,
                      std::span<const std::shared_ptr<const Source>> files, const std::vector<std::uint32_t>& numbers,
                      const OpenOptions& options) {
  const Catalog& catalog = *index->catalog;
  const std::vector<std::uint32_t> owners = owners_of(catalog);
  const std::vector<Content> contents = contents_of(catalog, files.size(), numbers);
  Places places(catalog.tiles.size());
  std::vector<Entries> others(files.size());
  state.shards.resize(files.size());
  // Each step writes to elements of its own in vectors that were sized before.
  in_parallel(files.size(), [&](std::size_t number) {
    PartReader reader(catalog, owners, *files[number], static_cast<std::uint32_t>(number), options);
    Catalog part = read_as_it_is(*files[number], [&] { return reader.read(contents[number], places, others[number]); });
    // The names of its tensors lie in the catalog of the index.
    part.kept.emplace_back(std::span<const std::byte>(), index->catalog);
    state.shards[number] = make_shard(files[number], std::move(part), options);
  });
  Assembler(state, *index, places, others).assemble();
}

}  // namespace heft::record
