#include "subjects/direct.hpp"
#include "subjects/subject.hpp"

namespace bench {

void direct_uring(const DirectRead&) { throw Absent("this build has no liburing"); }

}  // namespace bench
