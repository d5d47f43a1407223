// Whole archives: what Debian's tools make, and what an attacker would.
#include "image/archive.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/rng.h"
#include "base/strings.h"
#include "image/archive_builder.h"
#include "image/test_archives.h"

namespace monopod::image {
namespace {

using Type = TarEntry::Type;

struct Imported {
  TemporaryDirectory directory;
  std::unique_ptr<Content> content = *Content::open(directory / "content");
  std::atomic<bool> stop{false};
  Limits limits;

  Result<std::vector<StoredImage>> file(const std::string& path) {
    sys::Fd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
    return import_archive(fd.get(), *content, limits, {}, stop);
  }
  Result<std::vector<StoredImage>> bytes(std::string_view tar) {
    std::string path = directory / "archive";
    write_text(path, tar);
    return file(path);
  }
  // Also through the one-pass reader.
  void expect_refused(const std::string& tar, Code code, std::string_view part) {
    for (bool in_place : {true, false}) {
      auto r = bytes(in_place ? tar : *codec::compress(codec::Compression::kZstd, tar));
      ASSERT_FALSE(r) << in_place;
      EXPECT_EQ(r.error().code(), code) << r.error().message();
      EXPECT_NE(r.error().message().find(part), std::string::npos) << r.error().message();
      expect_empty();
    }
  }
  void expect_empty() {
    EXPECT_TRUE(content->list_layers().empty());
    EXPECT_TRUE(content->list_blobs().empty());
    EXPECT_TRUE(std::filesystem::is_empty(directory / "content/staging"));
  }
};

TestImage sample() {
  TestImage image;
  image.layers = {make_tar({file_entry("etc/hosts", "hosts"), file_entry("bin/app", std::string(9'000, 'a'), 0755)}), make_tar({file_entry("etc/more", "more")})};
  image.compression = codec::Compression::kGzip;
  image.build();
  return image;
}

// The entry whose path starts so.
std::string& file_of(TestImage& image, std::size_t i) { return image.files[i].second; }

TEST(Archive, WrongContentIsRefusedAndNothingStays) {
  {
    SCOPED_TRACE("layer of other content");
    TestImage image = sample();
    file_of(image, 0) = *codec::compress(codec::Compression::kGzip, make_tar({file_entry("evil", "x")}));
    Imported().expect_refused(image.tar(), Code::kDataLoss, "does not match the digest");
  }
  {
    SCOPED_TRACE("configuration of other content");
    TestImage image = sample();
    file_of(image, 2).back() = ' ';
    file_of(image, 2) += "}";
    Imported().expect_refused(image.tar(), Code::kDataLoss, "does not match the digest");
  }
  {
    SCOPED_TRACE("manifest of other content");
    TestImage image = sample();
    file_of(image, 3) += " ";
    Imported().expect_refused(image.tar(), Code::kDataLoss, "does not match the digest");
  }
  {
    SCOPED_TRACE("missing layer");
    TestImage image = sample();
    image.files.erase(image.files.begin());
    Imported().expect_refused(image.tar(), Code::kNotFound, "not in the archive");
  }
  {
    SCOPED_TRACE("second entry of one name");
    TestImage image = sample();
    image.files.push_back(image.files[0]);
    Imported().expect_refused(image.tar(), Code::kInvalidArgument, "a second entry");
  }
  {
    SCOPED_TRACE("bytes after the end");
    Imported().expect_refused(sample().tar() + "trailing", Code::kInvalidArgument, "after the end");
  }
  {
    SCOPED_TRACE("neither format");
    Imported().expect_refused(make_tar({file_entry("readme", "x")}), Code::kInvalidArgument, "neither an OCI layout nor a docker archive");
  }
}

// Rebuilt so that the documents agree with the broken part.
TEST(Archive, DocumentsThatDisagreeAreRefused) {
  auto with_manifest = [](auto edit) {
    TestImage image = sample();
    auto parsed = *parse_manifest(image.manifest, kOciManifest, Limits{});
    Manifest manifest = std::get<Manifest>(parsed);
    edit(manifest);
    std::string old = digest_of(image.manifest), text = format_manifest(manifest);
    image.files[3] = {TestImage::blob_path(text), text};
    std::string& index = image.files[4].second;
    index.replace(index.find(old), old.size(), digest_of(text));
    std::string size = cat("\"size\":", image.manifest.size());
    index.replace(index.find(size), size.size(), cat("\"size\":", text.size()));
    return image.tar();
  };
  Imported().expect_refused(with_manifest([](Manifest& m) { m.layers[0].size += 1; }), Code::kDataLoss, "the manifest says");
  Imported().expect_refused(with_manifest([](Manifest& m) { std::swap(m.layers[0], m.layers[1]); }), Code::kDataLoss, "the configuration says");
  Imported().expect_refused(with_manifest([](Manifest& m) { m.layers.pop_back(); }), Code::kInvalidArgument, "1 layers, the configuration 2");
  Imported().expect_refused(with_manifest([](Manifest& m) { m.layers[0].media_type = "text/plain"; }), Code::kInvalidArgument, "unknown media type");
  Imported().expect_refused(with_manifest([](Manifest& m) { m.config.size += 1; }), Code::kDataLoss, "configuration");
}

TEST(Archive, BombsStopAtTheCaps) {
  TestImage image;
  image.layers = {make_tar({file_entry("zeros", std::string(8U << 20, '\0'))})};
  image.compression = codec::Compression::kGzip;
  image.build();
  Imported world;
  world.limits.compression_floor_bytes = 1U << 20;
  world.limits.compression_ratio_max = 100;
  world.expect_refused(image.tar(), Code::kResourceExhausted, "times the input");
  Imported other;
  other.limits.layer_bytes_max = 1U << 20;
  auto r = other.bytes(image.tar());
  ASSERT_FALSE(r);
  EXPECT_EQ(r.error().code(), Code::kResourceExhausted) << r.error().message();
  other.expect_empty();
}

// Padding and what no image needs may be missing: a tar may end behind any file.
TEST(Archive, EveryTruncationThatTakesAnythingIsAnError) {
  const std::string tar = sample().tar();
  const std::string whole = Imported().bytes(tar)->at(0).manifest_digest;
  std::size_t refused = 0;
  for (std::size_t n = 0; n + 1024 < tar.size(); n += 509) {
    Imported world;
    auto cut = world.bytes(std::string_view(tar).substr(0, n));
    if (cut) {
      EXPECT_EQ(cut->at(0).manifest_digest, whole) << n;
      continue;
    }
    world.expect_empty();
    ++refused;
  }
  EXPECT_GT(refused, 8U);
}

TEST(Archive, DamageNeverCrashes) {
  SeededRng rng(31);
  const std::string tar = sample().tar();
  for (int i = 0; i < 150; ++i) {
    Imported world;
    std::string bad = tar;
    for (std::uint64_t k = rng.below(4) + 1; k > 0; --k) bad[rng.below(bad.size())] = static_cast<char>(rng.next());
    if (!world.bytes(i % 2 == 0 ? bad : *codec::compress(codec::Compression::kGzip, bad))) world.expect_empty();
  }
}

TEST(Archive, LayerThatStandsTwiceIsKeptOnce) {
  TestImage image;
  std::string empty = make_tar({file_entry("x", "1")}), other = make_tar({file_entry("y", "2")});
  image.layers = {empty, other, empty};
  image.build();
  Imported world;
  auto imported = world.bytes(image.tar());
  if (!imported) {  // one file of that name is enough
    image.files.erase(image.files.begin() + 2);
    imported = world.bytes(image.tar());
  }
  ASSERT_TRUE(imported) << imported.error().message();
  EXPECT_EQ((*imported)[0].layers.size(), 2U);
  EXPECT_EQ((*imported)[0].layers.back(), digest_of(empty));
}

TEST(Archive, FullDiskPublishesNothing) {
  if (::geteuid() != 0) GTEST_SKIP() << "needs root: a small tmpfs in a mount namespace of its own";
  TestImage image;
  image.layers = {make_tar({file_entry("big", std::string(3U << 20, 'b'))})};
  image.build();
  const std::string tar = image.tar();
  for (unsigned kib : {64U, 512U, 2048U, 3060U, 3076U}) {
    SCOPED_TRACE(kib);
    pid_t child = ::fork();
    if (child == 0) {
      TemporaryDirectory at;
      std::string archive = at / "archive", small = at / "small";
      write_text(archive, tar);
      ::mkdir(small.c_str(), 0700);
      if (::unshare(CLONE_NEWNS) != 0 || ::mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr) != 0) ::_exit(2);
      if (::mount("tmpfs", small.c_str(), "tmpfs", 0, cat("size=", kib, "k").c_str()) != 0) ::_exit(2);
      int status = 0;
      {
        auto content = Content::open(small + "/content");
        std::atomic<bool> stop{false};
        sys::Fd fd(::open(archive.c_str(), O_RDONLY | O_CLOEXEC));
        auto r = content ? import_archive(fd.get(), **content, Limits{}, {}, stop) : Result<std::vector<StoredImage>>(std::unexpected(content.error()));
        if (r) status = 3;
        else if (r.error().code() != Code::kResourceExhausted) status = 4;
        else if (!(*content)->list_layers().empty() || !(*content)->list_blobs().empty()) status = 5;
        else if (!std::filesystem::is_empty(small + "/content/staging")) status = 6;
      }
      ::umount2(small.c_str(), MNT_DETACH);
      std::filesystem::remove_all(at.path());
      ::_exit(status);
    }
    int status = 0;
    ::waitpid(child, &status, 0);
    EXPECT_EQ(WEXITSTATUS(status), 0);
  }
}

// --- what Debian's tools make

bool has_tool(const char* name) { return std::system(cat("command -v ", name, " > /dev/null 2>&1").c_str()) == 0; }
int run(const std::string& command) { return std::system((command + " > /dev/null 2>&1").c_str()); }

TEST(Archive, WhatSkopeoAndUmociMakeLoads) {
  if (!has_tool("skopeo") || !has_tool("umoci")) GTEST_SKIP() << "needs skopeo and umoci (apt install skopeo umoci)";
  TemporaryDirectory at;
  const std::string dir = at.path();
  ASSERT_EQ(run(cat("umoci init --layout ", dir, "/l && umoci new --image ", dir, "/l:one && umoci unpack --image ", dir, "/l:one ", dir, "/b")), 0);
  write_text(dir + "/b/rootfs/file", "first");
  ::mkdir((dir + "/b/rootfs/sub").c_str(), 0751);
  write_text(dir + "/b/rootfs/sub/gone", "x");
  ASSERT_EQ(run(cat("umoci repack --image ", dir, "/l:one ", dir, "/b && rm -rf ", dir, "/b && umoci unpack --image ", dir, "/l:one ", dir, "/b")), 0);
  std::filesystem::remove(dir + "/b/rootfs/sub/gone");
  write_text(dir + "/b/rootfs/sub/new", "second");
  ASSERT_EQ(run(cat("umoci repack --image ", dir, "/l:one ", dir, "/b && umoci config --image ", dir, "/l:one --config.cmd /hello")), 0);
  const std::string policy = " --insecure-policy copy -q ";
  const std::string from = cat("oci:", dir, "/l:one ");
  ASSERT_EQ(run(cat("tar -C ", dir, "/l -cf ", dir, "/umoci.tar .")), 0);
  ASSERT_EQ(run(cat("skopeo", policy, from, "oci-archive:", dir, "/oci.tar:example.com/app:1")), 0);
  ASSERT_EQ(run(cat("skopeo", policy, "--dest-compress-format zstd --dest-compress ", from, "oci-archive:", dir, "/zstd.tar:example.com/app:1")), 0);
  ASSERT_EQ(run(cat("skopeo", policy, from, "docker-archive:", dir, "/docker.tar:example.com/app:1")), 0);
  ASSERT_EQ(run(cat("gzip -k ", dir, "/docker.tar")), 0);
  struct Case { const char* file; std::string reference; };
  for (const auto& [file, reference] : {Case{"umoci.tar", "docker.io/library/one:latest"}, {"oci.tar", "example.com/app:1"}, {"zstd.tar", "example.com/app:1"}, {"docker.tar", "example.com/app:1"}, {"docker.tar.gz", "example.com/app:1"}}) {
    SCOPED_TRACE(file);
    Imported world;
    auto images = world.file(cat(dir, "/", file));
    ASSERT_TRUE(images) << images.error().message();
    ASSERT_EQ(images->size(), 1U);
    EXPECT_EQ((*images)[0].references, std::vector<std::string>{reference});
    ASSERT_EQ((*images)[0].layers.size(), 2U);
    auto config = parse_image_config(*world.content->read_blob((*images)[0].id, 1U << 20));
    ASSERT_TRUE(config);
    EXPECT_EQ(config->cmd, std::vector<std::string>{"/hello"});
    EXPECT_EQ(read_text(world.content->layer_path((*images)[0].layers[0]) + "/file"), "first");
    EXPECT_EQ(read_text(world.content->layer_path((*images)[0].layers[1]) + "/sub/new"), "second");
    EXPECT_TRUE(std::filesystem::is_character_file(world.content->layer_path((*images)[0].layers[1]) + "/sub/gone"));
  }
}

TEST(Archive, WhatTheBuilderMakesSkopeoReads) {
  if (!has_tool("skopeo")) GTEST_SKIP() << "needs skopeo (apt install skopeo)";
  TemporaryDirectory at;
  auto built = build_archive({.reference = "example:1", .files = {{.path = "/bin/app", .content = "app", .mode = 0755}}, .config = {.cmd = {"/bin/app"}}}, at / "built.tar");
  ASSERT_TRUE(built) << built.error().message();
  ASSERT_EQ(run(cat("skopeo --insecure-policy copy -q oci-archive:", at / "built.tar", " docker-archive:", at / "copy.tar", ":copied:2")), 0);
  Imported world;
  auto original = world.file(at / "built.tar"), copy = world.file(at / "copy.tar");
  ASSERT_TRUE(original && copy);
  EXPECT_EQ((*original)[0].id, (*copy)[0].id);
  EXPECT_EQ((*original)[0].layers, (*copy)[0].layers);
  EXPECT_EQ((*copy)[0].references, std::vector<std::string>{"docker.io/library/copied:2"});
}

}  // namespace
}  // namespace monopod::image
