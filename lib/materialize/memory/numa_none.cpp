// Stands in for numa_libnuma.cpp in a build without libnuma: threads run where the system puts them.
#include "materialize/memory/numa.hpp"

namespace heft::engine {

NodeBinding::NodeBinding(unsigned) noexcept { (void)before_, (void)is_bound_; }
NodeBinding::~NodeBinding() = default;

}  // namespace heft::engine
