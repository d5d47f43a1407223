#include "image/store.h"

#include <fcntl.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "async/test_support.h"
#include "base/failpoint.h"
#include "base/strings.h"
#include "image/archive_builder.h"
#include "image/mapped_snapshot.h"
#include "image/test_archives.h"

namespace monopod::image {
namespace {

using async::Loop;
using async::Task;
using Type = TarEntry::Type;

std::string base_layer() {
  return make_tar({typed_entry(Type::kDirectory, "./", {}, 0711), typed_entry(Type::kDirectory, "etc/", {}, 0750), file_entry("etc/a", "base a"), file_entry("etc/b", "base b"),
                   typed_entry(Type::kDirectory, "data/"), file_entry("data/old", "old"), typed_entry(Type::kDirectory, "gone/"), file_entry("gone/x", "x"),
                   file_entry("bin/su", "su", 04755), typed_entry(Type::kHardLink, "bin/su2", "bin/su"), typed_entry(Type::kSymlink, "link", "etc/a")});
}
std::string top_layer() {
  return make_tar({file_entry("etc/.wh.b", ""), file_entry("etc/a", "top a"), file_entry("data/.wh..wh..opq", ""), file_entry("data/new", "new"), file_entry(".wh.gone", "")});
}

TestImage two_layers(codec::Compression compression = codec::Compression::kNone) {
  TestImage image;
  image.layers = {base_layer(), top_layer()};
  image.compression = compression;
  image.build();
  return image;
}

// A store over a directory and records that outlive it, as over a restart.
struct World {
  TemporaryDirectory directory;
  async::MemoryStateStore state;
  async::Pool pool{2};
  async::RealTime time;
  LayerForm form = LayerForm::kDirectory;

  Task<Result<std::unique_ptr<ImageStore>>> open() {
    ImageStore::Options options{.data_dir = directory.path(), .import_drop_ins = false, .form = form};
    return ImageStore::open(options, pool, time, state);
  }
  std::string save(std::string_view bytes, const char* name = "image.tar") {
    std::string path = directory / name;
    write_text(path, bytes);
    return path;
  }
};

// Where the kernel has them; else says what it lacks.
bool can_use(LayerForm form) {
  TemporaryDirectory directory;
  Result<> able = check_layer_form(*sys::Root::open(directory.path()), form);
  if (!able) std::fprintf(stderr, "SKIPPED: %s\n", able.error().message().c_str());
  return able.has_value();
}

using Body = Task<Result<>> (*)(World&, ImageStore&);
Task<Result<>> with_store(World& world, Body body) {
  CO_TRY_ASSIGN(auto store, co_await world.open());
  co_return co_await body(world, *store);
}
void run(World& world, Body body) {
  async::run_test([&world, body](Loop&) { return with_store(world, body); });
}

// --- loading and mounting

Task<Result<>> load_and_mount(World& world, ImageStore& store) {
  CO_TRY_ASSIGN(auto images, co_await store.import_file(world.directory / "image.tar", {}));
  CO_ASSERT_TRUE(images.size() == 1 && images[0].references == std::vector<std::string>{"docker.io/library/test:1"});
  auto image = store.find("test:1");
  CO_ASSERT_TRUE(image);
  EXPECT_EQ(image->config.cmd, std::vector<std::string>{"/bin/true"});
  EXPECT_EQ(image->repo_digests, std::vector<std::string>{"docker.io/library/test@" + image->manifest_digest});
  for (const std::string& name : {image->id, image->id.substr(0, 20), image->id.substr(7, 12), image->repo_digests[0], std::string("docker.io/test:1"), std::string("docker.io/library/test:1@") + image->manifest_digest})
    EXPECT_TRUE(store.find(name)) << name;
  for (std::string_view name : {"test", "test:2", "sha256:00", "", "zzz", "other/test:1"}) EXPECT_FALSE(store.find(name)) << name;
  CO_TRY_ASSIGN(Snapshot snapshot, co_await store.prepare_snapshot("c1", "test:1"));
  EXPECT_EQ(snapshot.lowerdirs.size(), 2U);
  std::string target = world.directory / "mnt";
  ::mkdir(target.c_str(), 0755);
  CO_TRY(co_await store.mount("c1", target));
  EXPECT_EQ(read_text(target + "/etc/a"), "top a");
  EXPECT_FALSE(std::filesystem::exists(target + "/etc/b"));
  EXPECT_FALSE(std::filesystem::exists(target + "/data/old"));
  EXPECT_EQ(read_text(target + "/data/new"), "new");
  EXPECT_FALSE(std::filesystem::exists(target + "/gone"));
  struct ::stat st{};
  ::stat((target + "/bin/su").c_str(), &st);
  EXPECT_EQ(st.st_mode & 07777, 04755U);
  EXPECT_EQ(st.st_nlink, 2U);
  EXPECT_EQ(st.st_mtime, 1'700'000'000);
  ::stat((target + "/etc").c_str(), &st);
  EXPECT_EQ(st.st_mode & 07777, 0750U) << "a directory that the upper layer did not describe keeps its attributes";
  ::stat(target.c_str(), &st);
  EXPECT_EQ(st.st_mode & 07777, 0711U);
  write_text(target + "/written", std::string(10'000, 'x'));
  CO_TRY(co_await store.unmount(target));
  CO_TRY(co_await store.unmount(target));
  CO_TRY_ASSIGN(std::uint64_t bytes, co_await store.snapshot_bytes("c1"));
  EXPECT_GE(bytes, 10'000U);
  auto removed = co_await store.remove("test:1");
  CO_ASSERT_TRUE(!removed);
  EXPECT_EQ(removed.error().code(), Code::kFailedPrecondition);
  CO_TRY(co_await store.remove_snapshot("c1"));
  CO_TRY(co_await store.remove_snapshot("c1"));
  CO_TRY_ASSIGN(bool gone, co_await store.remove("test:1"));
  EXPECT_TRUE(gone);
  CO_TRY_ASSIGN(Usage usage, co_await store.usage());
  EXPECT_EQ(usage.layers + usage.blob_bytes + usage.images + usage.snapshots, 0U);
  co_return Result<>{};
}

struct LayersCase {
  const char* name;
  codec::Compression compression;
  LayerForm form;
};
class Layers : public ::testing::TestWithParam<LayersCase> {
 protected:
  void SetUp() override {
    if (::geteuid() != 0) GTEST_SKIP() << "needs root: mounts overlayfs";
    if (!can_use(GetParam().form)) GTEST_SKIP();
    world.form = GetParam().form;
  }
  World world;
};
INSTANTIATE_TEST_SUITE_P(All, Layers,
                         ::testing::Values(LayersCase{"none", codec::Compression::kNone, LayerForm::kDirectory}, LayersCase{"gzip", codec::Compression::kGzip, LayerForm::kDirectory},
                                           LayersCase{"zstd", codec::Compression::kZstd, LayerForm::kDirectory}, LayersCase{"erofs", codec::Compression::kGzip, LayerForm::kErofs},
                                           LayersCase{"erofs_zstd", codec::Compression::kNone, LayerForm::kErofsZstd}),
                         [](const auto& p) { return std::string(p.param.name); });

TEST_P(Layers, LoadMountUseAndRemove) {
  world.save(two_layers(GetParam().compression).tar());
  run(world, load_and_mount);
}

TEST_P(Layers, WholeArchiveMayBeCompressed) {
  world.save(*codec::compress(GetParam().compression, two_layers(codec::Compression::kGzip).tar()));
  run(world, load_and_mount);
}

Task<Result<>> load_from_pipe(World& world, ImageStore& store) {
  int ends[2];
  CO_ASSERT_TRUE(::pipe2(ends, O_CLOEXEC) == 0);
  std::string bytes = read_text(world.directory / "image.tar");
  std::thread writer([&bytes, fd = ends[1]] {
    for (std::size_t done = 0; done < bytes.size();) {
      ssize_t n = ::write(fd, bytes.data() + done, bytes.size() - done);
      if (n <= 0) break;
      done += static_cast<std::size_t>(n);
    }
    ::close(fd);
  });
  auto images = co_await store.import_fd(ends[0], {});
  ::close(ends[0]);
  writer.join();
  CO_TRY(images);
  auto first = store.find("test:1");
  CO_ASSERT_TRUE(first);
  // The same image from a file: equal in all that is remembered.
  CO_TRY(co_await store.import_file(world.directory / "image.tar", {}));
  EXPECT_EQ(store.find("test:1")->layers, first->layers);
  CO_TRY_ASSIGN(OpenLayer layer, open_layer(world.directory.path() + "/content/layers/" + std::string(digest_hex(first->layers[1])) + "/fs"));
  CO_TRY_ASSIGN(struct ::stat st, layer.fs.stat("etc"));
  EXPECT_EQ(st.st_mode & 07777, 0750U);
  co_return Result<>{};
}

TEST_P(Layers, PipesAreReadOnceFrontToBack) {
  world.save(two_layers(GetParam().compression).tar());
  run(world, load_from_pipe);
}

// --- both forms of layers

std::size_t mounts_of(std::string_view type) {
  const std::string text = read_text("/proc/self/mountinfo");
  std::size_t count = 0;
  for (std::string_view line : split(text, '\n')) count += line.find(cat(" - ", type, " ")) != std::string_view::npos ? 1 : 0;
  return count;
}
dev_t device_of(const std::string& path) {
  struct ::stat st {};
  EXPECT_EQ(::stat(path.c_str(), &st), 0) << path;
  return st.st_dev;
}

TEST(ImageForms, AStoreHoldsBothAndEachServesEveryImage) {
  if (::geteuid() != 0) GTEST_SKIP() << "needs root: mounts overlayfs";
  if (!can_use(LayerForm::kErofsZstd)) GTEST_SKIP();
  World world;
  TestImage base = two_layers();
  base.layers = {base_layer()};
  base.name = "base:1";
  base.build();
  world.save(base.tar(), "base.tar");
  world.save(two_layers().tar());
  for (LayerForm first : {LayerForm::kDirectory, LayerForm::kErofs}) {
    world.form = first;
    run(world, [](World& w, ImageStore& store) -> Task<Result<>> {
      CO_TRY(co_await store.import_file(w.directory / "base.tar", {}));
      co_return Result<>{};
    });
    world.form = first == LayerForm::kDirectory ? LayerForm::kErofsZstd : LayerForm::kDirectory;
    run(world, [](World& w, ImageStore& store) -> Task<Result<>> {
      CO_TRY(co_await store.import_file(w.directory / "image.tar", {}));
      EXPECT_EQ(store.find("test:1")->layers[0], store.find("base:1")->layers[0]);
      const std::string id = cat("c", static_cast<int>(w.form)), at = w.directory / id;
      ::mkdir(at.c_str(), 0755);
      CO_TRY(co_await store.prepare_snapshot(id, "test:1"));
      CO_TRY(co_await store.mount(id, at));
      EXPECT_EQ(read_text(at + "/etc/a"), "top a");
      EXPECT_EQ(read_text(at + "/bin/su2"), "su");
      EXPECT_FALSE(std::filesystem::exists(at + "/etc/b"));
      EXPECT_FALSE(std::filesystem::exists(at + "/gone"));
      EXPECT_FALSE(std::filesystem::exists(at + "/data/old"));
      struct ::stat st {};
      ::stat((at + "/etc").c_str(), &st);
      EXPECT_EQ(st.st_mode & 07777, 0750U) << "from the layer of the other form";
      CO_TRY(co_await store.unmount(at));
      CO_TRY(co_await store.remove_snapshot(id));
      for (const char* name : {"test:1", "base:1"}) CO_TRY(co_await store.remove(name));
      co_return Result<>{};
    });
  }
}

TEST(ImageForms, ImagesAreMountedOnceForAllAndNeverInSight) {
  if (::geteuid() != 0) GTEST_SKIP() << "needs root: mounts overlayfs";
  if (!can_use(LayerForm::kErofs)) GTEST_SKIP();
  World world;
  world.form = LayerForm::kErofs;
  world.save(two_layers().tar());
  run(world, [](World& w, ImageStore& store) -> Task<Result<>> {
    CO_TRY(co_await store.import_file(w.directory / "image.tar", {}));
    const std::size_t before = mounts_of("erofs");
    dev_t devices[2] = {};
    for (int i = 0; i < 2; ++i) {
      const std::string id = cat("c", i), at = w.directory / id;
      ::mkdir(at.c_str(), 0755);
      CO_TRY(co_await store.prepare_snapshot(id, "test:1"));
      CO_TRY(co_await store.mount(id, at));
      devices[i] = device_of(at + "/etc/a");  // overlayfs gives a number of its own to each file system below it
      EXPECT_EQ(read_text(at + "/etc/a"), "top a");
    }
    EXPECT_EQ(mounts_of("erofs"), before);
    EXPECT_NE(devices[0], 0U);
    for (const char* id : {"c0", "c1"}) CO_TRY(co_await store.unmount(w.directory / id));
    co_return Result<>{};
  });
}

TEST(ImageForms, AMappedSnapshotShowsTheIdsOfItsNamespace) {
  if (::geteuid() != 0) GTEST_SKIP() << "needs root: mounts overlayfs";
  if (!can_use(LayerForm::kErofsZstd)) GTEST_SKIP();
  World world;
  world.form = LayerForm::kErofsZstd;
  world.save(two_layers().tar());
  run(world, [](World& w, ImageStore& store) -> Task<Result<>> {
    CO_TRY(co_await store.import_file(w.directory / "image.tar", {}));
    CO_TRY(co_await store.prepare_snapshot("c", "test:1"));
    const std::string at = w.directory / "mnt";
    ::mkdir(at.c_str(), 0755);
    const std::size_t before = mounts_of("erofs") + mounts_of("tmpfs");
    const std::vector<sys::IdMap> ids = {{0, 100'000, 65'536}};
    CO_TRY(co_await store.mount("c", at, {.uids = ids, .gids = ids}));
    EXPECT_EQ(read_text(at + "/etc/a"), "top a");
    struct ::stat st {};
    ::stat((at + "/etc/a").c_str(), &st);
    EXPECT_EQ(st.st_uid, 100'000U);
    ::stat(at.c_str(), &st);
    EXPECT_EQ(st.st_uid, 100'000U);
    EXPECT_EQ(mounts_of("erofs") + mounts_of("tmpfs"), before);
    CO_TRY(co_await store.unmount(at));
    co_return Result<>{};
  });
}

TEST(ImageForms, AFullDiskLeavesNothing) {
  if (::geteuid() != 0) GTEST_SKIP() << "needs root: mounts a disk";
  for (LayerForm form : {LayerForm::kDirectory, LayerForm::kErofs, LayerForm::kErofsZstd}) {
    if (!can_use(form)) continue;
    World world;
    world.form = form;
    TestImage image;
    std::string noise;
    for (std::uint32_t i = 0; noise.size() < 6'000'000; ++i) noise += digest_of(cat(i)).substr(7);
    image.layers = {make_tar({file_entry("a", noise), file_entry("b", noise)})};
    image.build();
    const std::string archive = image.tar();
    TemporaryDirectory elsewhere;
    write_text(elsewhere / "image.tar", archive);
    // Not a tmpfs: an image of it would want a loop device.
    const std::string disk = elsewhere / "disk", make = cat("truncate -s 4M ", disk, " && mkfs.ext4 -q -O ^has_journal -I 256 ", disk, " && mount -o loop ", disk, " ", world.directory.path(), " && chmod 700 ", world.directory.path());
    if (std::system(make.c_str()) != 0) GTEST_SKIP() << "needs mkfs.ext4 and a loop device";
    async::run_test([&](Loop&) {
      struct Run {
        static Task<Result<>> go(World& w, std::string path) {
          CO_TRY_ASSIGN(auto store, co_await w.open());
          auto images = co_await store->import_file(path, {});
          CO_ASSERT_TRUE(!images);
          EXPECT_EQ(images.error().code(), Code::kResourceExhausted) << images.error().message();
          EXPECT_TRUE(std::filesystem::is_empty(w.directory / "content/staging"));
          EXPECT_TRUE(std::filesystem::is_empty(w.directory / "content/layers"));
          co_return Result<>{};
        }
      };
      return Run::go(world, elsewhere / "image.tar");
    });
    EXPECT_EQ(::umount2(world.directory.path().c_str(), MNT_DETACH), 0);
  }
}

// As kernels before 6.15 need it, and through a loop device, as those before 6.12.
TEST(ImageForms, LayersThatMustBeAttachedAreSoWhereNobodySeesIt) {
  if (::geteuid() != 0) GTEST_SKIP() << "needs root: mounts overlayfs";
  World world;
  ASSERT_EQ(::mount("tmpfs", world.directory.path().c_str(), "tmpfs", 0, "mode=700"), 0);
  const Result<> able = check_layer_form(*sys::Root::open(world.directory.path()), LayerForm::kErofs);
  if (able) {
    world.form = LayerForm::kErofs;
    world.save(two_layers().tar());
    run(world, [](World& w, ImageStore& store) -> Task<Result<>> {
      CO_TRY(co_await store.import_file(w.directory / "image.tar", {}));
      CO_TRY_ASSIGN(Snapshot snapshot, co_await store.prepare_snapshot("c", "test:1"));
      const std::string at = w.directory / "mnt";
      ::mkdir(at.c_str(), 0755);
      const std::size_t before = mounts_of("erofs") + mounts_of("tmpfs");
      CO_TRY(mount_attached(snapshot, at, -1));
      EXPECT_EQ(read_text(at + "/etc/a"), "top a");
      EXPECT_FALSE(std::filesystem::exists(at + "/etc/b"));
      EXPECT_EQ(mounts_of("erofs") + mounts_of("tmpfs"), before);
      CO_TRY(unmount_snapshot(at));
      co_return Result<>{};
    });
  }
  EXPECT_EQ(::umount2(world.directory.path().c_str(), MNT_DETACH), 0);
  if (!able) GTEST_SKIP() << able.error().message();
}

TEST(ImageForms, ACollectionCountsWhatAnImageTakes) {
  if (!can_use(LayerForm::kErofsZstd)) GTEST_SKIP();
  World world;
  world.form = LayerForm::kErofsZstd;
  TestImage image;
  image.layers = {make_tar({file_entry("zeros", std::string(5'000'000, '0'))})};
  image.build();
  world.save(image.tar());
  run(world, [](World& w, ImageStore& store) -> Task<Result<>> {
    CO_TRY(co_await store.import_file(w.directory / "image.tar", {}));
    EXPECT_GE(store.find("test:1")->size_bytes, 5'000'000U);
    CO_TRY_ASSIGN(Usage usage, co_await store.usage());
    EXPECT_LT(usage.layer_bytes, 1'000'000U);
    EXPECT_GT(usage.layer_bytes, 0U);
    CO_TRY_ASSIGN(GcResult result, co_await store.gc({.bytes_max = 0, .unused_min = Duration(0), .keep = {}}));
    EXPECT_EQ(result.images_removed.size(), 1U);
    EXPECT_GE(result.bytes_freed, usage.layer_bytes);
    EXPECT_LT(result.bytes_freed, 1'000'000U);
    co_return Result<>{};
  });
}

TEST(ImageForms, NamesAreRead) {
  EXPECT_EQ(*parse_layer_form("directory"), LayerForm::kDirectory);
  EXPECT_EQ(*parse_layer_form("erofs"), LayerForm::kErofs);
  EXPECT_EQ(*parse_layer_form("erofs-zstd"), LayerForm::kErofsZstd);
  EXPECT_EQ(parse_layer_form("squashfs").error().code(), Code::kInvalidArgument);
}

// --- recovery

Task<Result<>> import_and_use(World& world, ImageStore& store) {
  CO_TRY(co_await store.import_file(world.directory / "image.tar", {}));
  CO_TRY(co_await store.tag("test:1", "other/name:2"));
  CO_TRY(co_await store.prepare_snapshot("keep", "test:1"));
  co_return Result<>{};
}
Task<Result<>> still_there(World&, ImageStore& store) {
  EXPECT_EQ(store.list().size(), 1U);
  EXPECT_TRUE(store.find("other/name:2"));
  EXPECT_TRUE(store.find_snapshot("keep"));
  co_return Result<>{};
}
Task<Result<>> all_gone(World&, ImageStore& store) {
  EXPECT_TRUE(store.list().empty());
  EXPECT_FALSE(store.find("other/name:2"));
  EXPECT_TRUE(store.list_snapshots().empty());
  CO_TRY_ASSIGN(Usage usage, co_await store.usage());
  EXPECT_EQ(usage.layers + usage.blob_bytes, 0U);
  co_return Result<>{};
}

TEST(ImageStore, RestartFindsEverything) {
  World world;
  world.save(two_layers().tar());
  run(world, import_and_use);
  run(world, still_there);
}

TEST(ImageStore, DamagedImagesAreForgottenAtStart) {
  World world;
  TestImage image = two_layers();
  world.save(image.tar());
  run(world, import_and_use);
  write_text(world.directory / ("content/" + TestImage::blob_path(image.config)), "damaged");
  run(world, all_gone);
  run(world, import_and_use);
  std::filesystem::remove_all(world.directory / ("content/layers/" + std::string(digest_hex(digest_of(image.layers[0])))));
  run(world, all_gone);
}

TEST(ImageStore, SecondOpenerIsRefusedAndModesAreClosed) {
  World world;
  async::run_test([&world](Loop&) -> Task<Result<>> {
    return [](World& w) -> Task<Result<>> {
      CO_TRY_ASSIGN(auto store, co_await w.open());
      auto second = co_await w.open();
      CO_ASSERT_TRUE(!second);
      EXPECT_EQ(second.error().code(), Code::kFailedPrecondition);
      co_return Result<>{};
    }(world);
  });
  ::chmod((world.directory / "content").c_str(), 0755);
  run(world, [](World& w, ImageStore&) -> Task<Result<>> {
    for (const char* name : {"content", "content/layers", "content/blobs", "content/snapshots", "content/staging"}) {
      struct ::stat st{};
      ::stat((w.directory / name).c_str(), &st);
      EXPECT_EQ(st.st_mode & 0777, 0700U) << name;
    }
    co_return Result<>{};
  });
}

// --- failures at every step

void expect_clean_import(World& world) {
  run(world, [](World& w, ImageStore& store) -> Task<Result<>> {
    EXPECT_TRUE(std::filesystem::is_empty(w.directory / "content/staging"));
    EXPECT_TRUE(store.list().empty());
    CO_TRY_ASSIGN(Usage usage, co_await store.usage());
    EXPECT_EQ(usage.layers + usage.blob_bytes, 0U);
    CO_TRY(co_await store.import_file(w.directory / "image.tar", {}));
    EXPECT_TRUE(store.find("test:1"));
    co_return Result<>{};
  });
}

TEST(ImageStore, CrashOrErrorAtEveryStepLeavesNothingHalfDone) {
  for (std::string_view name : failpoint_names()) {
    if (!name.starts_with("image.") || name == "image.between_kept_and_record") continue;  // that one: layer_record_test.cc
    for (const auto& [action, form] : {std::pair("error", LayerForm::kDirectory), std::pair("crash", LayerForm::kDirectory), std::pair("error", LayerForm::kErofsZstd), std::pair("crash", LayerForm::kErofs)}) {
      SCOPED_TRACE(cat(name, "=", action, " ", static_cast<int>(form)));
      if (!can_use(form)) continue;
      World world;
      world.form = form;
      world.save(two_layers().tar());
      pid_t child = ::fork();
      if (child == 0) {
        // Records do not survive the child: what a crash leaves on disk is unnamed, as if the record was never written.
        int status = 1;
        World inner;
        inner.form = form;
        ASSERT_TRUE(arm_failpoints(cat(name, "=", action)));
        async::Loop loop;
        struct Run {
          static Task<Result<>> go(World& w, std::string dir, int& out) {
            ImageStore::Options options{.data_dir = dir, .import_drop_ins = false, .keep_blobs = true, .form = w.form};
            CO_TRY_ASSIGN(auto store, co_await ImageStore::open(options, w.pool, w.time, w.state));
            auto images = co_await store->import_file(dir + "/image.tar", {});
            out = images || store->find("test:1") ? 1 : 0;
            co_return Result<>{};
          }
        };
        (void)loop.run(Run::go(inner, world.directory.path(), status));
        ::_exit(status);
      }
      int status = 0;
      ::waitpid(child, &status, 0);
      EXPECT_EQ(WEXITSTATUS(status), std::string_view(action) == "crash" ? 98 : 0);
      expect_clean_import(world);
    }
  }
}

// --- many at once

TEST(ImageStore, ConcurrentImportsOfOneImageAgree) {
  World world;
  world.save(two_layers().tar());
  run(world, [](World& w, ImageStore& store) -> Task<Result<>> {
    struct One {
      static Task<Result<>> import(World& at, ImageStore& into) {
        CO_TRY(co_await into.import_file(at.directory / "image.tar", {}));
        co_return Result<>{};
      }
    };
    async::Scope scope(co_await async::this_executor());
    for (int i = 0; i < 8; ++i) scope.spawn(One::import(w, store));
    CO_TRY(co_await scope.join());
    EXPECT_EQ(store.list().size(), 1U);
    CO_TRY_ASSIGN(Usage usage, co_await store.usage());
    EXPECT_EQ(usage.layers, 2U);
    EXPECT_TRUE(std::filesystem::is_empty(w.directory / "content/staging"));
    co_return Result<>{};
  });
}

TEST(ImageStore, GarbageCollectionKeepsWhatIsUsedOrNamed) {
  World world;
  TestImage first = two_layers();
  TestImage second;
  second.layers = {base_layer(), make_tar({file_entry("own", std::string(5'000, 'o'))})};
  second.name = "second:1";
  second.build();
  TestImage third;
  third.layers = {make_tar({file_entry("third", "3")})};
  third.name = "third:1";
  third.build();
  world.save(first.tar(), "1.tar");
  world.save(second.tar(), "2.tar");
  world.save(third.tar(), "3.tar");
  run(world, [](World& w, ImageStore& store) -> Task<Result<>> {
    for (const char* name : {"1.tar", "2.tar", "3.tar"}) CO_TRY(co_await store.import_file(w.directory / name, {}));
    CO_TRY(co_await store.prepare_snapshot("c", "test:1"));
    CO_TRY_ASSIGN(GcResult nothing, co_await store.gc({.bytes_max = 0}));
    EXPECT_TRUE(nothing.images_removed.empty()) << "all were just used";
    CO_TRY_ASSIGN(GcResult result, co_await store.gc({.bytes_max = 0, .unused_min = Duration(0), .keep = {"third:1"}}));
    EXPECT_EQ(result.images_removed.size(), 1U);
    EXPECT_GE(result.bytes_freed, 5'000U);
    EXPECT_TRUE(store.find("test:1"));
    EXPECT_TRUE(store.find("third:1"));
    EXPECT_FALSE(store.find("second:1"));
    CO_TRY_ASSIGN(Usage usage, co_await store.usage());
    EXPECT_EQ(usage.layers, 3U) << "the base layer is shared with an image in use";
    co_return Result<>{};
  });
}

TEST(ImageStore, ACollectionByAgeTakesWhatHasNoNameAndNobodyUsed) {
  World world;
  world.save(two_layers().tar());
  run(world, [](World& w, ImageStore& store) -> Task<Result<>> {
    CO_TRY_ASSIGN(auto images, co_await store.import_file(w.directory / "image.tar", {}));
    const std::string base = images.front().id;
    std::vector<std::string> steps;
    for (const char* text : {R"({"a":1})", R"({"a":2})", R"({"a":3})"}) {
      CO_TRY_ASSIGN(ImportedImage step, co_await store.commit({.base_id = base, .changes = {}, .config = cat(R"({"architecture":"amd64","os":"linux",)", std::string_view(text).substr(1)), .references = {}, .mtime_max_seconds = {}}));
      steps.push_back(step.id);
    }
    CO_TRY(co_await store.prepare_snapshot("c", steps[0]));
    store.mark_used(steps[1]);
    CO_TRY_ASSIGN(GcResult gone, co_await store.gc({.bytes_max = UINT64_MAX, .unused_min = Duration(0), .keep = {}, .unnamed_only = true, .unused_max = std::chrono::hours(1)}));
    EXPECT_TRUE(gone.images_removed.empty()) << "all were used within the hour, and all fit";
    CO_TRY_ASSIGN(gone, co_await store.gc({.bytes_max = UINT64_MAX, .unused_min = Duration(0), .keep = {}, .unnamed_only = true, .unused_max = Duration(0)}));
    EXPECT_EQ(gone.images_removed, (std::vector<std::string>{steps[2], steps[1]})) << "least recently used first";
    EXPECT_TRUE(store.find("test:1")) << "it has a name";
    EXPECT_TRUE(store.find(steps[0])) << "a container has it";
    co_return Result<>{};
  });
}

// --- drop-in directory

TEST(ImageStore, DropInFilesAreImportedOnce) {
  World world;
  ::mkdir((world.directory / "images").c_str(), 0755);
  world.save(two_layers().tar(), "images/a.tar");
  world.save("not a tar at all, but long enough to look at", "images/bad.tar");
  world.save("ignored", "images/readme.txt");
  run(world, [](World& w, ImageStore& store) -> Task<Result<>> {
    CO_TRY_ASSIGN(std::size_t first, co_await store.import_drop_ins());
    EXPECT_EQ(first, 1U);
    CO_TRY(co_await store.remove("test:1"));
    CO_TRY_ASSIGN(std::size_t again, co_await store.import_drop_ins());
    EXPECT_EQ(again, 0U) << "what was removed stays removed";
    CO_TRY_ASSIGN(std::string bytes, Result<std::string>(read_text(w.directory / "images/a.tar")));
    write_text(w.directory / "images/b.tgz", *codec::compress(codec::Compression::kGzip, bytes));
    CO_TRY_ASSIGN(std::size_t changed, co_await store.import_drop_ins());
    EXPECT_EQ(changed, 1U);
    co_return Result<>{};
  });
}

// --- naming, snapshots

TEST(ImageStore, NamesMoveAndTheImageGoesWithItsLast) {
  World world;
  world.save(two_layers().tar());
  run(world, [](World& w, ImageStore& store) -> Task<Result<>> {
    CO_TRY(co_await store.import_file(w.directory / "image.tar", {}));
    CO_TRY(co_await store.tag("test:1", "alias"));
    CO_TRY_ASSIGN(bool gone, co_await store.remove("test:1"));
    EXPECT_FALSE(gone);
    EXPECT_EQ(store.find("alias")->references, std::vector<std::string>{"docker.io/library/alias:latest"});
    CO_TRY_ASSIGN(gone, co_await store.remove("alias"));
    EXPECT_TRUE(gone);
    auto missing = co_await store.remove("alias");
    EXPECT_EQ(missing.error().code(), Code::kNotFound);
    co_return Result<>{};
  });
}

TEST(ImageStore, SnapshotIdsAreChecked) {
  World world;
  world.save(two_layers().tar());
  run(world, [](World& w, ImageStore& store) -> Task<Result<>> {
    CO_TRY(co_await store.import_file(w.directory / "image.tar", {}));
    for (const char* id : {"", ".", "..", "a/b", "../x", ".hidden", "-x", "a b"}) {
      auto snapshot = co_await store.prepare_snapshot(id, "test:1");
      EXPECT_FALSE(snapshot) << id;
    }
    auto absent = co_await store.prepare_snapshot("ok", "absent:1");
    EXPECT_EQ(absent.error().code(), Code::kNotFound);
    CO_TRY(co_await store.prepare_snapshot("ok", "test:1"));
    CO_TRY(co_await store.prepare_snapshot("ok", "test:1"));
    co_return Result<>{};
  });
}

TEST(ImageStore, ConcurrentPreparesOfOneSnapshotAgree) {
  World world;
  world.save(two_layers().tar());
  run(world, [](World& w, ImageStore& store) -> Task<Result<>> {
    CO_TRY(co_await store.import_file(w.directory / "image.tar", {}));
    struct One {
      static Task<Result<>> cycle(ImageStore& at) {
        for (int i = 0; i < 5; ++i) {
          CO_TRY_ASSIGN(Snapshot snapshot, co_await at.prepare_snapshot("c", "test:1"));
          CO_TRY(co_await at.remove_snapshot("c"));
        }
        co_return Result<>{};
      }
    };
    async::Scope scope(co_await async::this_executor());
    for (int i = 0; i < 4; ++i) scope.spawn(One::cycle(store));
    CO_TRY(co_await scope.join());
    EXPECT_TRUE(store.list_snapshots().empty());
    EXPECT_TRUE(std::filesystem::is_empty(w.directory / "content/snapshots"));
    EXPECT_TRUE(std::filesystem::is_empty(w.directory / "content/staging"));
    co_return Result<>{};
  });
}

// --- the builder

TEST(ArchiveBuilder, BuiltImageLoadsAndIsReproducible) {
  World world;
  std::string source = world.directory / "source";
  ::mkdir(source.c_str(), 0755);
  write_text(source + "/data", "payload");
  BuildOptions options{.reference = "example:1",
                       .files = {{.path = "/bin/app", .source = source + "/data", .mode = 0755},
                                 {.path = "/srv", .source = source},
                                 {.path = "/etc/motd", .content = "hello"},
                                 {.path = "/bin/sh", .link_target = "app"},
                                 {.path = "/tmp", .directory = true, .mode = 01777}},
                       .config = {.cmd = {"/bin/app"}, .env = {"A=b"}}};
  auto digest = build_archive(options, world.directory / "image.tar");
  ASSERT_TRUE(digest) << digest.error().message();
  ASSERT_TRUE(build_archive(options, world.directory / "again.tar"));
  EXPECT_EQ(read_text(world.directory / "image.tar"), read_text(world.directory / "again.tar"));
  run(world, [](World& w, ImageStore& store) -> Task<Result<>> {
    CO_TRY(co_await store.import_file(w.directory / "image.tar", {}));
    auto image = store.find("example:1");
    CO_ASSERT_TRUE(image);
    EXPECT_EQ(image->config.env, std::vector<std::string>{"A=b"});
    std::string fs = w.directory / ("content/layers/" + std::string(digest_hex(image->layers[0])) + "/fs");
    EXPECT_EQ(read_text(fs + "/bin/app"), "payload");
    EXPECT_EQ(read_text(fs + "/srv/data"), "payload");
    EXPECT_EQ(read_text(fs + "/etc/motd"), "hello");
    struct ::stat st{};
    ::stat((fs + "/tmp").c_str(), &st);
    EXPECT_EQ(st.st_mode & 07777, 01777U);
    co_return Result<>{};
  });
}

// --- one name for images of several platforms

Task<Result<std::string>> make_for(ImageStore& store, std::string architecture) {
  CO_TRY_ASSIGN(ImportedImage made, co_await store.commit({.base_id = {}, .changes = {}, .config = cat(R"({"os":"linux","architecture":")", architecture, R"("})"), .references = {}, .mtime_max_seconds = {}}));
  co_return made.id;
}
Platform far() { return {.os = "linux", .architecture = "s390x", .variant = {}}; }

Task<Result<>> group_two(World&, ImageStore& store) {
  CO_TRY_ASSIGN(std::string other, co_await make_for(store, far().architecture));
  CO_TRY_ASSIGN(std::string own, co_await make_for(store, host_platform().architecture));
  auto twice = co_await store.group({own, own}, {"two:1"});
  CO_ASSERT_TRUE(!twice);
  EXPECT_EQ(twice.error().code(), Code::kInvalidArgument);
  EXPECT_FALSE(store.find("two:1"));
  CO_TRY_ASSIGN(std::string digest, co_await store.group({other, own}, {"two:1"}));
  CO_ASSERT_TRUE(store.find("two:1") && store.find(digest));
  EXPECT_EQ(store.find("two:1")->id, own) << "this machine's, though it stands second";
  EXPECT_EQ(store.find(digest)->id, own);
  co_return Result<>();
}

Task<Result<>> look_at_two(World&, ImageStore& store) {
  auto own = store.find("two:1"), other = store.find_for("two:1", far());
  CO_ASSERT_TRUE(own && other && own->indexes.size() == 1);
  EXPECT_EQ(store.find_for("two:1", host_platform())->id, own->id);
  EXPECT_FALSE(store.find_for("two:1", {.os = "linux", .architecture = "riscv64", .variant = {}}));
  EXPECT_EQ(other->platform_of, std::vector<std::string>{"docker.io/library/two:1"});
  EXPECT_TRUE(other->references.empty());
  // What no name keeps is collected; what an index's name keeps is not.
  CO_TRY_ASSIGN(GcResult gone, co_await store.gc({.bytes_max = 0, .unused_min = Duration(0), .keep = {}, .unnamed_only = true}));
  EXPECT_TRUE(gone.images_removed.empty());
  // Another name for the same; the first goes.
  CO_TRY(co_await store.tag("two:1", "again:1"));
  CO_TRY(co_await store.remove("two:1"));
  EXPECT_EQ(store.find_for("again:1", far())->id, other->id);
  // Used by a container one stays when the name goes.
  CO_TRY(co_await store.prepare_snapshot("c", other->id));
  CO_TRY_ASSIGN(bool removed, co_await store.remove("again:1"));
  EXPECT_TRUE(removed);
  EXPECT_FALSE(store.find(own->id));
  EXPECT_TRUE(store.find(other->id));
  CO_TRY(co_await store.remove_snapshot("c"));
  co_return Result<>();
}

// A name that moves, or an image that is taken away, leaves one image's name.
Task<Result<>> take_apart(World&, ImageStore& store) {
  CO_TRY_ASSIGN(std::string other, co_await make_for(store, far().architecture));
  CO_TRY_ASSIGN(std::string own, co_await make_for(store, host_platform().architecture));
  CO_TRY(co_await store.group({own, other}, {"two:1", "moved:1"}));
  CO_TRY(co_await store.tag(own, "moved:1"));
  EXPECT_FALSE(store.find_for("moved:1", far()));
  EXPECT_TRUE(store.find_for("two:1", far()));
  CO_TRY(co_await store.remove(other));
  EXPECT_TRUE(store.find("two:1")->indexes.empty());
  EXPECT_FALSE(store.find_for("two:1", far()));
  CO_TRY_ASSIGN(bool gone, co_await store.remove(own));
  EXPECT_TRUE(gone);
  co_return Result<>();
}

TEST(Platforms, ANameOfSeveralOutlivesARestartAndGoesAsAWhole) {
  World world;
  run(world, group_two);
  run(world, look_at_two);
}
TEST(Platforms, AnIndexThatIsTakenApartIsOneImagesName) {
  World world;
  run(world, take_apart);
}

}  // namespace
}  // namespace monopod::image
