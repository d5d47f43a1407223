#include "image/erofs_layer.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <algorithm>
#include <random>
#include <set>

#include "base/strings.h"
#include "image/layer_mount.h"
#include "image/layer_record.h"
#include "image/test_archives.h"

namespace monopod::image {
namespace {

using Type = TarEntry::Type;

std::string random_bytes(std::size_t count, unsigned seed) {
  std::mt19937 dice(seed);
  std::string out(count, '\0');
  for (char& c : out) c = static_cast<char>(dice());
  return out;
}
// Compresses about 1 : 4.
std::string text_bytes(std::size_t count, unsigned seed) {
  std::mt19937 dice(seed);
  std::string out;
  while (out.size() < count) out += cat("line ", dice() % 5000, " of some text\n");
  out.resize(count);
  return out;
}

std::string read_fd(int fd) {
  std::string out, buffer(65536, '\0');
  for (off_t at = 0;;) {
    ssize_t n = ::pread(fd, buffer.data(), buffer.size(), at);
    EXPECT_GE(n, 0);
    if (n <= 0) return out;
    out.append(buffer, 0, static_cast<std::size_t>(n));
    at += n;
  }
}

std::string xattrs_of(const std::string& path) {
  std::string names(4096, '\0'), out;
  ssize_t size = ::llistxattr(path.c_str(), names.data(), names.size());
  std::vector<std::string> lines;
  for (std::string_view name : split(std::string_view(names).substr(0, size > 0 ? static_cast<std::size_t>(size) : 0), '\0')) {
    if (name.empty()) continue;
    std::string value(65536, '\0');
    ssize_t n = ::lgetxattr(path.c_str(), std::string(name).c_str(), value.data(), value.size());
    lines.push_back(cat(name, "=", value.substr(0, n > 0 ? static_cast<std::size_t>(n) : 0)));
  }
  std::ranges::sort(lines);
  for (const std::string& line : lines) out += line + ";";
  return out;
}

// One line for each name. Of a directory that was not described, not the time; of a whiteout, no more than that it is one; links by the first of their names.
void list_tree(const sys::Root& root, const std::string& path, const std::vector<std::string>& timeless, std::map<std::uint64_t, std::string>& first, std::vector<std::string>& out) {
  auto entries = root.read_directory(path.empty() ? "." : path);
  ASSERT_TRUE(entries) << path << ": " << entries.error().message();
  std::ranges::sort(*entries, {}, &sys::DirEntry::name);
  for (const sys::DirEntry& entry : *entries) {
    const std::string below = cat(path, path.empty() ? "" : "/", entry.name);
    auto st = root.lstat(below);
    ASSERT_TRUE(st) << below;
    if (S_ISCHR(st->st_mode) && st->st_rdev == 0) {
      out.push_back(cat(below, " whiteout"));
      continue;
    }
    EXPECT_EQ(static_cast<unsigned>(entry.type), (st->st_mode & S_IFMT) >> 12) << below;
    std::string line = cat(below, " ", st->st_mode, " ", st->st_uid, ":", st->st_gid, " links ", st->st_nlink, " ");
    if (std::ranges::find(timeless, below) == timeless.end()) line += cat(st->st_mtim.tv_sec, ".", st->st_mtim.tv_nsec, " ");
    line += cat(S_ISCHR(st->st_mode) || S_ISBLK(st->st_mode) ? st->st_rdev : 0, " ");
    if (!S_ISDIR(st->st_mode)) line += cat("as ", first.emplace(st->st_ino, below).first->second, " ", st->st_size, " ");
    auto named = root.open_file(below, O_PATH | O_NOFOLLOW);
    ASSERT_TRUE(named);
    if (S_ISREG(st->st_mode) || S_ISDIR(st->st_mode)) line += xattrs_of(sys::fd_path(named->get()));
    if (S_ISLNK(st->st_mode)) line += *root.read_link(below);
    if (S_ISREG(st->st_mode)) line += digest_of(read_fd(root.open_file(below, O_RDONLY)->get()));
    out.push_back(std::move(line));
    if (S_ISDIR(st->st_mode)) list_tree(root, below, timeless, first, out);
  }
}

std::vector<std::string> list_tree(const sys::Root& root, const std::vector<std::string>& timeless) {
  std::map<std::uint64_t, std::string> first;
  std::vector<std::string> out;
  struct ::stat st = {};
  EXPECT_EQ(::fstat(root.fd(), &st), 0);
  out.push_back(cat("/ ", st.st_mode, " ", st.st_uid, ":", st.st_gid, " links ", st.st_nlink));
  list_tree(root, "", timeless, first, out);
  return out;
}

struct Both {
  TemporaryDirectory directory;
  std::vector<std::string> implicit;
  Result<OpenLayer> image = fail(Code::kNotFound, "none");
  std::optional<sys::Root> plain;
  std::uint64_t image_bytes = 0;
};

// Both forms of a tar; neither where both refuse it.
std::unique_ptr<Both> make_both(const std::string& tar, bool compress) {
  auto out = std::make_unique<Both>();
  const std::atomic<bool> stop{false};
  const UnpackLimits limits;
  sys::Root root = *sys::Root::open(out->directory.path());
  EXPECT_TRUE(root.make_directory("plain", 0755));
  out->plain = *root.open_root("plain");
  codec::MemorySource first(tar), second(tar);
  auto plain = unpack_layer(first, *out->plain, limits, stop);
  ErofsLayer layer(*root.open_file("erofs", O_RDWR | O_CREAT | O_EXCL, 0600), compress);
  auto image = layer.unpack(second, limits, stop, nullptr);
  EXPECT_EQ(plain.has_value(), image.has_value()) << (plain ? image.error().message() : plain.error().message());
  if (!plain || !image) return nullptr;
  EXPECT_EQ(plain->bytes, image->bytes);
  EXPECT_EQ(plain->entries, image->entries);
  EXPECT_EQ(plain->has_root, image->has_root);
  EXPECT_EQ(plain->implicit_directories, image->implicit_directories);
  out->implicit = image->implicit_directories;
  Result<> finished = layer.finish();
  EXPECT_TRUE(finished) << finished.error().message();
  out->image_bytes = std::filesystem::file_size(out->directory / "erofs");
  out->image = open_layer_image(out->directory / "erofs");
  EXPECT_TRUE(out->image) << out->image.error().message();
  return out;
}

bool can_mount() {
  TemporaryDirectory directory;
  sys::Root root = *sys::Root::open(directory.path());
  Result<> able = check_layer_form(root, LayerForm::kErofsZstd);
  if (!able) std::fprintf(stderr, "SKIPPED: %s\n", able.error().message().c_str());
  return able.has_value();
}

TestEntry with_xattrs(TestEntry entry, std::map<std::string, std::string> xattrs) {
  entry.entry.xattrs = std::move(xattrs);
  return entry;
}
TestEntry owned(TestEntry entry, std::uint32_t uid, std::uint32_t gid, std::uint32_t nanos = 0) {
  entry.entry.uid = uid;
  entry.entry.gid = gid;
  entry.entry.mtime_nanos = nanos;
  return entry;
}
TestEntry device(std::string name, Type type, std::uint32_t major, std::uint32_t minor) {
  TestEntry out = typed_entry(type, std::move(name), {}, 0660);
  out.entry.device_major = major;
  out.entry.device_minor = minor;
  return out;
}

void expect_same(const std::vector<TestEntry>& entries, std::string_view name) {
  SCOPED_TRACE(name);
  for (bool compress : {false, true}) {
    SCOPED_TRACE(compress ? "zstd" : "plain");
    auto both = make_both(make_tar(entries), compress);
    if (both && both->image) EXPECT_EQ(list_tree(both->image->fs, both->implicit), list_tree(*both->plain, both->implicit));
  }
}

TEST(ErofsLayer, ShowsWhatTheDirectoryShows) {
  if (!can_mount()) GTEST_SKIP();
  const std::string capability("\x01\0\0\2\0\4\0\0\0\0\0\0\0\0\0\0\0\0\0\0", 20);
  expect_same({}, "an empty layer");
  expect_same({owned(typed_entry(Type::kDirectory, "./", {}, 01711), 7, 8)}, "a root");
  expect_same({typed_entry(Type::kDirectory, "d/", {}, 02755), owned(file_entry("d/f", "text", 04755), 70'000, 4'000'000'000, 123'456'789), typed_entry(Type::kSymlink, "d/l", "../d/f", 0777),
               typed_entry(Type::kHardLink, "d/h", "d/f"), typed_entry(Type::kHardLink, "h2", "d/h"), device("null", Type::kCharDevice, 1, 3), device("disk", Type::kBlockDevice, 259, 70'000), typed_entry(Type::kFifo, "fifo")},
              "kinds");
  expect_same({with_xattrs(file_entry("f", "x"), {{"user.a", "b"}, {"security.capability", capability}, {"trusted.overlay.opaque", "y"}, {"user.overlay.x", "y"}, {"user.long", std::string(2000, 'v')}}),
               with_xattrs(typed_entry(Type::kDirectory, "d"), {{"user.d", ""}})},
              "attributes");
  expect_same({file_entry("etc/.wh.gone", ""), file_entry("data/.wh..wh..opq", ""), file_entry("data/new", "n"), file_entry(".wh.top", ""), typed_entry(Type::kDirectory, "top"), file_entry("a/.wh.b", ""), file_entry("a/b/c", "under a whiteout"),
               file_entry(".wh..wh.plnk/x", ""), file_entry("w/.wh.x", ""), file_entry("w/x", "both")},
              "whiteouts");
  expect_same({file_entry("x", "first"), file_entry("x", "second"), typed_entry(Type::kDirectory, "t"), file_entry("t/in", "1"), typed_entry(Type::kSymlink, "t", "x"), typed_entry(Type::kDirectory, "x"), file_entry("x/y", "z"), typed_entry(Type::kHardLink, "x/y", "x/y")},
              "replaced");
  expect_same({typed_entry(Type::kDirectory, "usr/lib"), typed_entry(Type::kSymlink, "lib", "usr/lib"), typed_entry(Type::kSymlink, "up", "/usr/../../usr"), file_entry("lib/a", "1"), file_entry("up/lib/b", "2"), file_entry("deep/er/f", "3")}, "through links");
  expect_same({typed_entry(Type::kSymlink, "loop", "loop"), file_entry("loop/x", "1")}, "a loop is refused");
  expect_same({typed_entry(Type::kSymlink, "out", "nowhere"), file_entry("out/x", "1")}, "into nothing is refused");
  expect_same({file_entry("f", "1"), file_entry("f/x", "1")}, "below a file is refused");
  expect_same({typed_entry(Type::kHardLink, "h", "absent")}, "a link to nothing is refused");
  expect_same({typed_entry(Type::kDirectory, "d"), typed_entry(Type::kHardLink, "h", "d")}, "a link to a directory is refused");
  expect_same({file_entry("a/../b", "1")}, "dots are refused");
}

TEST(ErofsLayer, FilesOfEverySizeReadBack) {
  if (!can_mount()) GTEST_SKIP();
  std::vector<TestEntry> entries;
  for (const int bytes : {0, 1, 31, 32, 511, 3900, 4000, 4031, 4032, 4063, 4064, 4065, 4095, 4096, 4097, 8191, 8192, 12'000, 65'535, 65'536, 65'537, 69'000, 131'072, 200'000, 1'048'576, 3'000'001}) {
    const auto size = static_cast<std::size_t>(bytes);
    entries.push_back(file_entry(cat("random-", size), random_bytes(size, static_cast<unsigned>(size))));
    entries.push_back(file_entry(cat("text-", size), text_bytes(size, static_cast<unsigned>(size))));
    entries.push_back(file_entry(cat("zeros-", size), std::string(size, '\0')));
    entries.push_back(with_xattrs(file_entry(cat("mixed-", size), text_bytes(size / 2, 1) + random_bytes(size - size / 2, 2)), {{"user.odd", std::string(size % 97, 'x')}}));
    entries.push_back(file_entry(cat("late-", size), random_bytes(std::min<std::size_t>(size, 65'536), 3) + text_bytes(size - std::min<std::size_t>(size, 65'536), 4)));
  }
  for (std::size_t i = 1; i < 4095; i += 409) entries.push_back(typed_entry(Type::kSymlink, cat("link-", i), std::string(i, 'l'), 0777));
  entries.push_back(typed_entry(Type::kSymlink, "link-longest", std::string(4095, 'l'), 0777));
  expect_same(entries, "sizes");
}

TEST(ErofsLayer, DirectoriesOfManyNamesAreFoundByEachOfThem) {
  if (!can_mount()) GTEST_SKIP();
  std::vector<TestEntry> entries;
  for (int i = 0; i < 5000; ++i) entries.push_back(file_entry(cat("many/", i % 7 == 0 ? "-" : i % 3 == 0 ? "\xc3\xa4" : "n", std::string(static_cast<std::size_t>(i % 200), 'x'), i), cat(i)));
  for (int i = 1; i < 120; ++i) entries.push_back(file_entry(cat("few-", i, "/", std::string(static_cast<std::size_t>(2 * i), 'y')), "", 0600));
  std::string deep = "deep";
  for (int i = 0; i < 100; ++i) deep += "/d";
  entries.push_back(file_entry(deep + "/end", "there"));
  expect_same(entries, "names");
}

TEST(ErofsLayer, LinksLeadNoDeeperThanTheTreeMayBe) {
  std::vector<TestEntry> entries;
  std::string deep;
  for (int i = 0; i < 400; ++i) deep += "d/";
  for (int i = 0; i < 4; ++i) {
    const std::string from = i == 0 ? deep : cat("l", i - 1, "/", deep);
    entries.push_back(typed_entry(Type::kDirectory, from));
    entries.push_back(typed_entry(Type::kSymlink, cat("l", i), from, 0777));
  }
  const std::string tar = make_tar(entries);
  codec::MemorySource source(tar);
  const std::atomic<bool> stop{false};
  const UnpackLimits limits;
  TemporaryDirectory directory;
  ErofsLayer layer(*sys::Root::open(directory.path())->open_file("erofs", O_RDWR | O_CREAT | O_EXCL, 0600), false);
  auto unpacked = layer.unpack(source, limits, stop, nullptr);
  ASSERT_FALSE(unpacked);
  EXPECT_NE(unpacked.error().message().find("nested too deep"), std::string::npos) << unpacked.error().message();
}

TEST(ErofsLayer, HolesStayHoles) {
  if (!can_mount()) GTEST_SKIP();
  TemporaryDirectory directory;
  for (bool compress : {false, true}) {
    // By the writer: our tar writer makes no sparse entries.
    sys::Fd file(::open((directory / "holes").c_str(), O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600));
    ErofsWriter writer(file.get(), compress);
    std::vector<ErofsNid> nids;
    std::vector<std::uint64_t> sizes = {0, 1, 5000, 100'000, 1'000'000'000};
    for (std::uint64_t size : sizes) {
      ASSERT_TRUE(writer.begin_sparse(size));
      for (std::uint64_t at : std::set<std::uint64_t>{0, size / 3, size / 3 + 1, size - std::min<std::uint64_t>(size, 3)}) {
        if (size <= at) continue;
        codec::MemorySource content("x");
        ASSERT_TRUE(writer.add_extent(at, 1, content));
      }
      auto nid = writer.end_sparse({.mode = S_IFREG | 0644});
      ASSERT_TRUE(nid) << nid.error().message();
      nids.push_back(*nid);
    }
    ASSERT_TRUE(writer.begin_directories());
    std::vector<std::string> names;
    for (std::size_t i = 0; i < sizes.size(); ++i) names.push_back(cat(i));
    std::vector<std::string_view> all = {".", ".."};
    all.insert(all.end(), names.begin(), names.end());
    auto place = writer.place_directory({.mode = S_IFDIR | 0755, .links = 2}, all);
    ASSERT_TRUE(place);
    std::vector<ErofsWriter::Child> children = {{".", place->nid, erofs::FileType::kDirectory}, {"..", place->nid, erofs::FileType::kDirectory}};
    for (std::size_t i = 0; i < sizes.size(); ++i) children.push_back({names[i], nids[i], erofs::FileType::kFile});
    writer.fill_directory(*place, children);
    ASSERT_TRUE(writer.finish(place->nid, 0, 1));
    EXPECT_LT(std::filesystem::file_size(directory / "holes"), 1'000'000U);
    auto layer = open_layer_image(directory / "holes");
    ASSERT_TRUE(layer) << layer.error().message();
    for (std::size_t i = 0; i < sizes.size(); ++i) {
      auto fd = layer->fs.open_file(names[i], O_RDONLY);
      ASSERT_TRUE(fd);
      EXPECT_EQ(layer->fs.stat(names[i])->st_size, static_cast<off_t>(sizes[i]));
      if (sizes[i] == 0) continue;
      for (std::uint64_t at : {std::uint64_t{0}, sizes[i] / 3, sizes[i] / 2, sizes[i] - std::min<std::uint64_t>(sizes[i], 3), sizes[i] - 1}) {
        char c = '?';
        ASSERT_EQ(::pread(fd->get(), &c, 1, static_cast<off_t>(at)), 1);
        const bool set = at == 0 || at == sizes[i] / 3 || at == sizes[i] / 3 + 1 || at == sizes[i] - std::min<std::uint64_t>(sizes[i], 3);
        EXPECT_EQ(c, set ? 'x' : '\0') << sizes[i] << " at " << at;
      }
    }
  }
}

TEST(ErofsLayer, FsckHasNothingToSay) {
  if (std::system("command -v fsck.erofs > /dev/null") != 0) GTEST_SKIP() << "SKIPPED: needs fsck.erofs: Debian's erofs-utils";
  if (!can_mount()) GTEST_SKIP();
  // Debian 12's reads no zstd.
  auto both = make_both(make_tar({file_entry("a", "1"), file_entry("a", text_bytes(10'000, 1)), typed_entry(Type::kDirectory, "d"), typed_entry(Type::kSymlink, "d/l", "../a"), file_entry("d/e/f", random_bytes(100'000, 2)), typed_entry(Type::kHardLink, "h", "d/e/f"),
                                  with_xattrs(file_entry("x", ""), {{"user.a", "b"}}), file_entry(".wh.gone", "")}), false);
  ASSERT_TRUE(both);
  EXPECT_EQ(std::system(cat("fsck.erofs --extract ", both->directory / "erofs", " >&2").c_str()), 0);
}

TEST(ErofsLayer, TextTakesHalfOfItsDirectory) {
  if (!can_mount()) GTEST_SKIP();
  std::vector<TestEntry> entries;
  for (int i = 0; i < 500; ++i) entries.push_back(file_entry(cat("f", i), text_bytes(9'000, static_cast<unsigned>(i))));
  auto plain = make_both(make_tar(entries), false), packed = make_both(make_tar(entries), true);
  ASSERT_TRUE(plain && packed);
  EXPECT_LT(plain->image_bytes, 500 * 9'000 * 21 / 20);
  EXPECT_LT(packed->image_bytes, 500 * 9'000 / 2);
}

}  // namespace
}  // namespace monopod::image
