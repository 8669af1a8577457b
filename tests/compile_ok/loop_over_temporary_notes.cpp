// A loop keeps the list that a temporary checkpoint returns.
#include <heft/checkpoint.hpp>

std::size_t letters(const char* path) {
  std::size_t count = heft::open(path).path().size();
  for (const std::string& note : heft::open(path).notes()) count += note.size();
  for (const heft::ShardInfo& shard : heft::open(path).shards()) count += shard.path.size();
  return count;
}
