// Files whose descriptors are dropped in favour of others, and opened again.
#include "mmap/descriptor_pool.hpp"

#include <doctest/doctest.h>
#include <fcntl.h>
#include <sys/stat.h>

#include <cerrno>
#include <filesystem>
#include <string>
#include <thread>
#include <vector>

#include "mmap/direct.hpp"
#include "mmap/file.hpp"
#include "mmap/mapping.hpp"
#include "support/descriptors.hpp"
#include "support/faulty_syscalls.hpp"
#include "support/fixtures.hpp"
#include "support/safetensors_builder.hpp"
#include "support/temp_folder.hpp"
#include "support/thrown.hpp"

using namespace heft;
using mmap::DescriptorPool;
using mmap::File;
using mmap::Folder;
using test::Call;
using test::FaultPlan;
using test::open_descriptors;
using test::TempFolder;
using test::thrown_by;
namespace fs = std::filesystem;

namespace {

using FilePtr = std::shared_ptr<const File>;

// Some files in one pool, numbered; file n holds pattern(1000, n + 1).
struct Scene {
  explicit Scene(std::size_t count, std::size_t capacity) : pool(std::make_shared<DescriptorPool>(capacity)) {
    for (std::size_t i = 0; i < count; ++i) folder.write(name(i), content(i));
    held = Folder::open(folder.path().string());
    for (std::size_t i = 0; i < count; ++i)
      files.push_back(File::open_in(*held, name(i), mmap::Symlinks::follow, pool));
  }

  static std::string name(std::size_t i) { return "shard-" + std::to_string(i); }
  static std::string content(std::size_t i) { return test::pattern(1000, static_cast<std::uint32_t>(i) + 1); }
  [[nodiscard]] fs::path path(std::size_t i) const { return folder.path() / name(i); }

  static std::string read(const File& file) {
    std::string text(file.size_bytes(), '\0');
    file.read(0, std::as_writable_bytes(std::span(text)));
    return text;
  }

  TempFolder folder;
  std::shared_ptr<DescriptorPool> pool;
  std::shared_ptr<const Folder> held;
  std::vector<FilePtr> files;
};

}  // namespace

TEST_CASE("descriptor pool: descriptors for direct reads are kept besides the others, few of them, and go first") {
  const std::size_t before = open_descriptors();
  Scene scene(3, 32);
  if (const auto opening = mmap::DirectFile::open(scene.files[0]); !opening.file) return test::skip(opening.reason);
  CHECK(open_descriptors() == before + 5);  // three files, the folder, and the direct one
  const int handle = mmap::DirectFile::open(scene.files[0]).file->handle();
  CHECK(mmap::DirectFile::open(scene.files[0]).file->handle() == handle);
  for (const FilePtr& file : scene.files) CHECK(mmap::DirectFile::open(file).file != nullptr);
  CHECK(open_descriptors() == before + 6);  // two direct ones
  CHECK(scene.files[0]->direct().open == nullptr);
  CHECK(scene.files[2]->direct().open != nullptr);
  CHECK(scene.pool->give_up_half());
  CHECK(open_descriptors() == before + 4);
  CHECK(mmap::DirectFile::open(scene.files[2]).file != nullptr);
}

TEST_CASE("descriptor pool: many files are read through few descriptors, which are closed with the last file") {
  const std::size_t before = open_descriptors();
  {
    Scene scene(20, 3);
    CHECK(open_descriptors() == before + 4);  // three files and the folder
    for (int round = 0; round < 3; ++round)
      for (std::size_t i = 0; i < scene.files.size(); ++i) {
        CHECK(Scene::read(*scene.files[i]) == Scene::content(i));
        CHECK_NOTHROW(scene.files[i]->require_unchanged());
      }
    CHECK(open_descriptors() == before + 4);
    for (const FilePtr& file : scene.files) CHECK(mmap::map(file).size_bytes() == 1000);
    CHECK(open_descriptors() == before + 4);
  }
  CHECK(open_descriptors() == before);
}

TEST_CASE("descriptor pool: a descriptor in use stays open, and is the one that is used") {
  const Scene scene(5, 1);
  const auto first = scene.files[0]->descriptor();
  for (const FilePtr& file : scene.files) static_cast<void>(file->descriptor());
  CHECK(::fcntl(first->get(), F_GETFD) != -1);
  CHECK(scene.files[0]->descriptor() == first);
}

TEST_CASE(
    "descriptor pool: a file that was given up and is not the same any more is changed_on_disk, before a byte is "
    "read") {
  const Scene scene(5, 1);
  const File& file = *scene.files[0];
  const std::string before = "0123456789";
  std::string into = before;
  SUBCASE("replaced") { fs::rename(scene.folder.write("next", Scene::content(0)), scene.path(0)); }
  SUBCASE("removed") { fs::remove(scene.path(0)); }
  SUBCASE("written to") { scene.folder.write(Scene::name(0), test::pattern(1000, 99)); }
  SUBCASE("written to, with its mtime set back") {
    const auto time = fs::last_write_time(scene.path(0));
    scene.folder.write(Scene::name(0), test::pattern(1000, 99));
    fs::last_write_time(scene.path(0), time);
  }
  SUBCASE("a folder in its place") {
    fs::remove(scene.path(0));
    fs::create_directory(scene.path(0));
  }
  const auto read = [&] { file.read(0, std::as_writable_bytes(std::span(into))); };
  for (const Error& error : {thrown_by(read), thrown_by([&] { file.require_unchanged(); })}) {
    CHECK(error.code() == ErrorCode::changed_on_disk);
    CHECK(error.path() == scene.path(0).string());
  }
  CHECK(into == before);
  CHECK_FALSE(file.unchanged());
  CHECK(Scene::read(*scene.files[1]) == Scene::content(1));
}

TEST_CASE("descriptor pool: a file is found again in its folder, through a link, with other modes and more links") {
  const TempFolder folder;
  folder.write("blob", Scene::content(0));
  folder.write("model/other", "other");
  fs::create_symlink("../blob", folder.path() / "model" / "weights");
  const auto held = Folder::open((folder.path() / "model").string());
  const auto pool = std::make_shared<DescriptorPool>(1);
  const FilePtr file = File::open_in(*held, "weights", mmap::Symlinks::follow, pool);
  const FilePtr other = File::open_in(*held, "other", mmap::Symlinks::follow, pool);
  fs::rename(folder.path() / "model", folder.path() / "moved");
  folder.write("model/weights", "another file of that path");
  fs::create_hard_link(folder.path() / "blob", folder.path() / "link");
  REQUIRE(::chmod((folder.path() / "blob").c_str(), 0600) == 0);
  CHECK(Scene::read(*file) == Scene::content(0));
  CHECK(Scene::read(*other) == "other");
  fs::remove(folder.path() / "moved" / "weights");
  fs::create_symlink("other", folder.path() / "moved" / "weights");
  CHECK(thrown_by([&] { return Scene::read(*file); }).code() == ErrorCode::changed_on_disk);
}

TEST_CASE("descriptor pool: when the process has too many open, half of the pool is dropped") {
  const std::size_t before = open_descriptors();
  const Scene scene(10, 8);
  {
    const FaultPlan plan({{.call = Call::openat, .times = 2, .os_error = EMFILE}});
    CHECK(Scene::read(*scene.files[0]) == Scene::content(0));
    CHECK(plan.calls(Call::openat) == 3);
  }
  CHECK(open_descriptors() == before + 1 + 2 + 1);
  const FaultPlan plan({{.call = Call::openat, .os_error = EMFILE}});
  const Error error = thrown_by([&] { return Scene::read(*scene.files[1]); });
  CHECK(error.code() == ErrorCode::io);
  CHECK(error.os_error() == EMFILE);
  CHECK(open_descriptors() == before + 1);
}

TEST_CASE("descriptor pool: a file without read-ahead has none after it is opened again") {
  const Scene scene(3, 1);
  const FaultPlan plan({});
  scene.files[0]->set_read_ahead(false);
  CHECK(plan.calls(Call::posix_fadvise) == 0);  // it is not open
  CHECK(Scene::read(*scene.files[0]) == Scene::content(0));
  CHECK(plan.calls(Call::posix_fadvise) == 1);
  scene.files[0]->set_read_ahead(true);
  CHECK(plan.calls(Call::posix_fadvise) == 2);
  CHECK(Scene::read(*scene.files[1]) == Scene::content(1));
  CHECK(Scene::read(*scene.files[0]) == Scene::content(0));
  CHECK(plan.calls(Call::posix_fadvise) == 2);
}

TEST_CASE("descriptor pool: the capacity for a checkpoint is a quarter of the limit, within bounds") {
  const test::DescriptorLimit limit(40);
  CHECK(mmap::descriptor_limit() == 40);
  const std::size_t before = open_descriptors();
  Scene scene(15, 1);
  const auto pool = DescriptorPool::for_shards();
  std::vector<FilePtr> files;
  for (std::size_t i = 0; i < 15; ++i)
    files.push_back(File::open_in(*scene.held, Scene::name(i), mmap::Symlinks::follow, pool));
  CHECK(open_descriptors() == before + 2 + 10);
}

TEST_CASE("descriptor pool: several threads read files whose descriptors are dropped meanwhile") {
  const Scene scene(12, 2);
  std::vector<int> wrong(4);
  {
    std::vector<std::jthread> threads;
    for (std::size_t t = 0; t < wrong.size(); ++t)
      threads.emplace_back([&, t] {
        for (std::size_t i = 0; i < 300; ++i) {
          const std::size_t number = (i * (t + 1)) % scene.files.size();
          wrong[t] += Scene::read(*scene.files[number]) != Scene::content(number);
        }
      });
  }
  CHECK(wrong == std::vector<int>(4));
}
