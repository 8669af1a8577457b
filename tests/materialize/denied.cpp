// Loads in a process to which the kernel denies a call (seccomp, as sandboxes and containers do): the bytes are right
// all the same, and LoadStats names what was refused. Each row proves that its call is made: a twin whose filter kills
// instead of denying dies of SIGSYS.
#include <doctest/doctest.h>
#include <fcntl.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <csignal>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <filesystem>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <system_error>
#include <vector>

#include "heft/heft.hpp"
#include "support/fixtures.hpp"
#include "support/safetensors_builder.hpp"
#include "support/temp_folder.hpp"

namespace {

using namespace heft;

namespace fs = std::filesystem;

#if defined(__x86_64__)
constexpr std::uint32_t architecture = AUDIT_ARCH_X86_64;
#elif defined(__aarch64__)
constexpr std::uint32_t architecture = AUDIT_ARCH_AARCH64;
#endif

// Calls of a number whose arguments meet the conditions: (argument & mask) == value, or != where `differs`.
struct Condition {
  unsigned argument = 0;
  std::uint32_t mask = ~0u;
  std::uint32_t value = 0;
  bool differs = false;
};
struct Calls {
  long number = -1;
  std::vector<Condition> conditions = {};
};

::sock_filter load(std::size_t offset) {
  return BPF_STMT(BPF_LD | BPF_W | BPF_ABS, static_cast<std::uint32_t>(offset));
}

// The rest of the process's life: `action` in place of those calls, `otherwise` in place of all others.
void filter(const std::vector<Calls>& denied, std::uint32_t action, std::uint32_t otherwise = SECCOMP_RET_ALLOW) {
  std::vector<::sock_filter> program = {load(offsetof(::seccomp_data, arch)),
                                        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, architecture, 1, 0),
                                        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW)};
  for (const Calls& calls : denied) {
    // A step is three instructions long; who does not meet it goes past all that follow, and the return.
    const auto past = [&](std::size_t step) {
      return static_cast<std::uint8_t>(3 * (calls.conditions.size() - step) + 1);
    };
    program.push_back(load(offsetof(::seccomp_data, nr)));
    program.push_back(BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, static_cast<std::uint32_t>(calls.number), 0, past(0)));
    for (std::size_t i = 0; i < calls.conditions.size(); ++i) {
      const Condition& each = calls.conditions[i];
      program.push_back(load(offsetof(::seccomp_data, args) + 8 * each.argument));
      program.push_back(BPF_STMT(BPF_ALU | BPF_AND | BPF_K, each.mask));
      const std::uint8_t met = 0;
      const std::uint8_t unmet = past(i + 1);
      program.push_back(
          BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, each.value, each.differs ? unmet : met, each.differs ? met : unmet));
    }
    program.push_back(BPF_STMT(BPF_RET | BPF_K, action));
  }
  program.push_back(BPF_STMT(BPF_RET | BPF_K, otherwise));
  const ::sock_fprog whole{.len = static_cast<unsigned short>(program.size()), .filter = program.data()};
  if (::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0 || ::prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &whole) != 0)
    ::_exit(97);
}

// The result of the work: a digest of all bytes, and the notes of LoadStats and Checkpoint.
struct Result {
  int signal = 0;
  int status = -1;
  std::string text;  // "digest\nnote\nnote\n..."
  [[nodiscard]] std::string digest() const { return text.substr(0, text.find('\n')); }
};

class Digest {
 public:
  void add(std::span<const std::byte> bytes) {
    for (; bytes.size() >= 8; bytes = bytes.subspan(8)) {
      std::uint64_t word = 0;
      std::memcpy(&word, bytes.data(), sizeof word);
      sum_ = (sum_ ^ word) * 0x100000001b3u;
      sum_ ^= sum_ >> 29;
    }
    for (const std::byte byte : bytes) sum_ = (sum_ ^ std::to_integer<std::uint64_t>(byte)) * 0x100000001b3u;
  }
  void add(const Tensor& tensor) {
    add(std::as_bytes(std::span(tensor.name())));
    add(tensor.bytes());
  }
  [[nodiscard]] std::uint64_t sum() const noexcept { return sum_; }

 private:
  std::uint64_t sum_ = 0xcbf29ce484222325u;
};

// Everything that a load and a save may do: on every path, mapped and read, cached and not, into fresh memory and
// memory that is there, streamed; saved over a file of unusual permissions and over shards.
struct Work {
  fs::path model;
  fs::path saved;
  fs::path sharded;
  Access access = Access::map;
  bool evicts = true;  // with a call that heft makes too

  std::string run() const {
    Digest digest;
    std::set<std::string> notes;
    const Checkpoint checkpoint = open(model, {.access = access});
    for (const std::string& note : checkpoint.notes()) notes.insert("open: " + note);
    for (const IoMethod path : {IoMethod::automatic, IoMethod::map, IoMethod::direct, IoMethod::read})
      for (const bool cached : {true, false}) {
        if (!cached && evicts) evict();
        for (const unsigned threads : {1u, 2u})
          add(materialize(plan(checkpoint), {.threads = threads, .io_method = path, .drop_page_cache = !cached}),
              digest, notes);
      }
    std::vector<std::byte> there(12u << 20);
    LoadPlan into;
    const TensorView large = checkpoint.tensor("large.0");
    into.add(large, DType::f32, std::span(there).first(large.element_count() * 4));
    add(materialize(into), digest, notes);
    const auto workers = std::make_shared<Workers>(1);
    notes.insert("workers: " + std::to_string(workers->threads()));
    add(materialize(plan(checkpoint), {.threads = 2, .workers = workers}), digest, notes);
    TensorStream tensors = stream(plan(checkpoint), {}, {.in_flight_bytes = 6u << 20});
    for (const Tensor& tensor : tensors) digest.add(tensor);
    for (const std::string& note : tensors.stats().notes) notes.insert(note);
    open_what_was_just_written(checkpoint);
    save_over_a_file(checkpoint, notes);
    save_over_shards(checkpoint, notes);
    for (const fs::path& path : {saved, sharded}) {
      const Checkpoint written = open(path, {.access = Access::read});
      for (const std::string& note : written.notes()) notes.insert("open: " + note);
      add(written, digest);
    }
    std::string text = std::to_string(digest.sum()) + "\n";
    for (const std::string& note : notes) text += note + "\n";
    return text;
  }

 private:
  // The umask leaves a new file less than the old one had.
  void save_over_a_file(const Checkpoint& checkpoint, std::set<std::string>& notes) const {
    ::umask(022);
    const int old = ::open(saved.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
    ::chmod(saved.c_str(), 0666);
    ::close(old);
    for (const std::string& note : save(checkpoint, saved).notes) notes.insert("save: " + note);
  }

  // The second time there are old ones to remove.
  void save_over_shards(const Checkpoint& checkpoint, std::set<std::string>& notes) const {
    std::vector<SaveItem> items;
    for (const TensorView& view : checkpoint.tensors())
      if (view.name().starts_with("small")) items.emplace_back(view);
    for (int i = 0; i < 2; ++i)
      for (const std::string& note : save(items, sharded, {.shard_bytes = 20'000}).notes) notes.insert("save: " + note);
  }

  // In the tick of the kernel's clock in which it was written, after the first at the latest.
  void open_what_was_just_written(const Checkpoint& checkpoint) const {
    for (int i = 0; i < 3; ++i) {
      static_cast<void>(save(std::vector<SaveItem>{checkpoint.tensor("small.0")}, saved, {.sync = false}));
      static_cast<void>(open(saved, {.access = access}));
    }
  }

  static void add(const Checkpoint& checkpoint, Digest& digest) {
    for (const TensorView& view : checkpoint.tensors()) {
      const Bytes bytes = view.bytes();
      digest.add(bytes.span());
    }
  }
  static LoadPlan plan(const Checkpoint& checkpoint) {
    LoadPlan plan;
    for (const TensorView& view : checkpoint.tensors())
      plan.add(view, view.name() == "large.1" ? DType::f32 : view.dtype());
    return plan;
  }
  static void add(const Weights& weights, Digest& digest, std::set<std::string>& notes) {
    for (const Tensor& tensor : weights) digest.add(tensor);
    for (const std::string& note : weights.stats().notes) notes.insert(note);
  }
  void evict() const {
    const int handle = ::open(model.c_str(), O_RDONLY | O_CLOEXEC);
    ::posix_fadvise(handle, 0, 0, POSIX_FADV_DONTNEED);
    ::close(handle);
  }
};

std::uint32_t denial(int os_error) { return SECCOMP_RET_ERRNO | static_cast<std::uint32_t>(os_error); }

// `besides` are denied with ENOSYS, whatever happens to `denied`.
Result in_child(const Work& work, const std::vector<Calls>& denied, std::uint32_t action,
                const std::vector<Calls>& besides = {}, std::uint32_t otherwise = SECCOMP_RET_ALLOW) {
  int ends[2];
  REQUIRE(::pipe(ends) == 0);
  const pid_t child = ::fork();
  REQUIRE(child >= 0);
  if (child == 0) {
    ::close(ends[0]);
    if (!besides.empty()) filter(besides, denial(ENOSYS));
    if (!denied.empty()) filter(denied, action, otherwise);
    std::string text;
    int status = 0;
    try {
      text = work.run();
    } catch (const std::exception& error) {
      text = error.what();
      status = 1;
    }
    if (::write(ends[1], text.data(), text.size()) < 0) status = 96;
    ::_exit(status);
  }
  ::close(ends[1]);
  Result result;
  std::array<char, 4096> part;
  while (const ssize_t got = ::read(ends[0], part.data(), part.size())) {
    if (got < 0) break;
    result.text.append(part.data(), static_cast<std::size_t>(got));
  }
  ::close(ends[0]);
  int status = 0;
  REQUIRE(::waitpid(child, &status, 0) == child);
  result.signal = WIFSIGNALED(status) ? WTERMSIG(status) : 0;
  result.status = WIFEXITED(status) ? WEXITSTATUS(status) : -1;
  return result;
}

struct Model {
  test::TempFolder folder;
  Work work;

  explicit Model(Access access = Access::map) {
    test::SafetensorsBuilder file;
    file.align(4096);
    for (int i = 0; i < 4; ++i)
      file.add("large." + std::to_string(i), "BF16", {1024, 1024},
               test::pattern(2u << 20, static_cast<std::uint32_t>(i)));
    for (int i = 0; i < 50; ++i) file.add("small." + std::to_string(i), "F16", {11, 37}, test::pattern(11 * 37 * 2));
    work = {.model = folder.write("model.safetensors", file.build()),
            .saved = folder.path() / "saved.safetensors",
            .sharded = folder.path() / "shards.safetensors.index.json",
            .access = access};
    const int handle = ::open(work.model.c_str(), O_RDONLY | O_CLOEXEC);
    if (::geteuid() == 0) REQUIRE(::fchown(handle, 1, 1) == 0);
    ::fsync(handle);
    ::close(handle);
  }
};

// Some file systems have no direct reads, and then none of their calls is made.
bool reads_directly(const fs::path& path) {
  const int handle = ::open(path.c_str(), O_RDONLY | O_DIRECT | O_CLOEXEC);
  if (handle >= 0) ::close(handle);
  return handle >= 0;
}

struct Row {
  const char* what;
  std::vector<Calls> calls;
  const char* evidence = "";  // begins a note of LoadStats, or of the checkpoint; empty: nothing was fallen back from
  bool is_direct = false;     // made where files can be read directly only
  std::vector<int> errors = {EPERM, ENOSYS};
  std::vector<Calls> besides = {};  // denied as well, with ENOSYS: only without those are the others made
};

constexpr std::uint32_t file_is_mapped = PROT_READ;

std::vector<Row> rows() {
  const Condition of_a_file{.argument = 4, .value = ~0u, .differs = true};
  const Condition to_read{.argument = 2, .value = file_is_mapped};
  const auto fcntl_call = [](std::uint32_t command) { return Calls{SYS_fcntl, {{.argument = 1, .value = command}}}; };
  std::vector<Row> rows = {
      {"mincore", {{SYS_mincore}}, "mincore: "},
      {"madvise", {{SYS_madvise}}, "madvise(MADV_POPULATE_READ): refused"},
      {"madvise(MADV_POPULATE_READ)",
       {{SYS_madvise, {{.argument = 2, .value = 22}}}},
       "madvise(MADV_POPULATE_READ): refused",
       false,
       {EPERM, ENOSYS, EINVAL}},
      {"madvise(MADV_DONTNEED)", {{SYS_madvise, {{.argument = 2, .value = MADV_DONTNEED}}}}},
      {"fcntl(F_SETLEASE)", {fcntl_call(F_SETLEASE)}, "fcntl(F_SETLEASE): ", false, {EPERM, ENOSYS, EAGAIN, EINVAL}},
      {"fcntl(F_SETSIG)", {fcntl_call(F_SETSIG)}, "fcntl(F_SETLEASE): "},
      {"fcntl(F_SETOWN)", {fcntl_call(F_SETOWN)}, "fcntl(F_SETLEASE): "},
      {"fcntl(F_GETLEASE)", {fcntl_call(F_GETLEASE)}},
      {"mmap of files",
       {{SYS_mmap, {to_read, of_a_file}}},
       "open: mmap: ",
       false,
       {EPERM, ENOSYS, ENODEV, EACCES, ENOMEM}},
      {"cachestat, without mincore", {{451}}, "mincore: ", false, {EPERM, ENOSYS}, {{SYS_mincore}}},
      {"preadv2, without mincore and cachestat",
       {{SYS_preadv2}},
       "mincore: ",
       false,
       {EPERM, ENOSYS, EOPNOTSUPP},
       {{SYS_mincore}, {451}}},
      {"openat(O_DIRECT)",
       {{SYS_openat, {{.argument = 2, .mask = O_DIRECT, .value = O_DIRECT}}}},
       "no direct reads: ",
       false,
       {EPERM, EINVAL, ENOSYS}},
      {"io_uring_setup", {{SYS_io_uring_setup}}, "io_uring_setup: ", true},
      {"io_uring_enter", {{SYS_io_uring_enter}}, "io_uring_enter: ", true},
      {"io_uring_register", {{SYS_io_uring_register}}, "io_uring_register_buffers: ", true},
      {"mmap of rings",
       {{SYS_mmap, {{.argument = 2, .value = PROT_READ | PROT_WRITE}, of_a_file}}},
       "io_uring_setup: ",
       true},
      {"clone, clone3", {{SYS_clone}, {SYS_clone3}}, "1 of 2 threads", false, {EPERM, ENOSYS, EAGAIN}},
      {"sched_getaffinity", {{SYS_sched_getaffinity}}},
      {"statx", {{SYS_statx}}, "", true},
      {"fstatfs", {{SYS_fstatfs}}},
      {"fadvise64", {{SYS_fadvise64}}},
      {"flock", {{SYS_flock}}},
      {"openat(O_TMPFILE)",
       {{SYS_openat, {{.argument = 2, .mask = O_TMPFILE, .value = O_TMPFILE}}}},
       "",
       false,
       {EPERM, EOPNOTSUPP, EISDIR}},
      {"fallocate", {{SYS_fallocate}}, "", false, {EPERM, ENOSYS, EOPNOTSUPP}},
      {"prlimit64", {{SYS_prlimit64}}},
      {"linkat", {{SYS_linkat}}, "", false, {EPERM, ENOSYS, EACCES, EXDEV}},
      {"getrandom", {{SYS_getrandom}}, "", false, {EPERM, ENOSYS, EAGAIN}},
      {"fchmod", {{SYS_fchmod}}, "save: fchmod: ", false, {EPERM, ENOSYS, EOPNOTSUPP}},
      {"fsync", {{SYS_fsync}}, "", false, {EPERM, ENOSYS, EINVAL}},
      {"fsync, fdatasync", {{SYS_fsync}, {SYS_fdatasync}}, "save: fsync: ", false, {EPERM, ENOSYS, EINVAL}},
      {"fdatasync, without fsync", {{SYS_fdatasync}}, "save: fsync: ", false, {EPERM, ENOSYS}, {{SYS_fsync}}},
      {"fcntl(F_DUPFD_CLOEXEC)", {fcntl_call(F_DUPFD_CLOEXEC)}, "", false, {EPERM, ENOSYS, EMFILE}},
      {"getdents64", {{SYS_getdents64}}, "open: the folder cannot be listed", false, {EPERM, ENOSYS, EACCES}},
      {"unlinkat", {{SYS_unlinkat}}, "save: ", false, {EPERM, ENOSYS, EACCES}},
  };
  // Asked about files of another owner.
  if (::geteuid() == 0) rows.push_back({"faccessat2", {{SYS_faccessat2}}, "", false, {EPERM, ENOSYS, EACCES}});
  return rows;
}

// Calls without which there is no load, or no save: an Error that names the call and its errno.
struct Needed {
  const char* what;
  std::vector<long> numbers;  // one of them, as the C library has it
};

std::vector<Needed> needed() {
  return {
      {"open()", {SYS_openat}},
#if defined(SYS_fstat)
      {"fstat()", {SYS_newfstatat, SYS_fstat}},
#else
      {"fstat()", {SYS_newfstatat}},
#endif
      {"pread()", {SYS_pread64}},
      {"pwrite()", {SYS_pwrite64}},
      {"rename()", {SYS_renameat}},
  };
}

// Calls of the C library and of the kernel's own interfaces for threads, memory, clocks and the test itself.
std::vector<long> of_the_runtime() {
  // clang-format off: names of one kind share a line.
  return {SYS_mmap,     SYS_munmap,        SYS_mprotect,       SYS_mremap, SYS_brk,     SYS_madvise,    SYS_futex,
          SYS_exit,     SYS_exit_group,    SYS_rt_sigprocmask, SYS_rseq,   SYS_gettid,  SYS_getpid,     SYS_set_robust_list,
          SYS_close,    SYS_write,         SYS_umask,          SYS_fcntl,  SYS_geteuid, SYS_readlinkat, SYS_clock_nanosleep,
          SYS_fchmodat, SYS_clock_gettime, SYS_faccessat2,     SYS_get_mempolicy, SYS_uname, SYS_rt_sigaction, SYS_read, SYS_rt_sigreturn,   SYS_sched_yield,
#if defined(SYS_chmod)
          SYS_chmod,
#endif
  };
  // clang-format on
}

// Whether one can be installed here at all.
bool filters_work() {
#if defined(__SANITIZE_THREAD__) || defined(__SANITIZE_ADDRESS__)
  test::skip("a sanitizer's runtime makes calls of its own");
  return false;
#else
  return true;
#endif
}

}  // namespace

TEST_CASE("denied: whatever call the kernel denies, the bytes are right and the stats name what was refused") {
  if (!filters_work()) return;
  const Model model;
  const bool is_direct = reads_directly(model.work.model);
  const Result undisturbed = in_child(model.work, {}, 0);
  REQUIRE(undisturbed.status == 0);
  std::string table;
  for (const Row& row : rows()) {
    CAPTURE(row.what);
    if (row.is_direct && !is_direct) {
      table += std::string(row.what) + ": not made, the file system reads nothing directly\n";
      continue;
    }
    Work work = model.work;
    work.evicts = row.calls.front().number != SYS_fadvise64;
    const Result killed = in_child(work, row.calls, SECCOMP_RET_KILL_PROCESS, row.besides);
    CHECK(killed.signal == SIGSYS);
    table += std::string(row.what) + ": killed by signal " + std::to_string(killed.signal);
    for (const int os_error : row.errors) {
      CAPTURE(os_error);
      const Result denied = in_child(work, row.calls, denial(os_error), row.besides);
      CAPTURE(denied.text);
      CHECK(denied.status == 0);
      CHECK(denied.digest() == undisturbed.digest());
      CHECK(denied.text.find(std::string("\n") + row.evidence) != std::string::npos);
      if (*row.evidence != '\0') CHECK(undisturbed.text.find(std::string("\n") + row.evidence) == std::string::npos);
      table += "; " + std::generic_category().message(os_error) +
               (denied.digest() == undisturbed.digest() ? ": same bytes" : ": OTHER BYTES");
    }
    table += *row.evidence == '\0' ? "\n" : std::string("; note \"") + row.evidence + "\"\n";
  }
  MESSAGE(table);
}

TEST_CASE("denied: Workers for which the system has no thread leave every load to the thread that calls it") {
  if (!filters_work()) return;
  const Model model;
  const Result undisturbed = in_child(model.work, {}, 0);
  CHECK(undisturbed.text.find("\nworkers: 1\n") != std::string::npos);
  const Result denied = in_child(model.work, {{SYS_clone}, {SYS_clone3}}, denial(EAGAIN));
  CHECK(denied.text.find("\nworkers: 0\n") != std::string::npos);
  CHECK(denied.status == 0);
  CHECK(denied.digest() == undisturbed.digest());
}

TEST_CASE("denied: without a call that nothing replaces a load or a save is an Error that names it") {
  if (!filters_work()) return;
  const Model model;
  for (const Needed& row : needed()) {
    CAPTURE(row.what);
    std::vector<Calls> calls;
    for (const long number : row.numbers) calls.push_back({number});
    CHECK(in_child(model.work, calls, SECCOMP_RET_KILL_PROCESS).signal == SIGSYS);
    for (const int os_error : {EPERM, ENOSYS}) {
      const Result denied = in_child(model.work, calls, denial(os_error));
      CAPTURE(denied.text);
      CHECK(denied.status == 1);
      CHECK(denied.text.find(row.what) != std::string::npos);
      CHECK(denied.text.find(std::generic_category().message(os_error)) != std::string::npos);
    }
  }
}

TEST_CASE("denied: every call that is made has a row: any other ends the process") {
  if (!filters_work()) return;
  for (const Access access : {Access::map, Access::read}) {
    const Model model(access);
    std::vector<Calls> known;
    for (const Row& row : rows())
      for (const Calls& calls : row.calls) known.push_back({calls.number});
    for (const Needed& row : needed())
      for (const long number : row.numbers) known.push_back({number});
    for (const long number : of_the_runtime()) known.push_back({number});
    const Result result = in_child(model.work, known, SECCOMP_RET_ALLOW, {}, SECCOMP_RET_KILL_PROCESS);
    CAPTURE(result.text);
    CHECK(result.signal == 0);
    CHECK(result.status == 0);
  }
}

TEST_CASE("denied: Access::read never maps a file, on any path, not even to ask what is in memory") {
  if (!filters_work()) return;
  const std::vector<Calls> mapping = {
      {SYS_mmap, {{.argument = 2, .value = file_is_mapped}, {.argument = 4, .value = ~0u, .differs = true}}}};
  const Model mapped;
  CHECK(in_child(mapped.work, mapping, SECCOMP_RET_KILL_PROCESS).signal == SIGSYS);
  const Model read(Access::read);
  const Result undisturbed = in_child(read.work, {}, 0);
  const Result result = in_child(read.work, mapping, SECCOMP_RET_KILL_PROCESS);
  CHECK(undisturbed.status == 0);
  CHECK(result.status == 0);
  CHECK(result.signal == 0);
  CHECK(result.digest() == undisturbed.digest());
}
