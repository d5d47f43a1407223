#include "wasm/wasi/wasi.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <atomic>
#include <filesystem>
#include <fstream>
#include <set>
#include <thread>

#include "base/strings.h"
#include "wasm/test_support.h"
#include "wasm/ops.h"
#include "wasm/wasi/abi.h"

namespace monopod::wasm {
namespace {

using namespace testing;
namespace fs = std::filesystem;
using wasi::u16;
using wasi::u32;
using wasi::u64;
using wasi::u8;

constexpr u8 kSentinel = 0xa5;
constexpr u32 kMemoryBytes = 2 * 65'536;

std::vector<HostFunction> all_rows() {
  std::vector<HostFunction> out;
  for (std::span<const HostFunction> rows : {wasi_process_rows(), wasi_file_rows(), wasi_path_rows(), wasi_poll_rows(), wasi_socket_rows()}) out.insert(out.end(), rows.begin(), rows.end());
  return out;
}

// A module whose exports pass their arguments on to each WASI call.
Bytes trampolines(std::string_view snapshot) {
  Builder b;
  std::vector<HostFunction> rows = all_rows();
  std::vector<u32> counts;
  for (const HostFunction& row : rows) {
    Bytes params, results;
    bool result = false;
    for (const char* c = row.signature; *c != 0; ++c) {
      if (*c == ':') result = true;
      else (result ? results : params).push_back(type_of_letter(*c));
    }
    counts.push_back(static_cast<u32>(params.size()));
    b.type(params, results);
  }
  for (u32 i = 0; i < rows.size(); ++i) b.import(snapshot, rows[i].name, i);
  b.memory(2);
  for (u32 i = 0; i < rows.size(); ++i) {
    Bytes code;
    for (u32 k = 0; k < counts[i]; ++k) code = code + Bytes{0x20} + leb(k);
    b.function(i, code + Bytes{0x10} + leb(i), rows[i].name);
  }
  return b.export_as("memory", 2, 0).build();
}

class WasiTest : public ::testing::Test {
 protected:
  void SetUp() override {
    folder_ = fs::temp_directory_path() / cat("wasi-test-", ::getpid(), "-", ::testing::UnitTest::GetInstance()->current_test_info()->name());
    fs::remove_all(folder_);
    fs::create_directories(folder_ / "inside/sub");
    std::ofstream(folder_ / "secret") << "secret";
    std::ofstream(folder_ / "inside/file") << "hello world";
  }
  void TearDown() override { fs::remove_all(folder_); }

  void start(WasiOptions options, bool read_only = false) {
    Result<sys::Root> root = sys::Root::open(folder_ / "inside");
    ASSERT_TRUE(root);
    options.directories.insert(options.directories.begin(), WasiDirectory{"/data", std::move(*root), read_only});
    options.inherit_stdio = false;
    wasi_ = std::make_unique<Wasi>(std::move(options));
    Linker linker;
    wasi_->link(linker);
    Result<std::shared_ptr<const Module>> module = Module::load(Engine({}), trampolines(snapshot_));
    ASSERT_TRUE(module) << module.error().message();
    Result<Instance*> instance = store_.instantiate(*module, linker);
    ASSERT_TRUE(instance) << instance.error().message();
    instance_ = *instance;
    memory_ = std::make_unique<Memory>(*instance_->memory("memory"));
    clear();
  }

  void clear() { std::ranges::fill(memory_->bytes(), kSentinel); }
  // The bytes around what a call may write are as they were.
  void expect_untouched_but(u32 from, u32 count) {
    for (u32 at = from > 64 ? from - 64 : 0; at < from; ++at) ASSERT_EQ(memory_->bytes()[at], kSentinel) << "before, at " << at;
    for (u32 at = from + count; at < std::min(from + count + 64, kMemoryBytes); ++at) ASSERT_EQ(memory_->bytes()[at], kSentinel) << "behind, at " << at;
  }

  int call(const char* name, std::initializer_list<std::uint64_t> arguments) {
    FunctionObject* f = instance_->function(name);
    std::vector<std::uint64_t> slots(std::max<std::size_t>(arguments.size(), 1));
    std::ranges::copy(arguments, slots.begin());
    EXPECT_EQ(arguments.size(), f->signature->params.size()) << name;
    return store_.call_raw(*f, slots) ? static_cast<int>(static_cast<u32>(slots[0])) : -1;
  }
  u32 put(u32 at, std::string_view text) {
    std::memcpy(memory_->bytes().data() + at, text.data(), text.size());
    return static_cast<u32>(text.size());
  }
  std::string get(u32 at, u32 count) { return {reinterpret_cast<const char*>(memory_->bytes().data()) + at, count}; }
  void vector_at(u32 at, u32 buffer, u32 size) {
    memory_->write<u32>(at, buffer);
    memory_->write<u32>(at + 4, size);
  }
  // Paths stand at 1000, results at 2000.
  int open(std::string_view path, u16 oflags = 0, u64 rights = wasi::kAllRights, u32 lookup = 1, u32 directory = 3) {
    if ((oflags & wasi::kOpenDirectory) != 0) rights &= ~u64{wasi::kFdWrite};
    return call("path_open", {directory, lookup, 1000, put(1000, path), oflags, rights, wasi::kAllRights, 0, 2000});
  }
  u32 opened() { return memory_->read<u32>(2000); }

  std::string_view snapshot_ = "wasi_snapshot_preview1";
  fs::path folder_;
  Store store_{StoreOptions{}};
  std::unique_ptr<Wasi> wasi_;
  std::unique_ptr<Memory> memory_;
  Instance* instance_ = nullptr;
};

TEST_F(WasiTest, EveryCallOfPreviewOneIsThere) {
  constexpr const char* kNames[] = {"args_get", "args_sizes_get", "environ_get", "environ_sizes_get", "clock_res_get", "clock_time_get", "fd_advise", "fd_allocate", "fd_close", "fd_datasync",
                                    "fd_fdstat_get", "fd_fdstat_set_flags", "fd_fdstat_set_rights", "fd_filestat_get", "fd_filestat_set_size", "fd_filestat_set_times", "fd_pread",
                                    "fd_prestat_get", "fd_prestat_dir_name", "fd_pwrite", "fd_read", "fd_readdir", "fd_renumber", "fd_seek", "fd_sync", "fd_tell", "fd_write",
                                    "path_create_directory", "path_filestat_get", "path_filestat_set_times", "path_link", "path_open", "path_readlink", "path_remove_directory", "path_rename",
                                    "path_symlink", "path_unlink_file", "poll_oneoff", "proc_exit", "proc_raise", "random_get", "sched_yield", "sock_accept", "sock_recv", "sock_send",
                                    "sock_shutdown"};
  start({});
  for (const char* name : kNames) EXPECT_NE(instance_->function(name), nullptr) << name;
}

TEST_F(WasiTest, ArgumentsAndEnvironmentAreWrittenWhole) {
  start({.arguments = {"prog", "a b"}, .environment = {"X=1"}});
  EXPECT_EQ(call("args_sizes_get", {100, 200}), 0);
  EXPECT_EQ(memory_->read<u32>(100), 2U);
  EXPECT_EQ(memory_->read<u32>(200), 9U);
  clear();
  EXPECT_EQ(call("args_get", {100, 200}), 0);
  EXPECT_EQ(get(200, 9), std::string("prog\0a b\0", 9));
  EXPECT_EQ(memory_->read<u32>(104), 205U);
  expect_untouched_but(200, 9);
  expect_untouched_but(100, 8);
  EXPECT_EQ(call("args_get", {100, kMemoryBytes - 8}), wasi::kFault);
  EXPECT_EQ(call("args_get", {kMemoryBytes - 4, 200}), wasi::kFault);
  EXPECT_EQ(call("environ_get", {100, kMemoryBytes - 4}), 0);
  EXPECT_EQ(get(kMemoryBytes - 4, 4), std::string("X=1\0", 4));
}

TEST_F(WasiTest, ClocksAndRandomWriteWhatTheySayAndNoMore) {
  start({});
  EXPECT_EQ(call("clock_time_get", {1, 0, 512}), 0);
  expect_untouched_but(512, 8);
  EXPECT_EQ(call("clock_time_get", {9, 0, 512}), wasi::kInvalid);
  EXPECT_EQ(call("clock_time_get", {1, 0, kMemoryBytes - 7}), wasi::kFault);
  EXPECT_EQ(call("clock_res_get", {0, kMemoryBytes - 8}), 0);
  clear();
  EXPECT_EQ(call("random_get", {512, 100}), 0);
  expect_untouched_but(512, 100);
  EXPECT_EQ(call("random_get", {kMemoryBytes - 10, 11}), wasi::kFault);
  EXPECT_EQ(call("random_get", {0, 0xffff'ffff}), wasi::kFault);
}

TEST_F(WasiTest, FilesAreReadWrittenAndMeasured) {
  start({});
  ASSERT_EQ(open("file"), 0);
  u32 fd = opened();
  vector_at(100, 3000, 5);
  vector_at(108, 3100, 100);
  EXPECT_EQ(call("fd_read", {fd, 100, 2, 200}), 0);
  EXPECT_EQ(memory_->read<u32>(200), 11U);
  EXPECT_EQ(get(3000, 5) + get(3100, 6), "hello world");
  expect_untouched_but(3000, 5);
  EXPECT_EQ(call("fd_seek", {fd, 6, 0, 200}), 0);
  vector_at(100, 3200, put(3200, "WORLD"));
  EXPECT_EQ(call("fd_write", {fd, 100, 1, 200}), 0);
  EXPECT_EQ(call("fd_tell", {fd, 200}), 0);
  EXPECT_EQ(memory_->read<u64>(200), 11U);
  clear();
  EXPECT_EQ(call("fd_filestat_get", {fd, 512}), 0);
  EXPECT_EQ(memory_->read<u64>(512 + 32), 11U);
  EXPECT_EQ(memory_->read<u8>(512 + 16), wasi::kRegular);
  expect_untouched_but(512, 64);
  EXPECT_EQ(call("fd_filestat_set_size", {fd, 5}), 0);
  EXPECT_EQ(fs::file_size(folder_ / "inside/file"), 5U);
  EXPECT_EQ(call("fd_allocate", {fd, 0, 100}), 0);
  EXPECT_EQ(fs::file_size(folder_ / "inside/file"), 100U);
  EXPECT_EQ(call("fd_filestat_set_times", {fd, 1'000'000'000, 2'000'000'000, 5}), 0);
  EXPECT_EQ(call("fd_filestat_set_times", {fd, 0, 0, 3}), wasi::kInvalid);
  struct ::stat st {};
  ASSERT_EQ(::stat((folder_ / "inside/file").c_str(), &st), 0);
  EXPECT_EQ(st.st_mtim.tv_sec, 2);
  EXPECT_EQ(call("fd_sync", {fd}), 0);
  EXPECT_EQ(call("fd_close", {fd}), 0);
  EXPECT_EQ(call("fd_close", {fd}), wasi::kBadFile);
  EXPECT_EQ(call("fd_read", {fd, 100, 1, 200}), wasi::kBadFile);
}

// ---- W6: vectors and paths that ask for more than was granted

TEST_F(WasiTest, VectorsAreCheckedBeforeAnythingIsMoved) {
  start({});
  ASSERT_EQ(open("file"), 0);
  u32 fd = opened();
  EXPECT_EQ(call("fd_read", {fd, 100, 0x8000'0000, 200}), wasi::kInvalid);
  EXPECT_EQ(call("fd_read", {fd, 100, 1025, 200}), wasi::kInvalid);
  EXPECT_EQ(call("fd_read", {fd, kMemoryBytes - 8, 2, 200}), wasi::kFault);
  vector_at(100, kMemoryBytes - 4, 5);
  EXPECT_EQ(call("fd_read", {fd, 100, 1, 200}), wasi::kFault);
  vector_at(100, 0xffff'ffff, 0xffff'ffff);
  EXPECT_EQ(call("fd_write", {fd, 100, 1, 200}), wasi::kFault);
  vector_at(100, 3000, 4);
  EXPECT_EQ(call("fd_read", {fd, 100, 1, kMemoryBytes - 3}), wasi::kFault);
  EXPECT_EQ(get(3000, 1)[0], static_cast<char>(kSentinel));
  // Overlapping vectors are the guest's own affair.
  vector_at(100, 3000, 6);
  vector_at(108, 3002, 6);
  EXPECT_EQ(call("fd_read", {fd, 100, 2, 200}), 0);
  EXPECT_EQ(memory_->read<u32>(200), 11U);
}

TEST_F(WasiTest, PathsDoNotLeadOut) {
  start({});
  fs::create_symlink("../secret", folder_ / "inside/up");
  fs::create_symlink(folder_ / "secret", folder_ / "inside/absolute");
  fs::create_symlink("/", folder_ / "inside/slash");
  EXPECT_EQ(open("../secret"), wasi::kNotPermitted);
  EXPECT_EQ(open("sub/../../secret"), wasi::kNotPermitted);
  EXPECT_EQ(open((folder_ / "secret").string()), wasi::kNotPermitted);
  EXPECT_EQ(open("/etc/passwd"), wasi::kNotPermitted);
  EXPECT_EQ(open("up"), wasi::kNotCapable);
  EXPECT_EQ(open("absolute"), wasi::kNotCapable);
  EXPECT_EQ(open("slash/etc/passwd"), wasi::kNotCapable);
  EXPECT_EQ(call("path_create_directory", {3, 1000, put(1000, "slash/tmp/made")}), wasi::kNotCapable);
  EXPECT_EQ(call("path_filestat_get", {3, 1, 1000, put(1000, "up"), 2000}), wasi::kNotCapable);
  EXPECT_EQ(open("up", 0, wasi::kAllRights, 0), 32);  // ELOOP: not followed
  EXPECT_EQ(open(""), wasi::kNoEntry);
  EXPECT_EQ(open(std::string_view("fi\0le", 5)), wasi::kInvalid);
  EXPECT_EQ(open("\xff\xfe"), wasi::kIllegalBytes);
  EXPECT_EQ(open(std::string(5000, 'x')), wasi::kNameTooLong);
  EXPECT_EQ(call("path_open", {3, 1, kMemoryBytes - 2, 4, 0, 0, 0, 0, 2000}), wasi::kFault);
  EXPECT_EQ(open("sub/../file"), 0);
  EXPECT_EQ(call("path_symlink", {1000, put(1000, "/etc"), 3, 1100, put(1100, "link")}), wasi::kNotPermitted);
  EXPECT_EQ(call("path_rename", {3, 1000, put(1000, "file"), 3, 1100, put(1100, "../file")}), wasi::kNotPermitted);
  EXPECT_EQ(call("path_link", {3, 0, 1000, put(1000, "../secret"), 3, 1100, put(1100, "mine")}), wasi::kNotPermitted);
  // A subdirectory is a world of its own.
  ASSERT_EQ(open("sub", wasi::kOpenDirectory), 0);
  u32 sub = opened();
  EXPECT_EQ(open("../file", 0, wasi::kAllRights, 1, sub), wasi::kNotPermitted);
}

TEST_F(WasiTest, SwappedSymlinksNeverReachWhatIsOutside) {
  start({});
  std::atomic<bool> stop{false};
  std::thread attacker([&] {
    while (!stop) {
      ::rename((folder_ / "inside/sub").c_str(), (folder_ / "inside/aside").c_str());
      ::symlink("..", (folder_ / "inside/sub").c_str());
      ::unlink((folder_ / "inside/sub").c_str());
      ::rename((folder_ / "inside/aside").c_str(), (folder_ / "inside/sub").c_str());
    }
  });
  int reached = 0;
  for (int i = 0; i < 2000; ++i) {
    if (open("sub/secret") != 0) continue;
    ++reached;
    call("fd_close", {opened()});
  }
  stop = true;
  attacker.join();
  EXPECT_EQ(reached, 0);
}

TEST_F(WasiTest, TrailingSlashesAskForDirectories) {
  start({});
  EXPECT_EQ(open("file/"), wasi::kNotDirectory);
  EXPECT_EQ(open("new/", wasi::kCreate), wasi::kIsDirectory);
  EXPECT_EQ(open("sub/", wasi::kOpenDirectory), 0);
  EXPECT_EQ(open("file", wasi::kOpenDirectory), wasi::kNotDirectory);
  EXPECT_EQ(call("path_unlink_file", {3, 1000, put(1000, "file/")}), wasi::kNotDirectory);
  EXPECT_EQ(call("path_unlink_file", {3, 1000, put(1000, "sub")}), wasi::kIsDirectory);
  EXPECT_EQ(call("path_rename", {3, 1000, put(1000, "file"), 3, 1100, put(1100, "other/")}), wasi::kNotDirectory);
}

TEST_F(WasiTest, NamesAreMadeMovedAndRemoved) {
  start({});
  EXPECT_EQ(call("path_create_directory", {3, 1000, put(1000, "d")}), 0);
  EXPECT_EQ(call("path_create_directory", {3, 1000, put(1000, "d")}), wasi::kExists);
  ASSERT_EQ(open("d/x", wasi::kCreate | wasi::kExclusive), 0);
  EXPECT_EQ(open("d/x", wasi::kCreate | wasi::kExclusive), wasi::kExists);
  EXPECT_EQ(call("path_remove_directory", {3, 1000, put(1000, "d")}), wasi::kNotEmpty);
  EXPECT_EQ(call("path_link", {3, 0, 1000, put(1000, "d/x"), 3, 1100, put(1100, "y")}), 0);
  EXPECT_EQ(call("path_symlink", {1000, put(1000, "y"), 3, 1100, put(1100, "z")}), 0);
  EXPECT_EQ(call("path_readlink", {3, 1000, put(1000, "z"), 3000, 10, 200}), 0);
  EXPECT_EQ(memory_->read<u32>(200), 1U);
  EXPECT_EQ(get(3000, 1), "y");
  EXPECT_EQ(call("path_rename", {3, 1000, put(1000, "y"), 3, 1100, put(1100, "d/w")}), 0);
  EXPECT_EQ(call("path_unlink_file", {3, 1000, put(1000, "d/w")}), 0);
  EXPECT_EQ(call("path_unlink_file", {3, 1000, put(1000, "d/x")}), 0);
  EXPECT_EQ(call("path_remove_directory", {3, 1000, put(1000, "d")}), 0);
  EXPECT_EQ(call("path_filestat_get", {3, 0, 1000, put(1000, "z"), 512}), 0);
  EXPECT_EQ(memory_->read<u8>(512 + 16), wasi::kSymlink);
  EXPECT_EQ(call("path_filestat_get", {3, 1, 1000, put(1000, "z"), 512}), wasi::kNoEntry);
}

TEST_F(WasiTest, AReadOnlyDirectoryStaysAsItIs) {
  start({}, true);
  ASSERT_EQ(open("file", 0, wasi::kFdRead), 0);
  u32 fd = opened();
  vector_at(100, 3000, 1);
  EXPECT_EQ(call("fd_read", {fd, 100, 1, 200}), 0);
  EXPECT_EQ(call("fd_write", {fd, 100, 1, 200}), wasi::kReadOnly);
  EXPECT_EQ(open("file", 0, wasi::kFdWrite), wasi::kReadOnly);
  EXPECT_EQ(open("new", wasi::kCreate), wasi::kReadOnly);
  EXPECT_EQ(open("file", wasi::kTruncate), wasi::kReadOnly);
  EXPECT_EQ(call("path_unlink_file", {3, 1000, put(1000, "file")}), wasi::kReadOnly);
  EXPECT_EQ(call("path_create_directory", {3, 1000, put(1000, "d")}), wasi::kReadOnly);
  EXPECT_EQ(call("path_rename", {3, 1000, put(1000, "file"), 3, 1100, put(1100, "x")}), wasi::kReadOnly);
  EXPECT_EQ(call("path_symlink", {1000, put(1000, "file"), 3, 1100, put(1100, "z")}), wasi::kReadOnly);
  ASSERT_EQ(open("sub", wasi::kOpenDirectory), 0);
  EXPECT_EQ(open("new", wasi::kCreate, wasi::kAllRights, 1, opened()), wasi::kReadOnly);
  EXPECT_EQ(fs::file_size(folder_ / "inside/file"), 11U);
}

TEST_F(WasiTest, RightsOnlyShrink) {
  start({});
  ASSERT_EQ(open("file"), 0);
  u32 fd = opened();
  EXPECT_EQ(call("fd_fdstat_set_rights", {fd, wasi::kFdRead, 0}), 0);
  vector_at(100, 3000, 1);
  EXPECT_EQ(call("fd_write", {fd, 100, 1, 200}), wasi::kNotCapable);
  EXPECT_EQ(call("fd_seek", {fd, 1, 0, 200}), wasi::kNotCapable);
  EXPECT_EQ(call("fd_fdstat_set_rights", {fd, wasi::kFdRead | wasi::kFdWrite, 0}), wasi::kNotCapable);
  EXPECT_EQ(call("fd_fdstat_get", {fd, 512}), 0);
  EXPECT_EQ(memory_->read<u64>(512 + 8), wasi::kFdRead);
}

TEST_F(WasiTest, DirectoriesAreListedInPieces) {
  for (int i = 0; i < 50; ++i) std::ofstream(folder_ / "inside/sub" / cat("entry-", i)) << i;
  start({});
  ASSERT_EQ(open("sub", wasi::kOpenDirectory), 0);
  u32 fd = opened();
  for (u32 size : {24U, 64U, 100U, 4096U}) {
    std::set<std::string> names;
    u64 cookie = 0;
    for (int rounds = 0; rounds < 1000; ++rounds) {
      ASSERT_EQ(call("fd_readdir", {fd, 4096, size, cookie, 200}), 0);
      u32 used = memory_->read<u32>(200), at = 0;
      bool moved = false;
      while (at + 24 <= used) {
        u32 length = memory_->read<u32>(4096 + at + 16);
        if (at + 24 + length > used) break;
        names.insert(get(4096 + at + 24, length));
        cookie = memory_->read<u64>(4096 + at);
        at += 24 + length;
        moved = true;
      }
      if (used < size) break;
      if (!moved) break;  // the buffer is too small for one entry
    }
    EXPECT_EQ(names.size(), size == 24 ? 0U : 52U) << size;
  }
  EXPECT_EQ(call("fd_readdir", {fd, kMemoryBytes - 10, 11, 0, 200}), wasi::kFault);
  EXPECT_EQ(call("fd_readdir", {0, 4096, 100, 0, 200}), wasi::kNotCapable);
}

TEST_F(WasiTest, PreopenedDirectoriesHaveNames) {
  start({});
  EXPECT_EQ(call("fd_prestat_get", {3, 512}), 0);
  EXPECT_EQ(memory_->read<u32>(516), 5U);
  EXPECT_EQ(call("fd_prestat_dir_name", {3, 600, 5}), 0);
  EXPECT_EQ(get(600, 5), "/data");
  EXPECT_EQ(call("fd_prestat_dir_name", {3, 600, 4}), wasi::kNameTooLong);
  EXPECT_EQ(call("fd_prestat_get", {4, 512}), wasi::kBadFile);
}

TEST_F(WasiTest, PollWaitsForClocksAndFiles) {
  start({});
  auto subscription = [this](u32 at, u64 userdata, u8 tag) {
    std::memset(memory_->bytes().data() + at, 0, 48);
    memory_->write<u64>(at, userdata);
    memory_->write<u8>(at + 8, tag);
  };
  subscription(512, 7, 0);
  memory_->write<u32>(512 + 16, 1);
  memory_->write<u64>(512 + 24, 10'000'000);
  EXPECT_EQ(call("poll_oneoff", {512, 1024, 1, 200}), 0);
  EXPECT_EQ(memory_->read<u32>(200), 1U);
  EXPECT_EQ(memory_->read<u64>(1024), 7U);
  ASSERT_EQ(open("file"), 0);
  memory_->write<u64>(512 + 24, 3'600'000'000'000);
  subscription(560, 8, 1);
  memory_->write<u32>(560 + 16, opened());
  subscription(608, 9, 2);
  memory_->write<u32>(608 + 16, 99);
  EXPECT_EQ(call("poll_oneoff", {512, 1024, 3, 200}), 0);
  EXPECT_EQ(memory_->read<u32>(200), 2U);
  EXPECT_EQ(memory_->read<u64>(1024), 8U);
  EXPECT_EQ(memory_->read<u16>(1024 + 32 + 8), wasi::kBadFile);
  EXPECT_EQ(call("poll_oneoff", {512, 1024, 0, 200}), wasi::kInvalid);
  EXPECT_EQ(call("poll_oneoff", {512, 1024, 10'000'000, 200}), wasi::kInvalid);
  EXPECT_EQ(call("poll_oneoff", {kMemoryBytes - 47, 1024, 1, 200}), wasi::kFault);
}

TEST_F(WasiTest, WaitsAreInterrupted) {
  start({});
  std::memset(memory_->bytes().data() + 512, 0, 48);
  memory_->write<u32>(512 + 16, 1);
  memory_->write<u64>(512 + 24, 3'600'000'000'000);
  std::thread other([this] { wasi_->interrupt(); });
  EXPECT_EQ(call("poll_oneoff", {512, 1024, 1, 200}), wasi::kInterrupted);
  other.join();
}

TEST_F(WasiTest, ExitEndsTheGuestWithItsCode) {
  start({});
  EXPECT_EQ(call("proc_exit", {42}), -1);
  EXPECT_EQ(store_.trap(), Trap::kExit);
  EXPECT_EQ(store_.exit_code(), 42);
  EXPECT_EQ(call("sched_yield", {}), 0);
}

TEST_F(WasiTest, SocketsAreAcceptedAndOnlyGrantedEndpointsConnectedTo) {
  sys::Fd listener(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  sockaddr_in at{.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};
  socklen_t length = sizeof at;
  ASSERT_EQ(::bind(listener.get(), reinterpret_cast<sockaddr*>(&at), length), 0);
  ASSERT_EQ(::listen(listener.get(), 4), 0);
  ASSERT_EQ(::getsockname(listener.get(), reinterpret_cast<sockaddr*>(&at), &length), 0);
  u16 port = ntohs(at.sin_port);
  WasiOptions options;
  options.listeners.push_back(std::move(listener));
  options.connect.push_back({"127.0.0.1", port});
  start(std::move(options));
  ASSERT_EQ(call("sock_open", {1, 2, 300}), 0);
  u32 client = memory_->read<u32>(300);
  u32 loopback = htonl(INADDR_LOOPBACK);
  memory_->write<u32>(400, loopback);
  vector_at(408, 400, 4);
  EXPECT_EQ(call("sock_connect", {client, 408, static_cast<std::uint64_t>(port ^ 1)}), wasi::kNotCapable);
  ASSERT_EQ(call("sock_connect", {client, 408, port}), 0);
  ASSERT_EQ(call("sock_accept", {4, 0, 300}), 0);
  u32 server = memory_->read<u32>(300);
  vector_at(500, 3000, put(3000, "ping"));
  EXPECT_EQ(call("sock_send", {client, 500, 1, 0, 200}), 0);
  vector_at(500, 3100, 100);
  EXPECT_EQ(call("sock_recv", {server, 500, 1, 0, 200, 210}), 0);
  EXPECT_EQ(get(3100, memory_->read<u32>(200)), "ping");
  EXPECT_EQ(call("sock_shutdown", {client, 2}), 0);
  EXPECT_EQ(call("sock_recv", {server, 500, 1, 0, 200, 210}), 0);
  EXPECT_EQ(memory_->read<u32>(200), 0U);
  EXPECT_EQ(call("sock_shutdown", {3, 1}), wasi::kNotSocket);
}

TEST_F(WasiTest, WithoutGrantsThereAreNoSockets) {
  start({});
  EXPECT_EQ(call("sock_open", {1, 2, 300}), wasi::kNotCapable);
}

TEST_F(WasiTest, OpenFilesAreLimited) {
  start({});
  int result = 0;
  u32 made = 0;
  while ((result = open("file")) == 0 && made < 2 * kWasiFilesMax) ++made;
  EXPECT_EQ(result, wasi::kTooManyFiles);
  EXPECT_LE(made, kWasiFilesMax);
}

TEST_F(WasiTest, WritingAtAnOffsetDoesNotAppend) {
  start({});
  ASSERT_EQ(call("path_open", {3, 1, 1000, put(1000, "log"), wasi::kCreate, wasi::kAllRights, 0, wasi::kAppend, 2000}), wasi::kSuccess);
  u32 fd = opened();
  put(3000, "abcd");
  vector_at(3100, 3000, 4);
  EXPECT_EQ(call("fd_write", {fd, 3100, 1, 3200}), wasi::kSuccess);
  EXPECT_EQ(call("fd_pwrite", {fd, 3100, 1, 0, 3200}), wasi::kSuccess);
  EXPECT_EQ(fs::file_size(folder_ / "inside/log"), 4u);
  EXPECT_EQ(call("fd_write", {fd, 3100, 1, 3200}), wasi::kSuccess);
  EXPECT_EQ(fs::file_size(folder_ / "inside/log"), 8u) << "it still appends";
}

TEST_F(WasiTest, WhatIsNoSocketSaysSoBeforeItsRights) {
  start({});
  EXPECT_EQ(call("sock_shutdown", {1, 1}), wasi::kNotSocket);
  EXPECT_EQ(call("sock_shutdown", {3, 1}), wasi::kNotSocket);
  EXPECT_EQ(call("sock_shutdown", {99, 1}), wasi::kBadFile);
  EXPECT_EQ(call("sock_accept", {0, 0, 3000}), wasi::kNotSocket);
}

TEST_F(WasiTest, ADirectoryIsNotOpenedToBeWritten) {
  start({});
  constexpr u64 kReadWrite = wasi::kFdRead | wasi::kFdWrite;
  EXPECT_EQ(call("path_open", {3, 1, 1000, put(1000, "."), wasi::kOpenDirectory, kReadWrite, 0, 0, 2000}), wasi::kIsDirectory);
  EXPECT_EQ(call("path_open", {3, 1, 1000, put(1000, "."), wasi::kOpenDirectory, wasi::kFdRead, 0, 0, 2000}), wasi::kSuccess);
  EXPECT_EQ(call("path_open", {3, 1, 1000, put(1000, "."), 0, 0, 0, wasi::kNonblock, 2000}), wasi::kSuccess);
}

TEST_F(WasiTest, TheUnstableSnapshotDiffersInFourCalls) {
  snapshot_ = "wasi_unstable";
  start({});
  ASSERT_EQ(open("file"), 0);
  u32 fd = opened();
  // Origins: 0 is from here, 1 from the end, 2 from the start.
  for (auto [offset, whence, expected] : {std::array<u64, 3>{2, 2, 2}, {3, 0, 5}, {0, 1, 11}}) {
    EXPECT_EQ(call("fd_seek", {fd, offset, whence, 200}), 0);
    EXPECT_EQ(memory_->read<u64>(200), expected);
  }
  EXPECT_EQ(call("fd_seek", {fd, 0, 3, 200}), wasi::kInvalid);
  struct ::stat st {};
  ASSERT_EQ(::stat((folder_ / "inside/file").c_str(), &st), 0);
  for (bool by_path : {false, true}) {
    clear();
    u32 length = put(1000, "file");
    EXPECT_EQ(by_path ? call("path_filestat_get", {3, 1, 1000, length, 512}) : call("fd_filestat_get", {fd, 512}), 0);
    EXPECT_EQ(memory_->read<u64>(520), st.st_ino);
    EXPECT_EQ(memory_->read<u8>(528), wasi::kRegular);
    EXPECT_EQ(memory_->read<u32>(532), 1U);
    EXPECT_EQ(memory_->read<u64>(536), 11U);
    EXPECT_EQ(memory_->read<u64>(552), static_cast<u64>(st.st_mtim.tv_sec) * 1'000'000'000 + static_cast<u64>(st.st_mtim.tv_nsec));
    expect_untouched_but(512, 56);
  }
  EXPECT_EQ(call("fd_filestat_get", {fd, kMemoryBytes - 56}), 0);
  EXPECT_EQ(call("fd_filestat_get", {fd, kMemoryBytes - 55}), wasi::kFault);
  // Two subscriptions, each of 56 bytes: a clock that is due, and a file.
  clear();
  std::memset(memory_->bytes().data() + 512, 0, 112);
  memory_->write<u64>(512, 7);
  memory_->write<u32>(512 + 24, 1);
  memory_->write<u64>(568, 8);
  memory_->write<u8>(568 + 8, 1);
  memory_->write<u32>(568 + 16, fd);
  EXPECT_EQ(call("poll_oneoff", {512, 1024, 2, 200}), 0);
  EXPECT_EQ(memory_->read<u32>(200), 2U);
  EXPECT_EQ(memory_->read<u64>(1024), 7U);
  EXPECT_EQ(memory_->read<u64>(1024 + 32), 8U);
  EXPECT_EQ(call("poll_oneoff", {kMemoryBytes - 111, 1024, 2, 200}), wasi::kFault);
}

TEST_F(WasiTest, StreamsHaveNoPosition) {
  start({});
  EXPECT_EQ(call("fd_seek", {1, 0, 1, 3000}), wasi::kSeekPipe);
  EXPECT_EQ(call("fd_tell", {0, 3000}), wasi::kSeekPipe);
}

}  // namespace
}  // namespace monopod::wasm
