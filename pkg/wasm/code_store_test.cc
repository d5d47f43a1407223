// Compiled code on disk: found again, never trusted.
#include "wasm/code_store.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>

#include "base/strings.h"
#include "sys/files.h"
#include "sys/root.h"
#include "wasm/engine.h"
#include "wasm/jit/snapshot.h"
#include "wasm/test_support.h"

namespace monopod::wasm {
namespace {

using namespace testing;
namespace fs = std::filesystem;

struct Host {
  std::uint32_t calls = 0;
};
std::uint32_t twice(Host& host, Caller&, std::uint32_t n) {
  ++host.calls;
  return n * 2;
}
constexpr HostFunction kRows[] = {host<twice>("twice")};

// Calls of every sort: of the host, of itself, of a function by name, through a table; a loop; memory; traps.
Bytes sample(std::int32_t constant) {
  return Builder()
      .type({I32}, {I32})
      .import("h", "twice", 0)
      .table(4)
      .memory(1)
      .function(0, Bytes{0x20, 0} + i32_const(constant) + Bytes{0x6a, 0x10, 0}, "host")                                                          // twice(n + constant)
      .function(0, Bytes{0x20, 0, 0x45, 0x04, I32} + i32_const(1) + Bytes{0x05, 0x20, 0} + i32_const(1) + Bytes{0x6b, 0x10, 2, 0x20, 0, 0x6c, 0x0b}, "factorial")
      .function(0, Bytes{0x20, 0, 0x20, 0, 0x11, 0, 0}, "indirect")                                                                               // table[n](n)
      .function(0, Bytes{0x03, 0x40, 0x20, 1, 0x20, 0, 0x6a, 0x21, 1, 0x20, 0} + i32_const(1) + Bytes{0x6b, 0x22, 0, 0x0d, 0, 0x0b, 0x20, 1}, "sum", {1, 1, I32})
      .function(0, {0x20, 0, 0x28, 2, 0}, "load")
      .function(0, Bytes{0x20, 0} + i32_const(1) + Bytes{0x40, 0, 0x6a}, "grow")
      .elements(0, {0, 1, 2})
      .build();
}

class CodeStoreTest : public ::testing::Test {
 protected:
  void SetUp() override {
    if (!jit_unavailable().empty()) GTEST_SKIP() << jit_unavailable();
    folder_ = (fs::temp_directory_path() / cat("code-store-", ::getpid(), "-", ::testing::UnitTest::GetInstance()->current_test_info()->name())).string();
    fs::remove_all(folder_);
    open();
  }
  void TearDown() override { fs::remove_all(folder_); }
  void open(std::uint64_t bytes_max = kCodeStoreBytesMax) {
    Result<std::unique_ptr<CodeStore>> opened = CodeStore::open(folder_, bytes_max);
    ASSERT_TRUE(opened) << opened.error().message();
    store_ = std::move(*opened);
  }
  std::shared_ptr<const Module> load(const Bytes& bytes, bool fuel = false) {
    Result<std::shared_ptr<const Module>> module = Module::load(Engine({.fuel = fuel, .engine = EngineKind::kAuto, .background = false, .code_store = store_}), bytes);
    EXPECT_TRUE(module) << module.error().message();
    return *module;
  }
  void compile(const Bytes& bytes) {
    std::shared_ptr<const Module> module = load(bytes);
    module->tier()->compile_all();
    Result<bool> kept = module->keep_code();
    ASSERT_TRUE(kept) << kept.error().message();
    ASSERT_TRUE(*kept) << "code that holds addresses cannot be kept";
  }
  // What every function of sample() gives.
  std::string run(const std::shared_ptr<const Module>& module) {
    Host host;
    Linker linker;
    linker.add("h", kRows, &host);
    Store store({});
    Result<Instance*> instance = store.instantiate(module, linker);
    EXPECT_TRUE(instance);
    std::string out;
    for (auto [name, argument] : std::initializer_list<std::pair<const char*, std::int32_t>>{{"host", 5}, {"factorial", 6}, {"indirect", 0}, {"indirect", 2}, {"indirect", 3}, {"sum", 100}, {"load", 65'533}, {"grow", 1}}) {
      Result<std::vector<Value>> got = store.call(*(*instance)->function(name), {Value::i32(argument)});
      out += cat(name, "=", got ? cat((*got)[0].as_i32()) : std::string(got.error().message()), "\n");
    }
    return out + cat(host.calls, " calls of the host");
  }
  std::string only_file() {
    std::string found;
    for (const auto& e : fs::directory_iterator(folder_))
      if (e.path().extension() == ".code") found = e.path().string();
    return found;
  }
  std::string read(const std::string& path) { return *sys::read_host_file(path, 1 << 24); }
  void write(const std::string& path, std::string_view bytes) { ASSERT_TRUE(sys::replace_file(path, bytes, 0600)); }

  std::string folder_;
  std::shared_ptr<const CodeStore> store_;
};

TEST_F(CodeStoreTest, WhatWasCompiledOnceStartsCompiled) {
  Bytes bytes = sample(7);
  std::shared_ptr<const Module> first = load(bytes);
  EXPECT_FALSE(first->code_found());
  std::string expected = run(first);
  compile(bytes);
  std::shared_ptr<const Module> second = load(bytes);
  ASSERT_TRUE(second->code_found());
  EXPECT_EQ(second->tier()->functions_compiled(), 6U);
  EXPECT_EQ(run(second), expected);
  EXPECT_NE(expected.find("out of bounds memory access\n  #0 "), std::string::npos) << "traps in it have a place: " << expected;
  EXPECT_FALSE(*second->keep_code()) << "nothing new";
}

TEST_F(CodeStoreTest, CodeOfOneFunctionGrowsByTheOthers) {
  Bytes bytes = sample(7);
  std::shared_ptr<const Module> module = load(bytes);
  std::string expected = run(module);
  Store scratch({});
  for (std::uint32_t round = 0; round < 3; ++round) {
    module = load(bytes);
    Host host;
    Linker linker;
    linker.add("h", kRows, &host);
    Store store({});
    Instance& instance = **store.instantiate(module, linker);
    for (int i = 0; i < 500; ++i) ASSERT_TRUE(store.call(*instance.function(std::initializer_list<const char*>{"host", "factorial", "sum"}.begin()[round]), {Value::i32(9)}));
    EXPECT_EQ(module->tier()->functions_compiled(), round + 1);
    ASSERT_TRUE(*module->keep_code()) << round;
  }
  module = load(bytes);
  EXPECT_EQ(module->tier()->functions_compiled(), 3U);
  EXPECT_EQ(run(module), expected);
}

// Bodies that were checked before are not checked again: how large their frames are has to be known all the same.
TEST_F(CodeStoreTest, WhatIsCompiledBesideKeptCodeHasRoomForItsOperands) {
  constexpr int kOperands = 200;
  Bytes deep;
  for (int i = 0; i < kOperands; ++i) deep = deep + Bytes{0x20, 0} + i32_const(i) + Bytes{0x6c};
  for (int i = 1; i < kOperands; ++i) deep = deep + Bytes{0x6a};
  Bytes bytes = Builder().type({I32}, {I32}).function(0, Bytes{0x20, 0}, "same").function(0, deep, "deep").build();
  for (const char* name : {"same", "deep", "deep"}) {
    std::shared_ptr<const Module> module = load(bytes);
    Store store({});
    Instance& instance = **store.instantiate(module, Linker());
    for (int i = 0; i < 3'000; ++i) {
      Result<std::vector<Value>> got = store.call(*instance.function(name), {Value::i32(3)});
      ASSERT_TRUE(got) << got.error().message();
      ASSERT_EQ(got->at(0).as_i32(), name[0] == 's' ? 3 : 3 * kOperands * (kOperands - 1) / 2);
    }
    EXPECT_TRUE(*module->keep_code() || name[0] == 'd');
  }
}

TEST_F(CodeStoreTest, LoopsAreEnteredWhereTheyWere) {
  Bytes bytes = sample(1);
  {
    std::shared_ptr<const Module> module = load(bytes);
    Host host;
    Linker linker;
    linker.add("h", kRows, &host);
    Store store({});
    ASSERT_TRUE(store.call(*(*store.instantiate(module, linker))->function("sum"), {Value::i32(100'000)}));
    ASSERT_TRUE(*module->keep_code());
  }
  EXPECT_EQ(run(load(bytes)), run(load(sample(1))));
}

// ---- W8: files that somebody changed, and those of another module, processor or key

TEST_F(CodeStoreTest, ChangedFilesAreRefusedAndCompiledAnew) {
  Bytes bytes = sample(7);
  std::string expected = run(load(bytes));
  compile(bytes);
  std::string path = only_file(), good = read(path);
  for (std::size_t at : {std::size_t{0}, std::size_t{9}, std::size_t{41}, std::size_t{80}, std::size_t{104}, std::size_t{4095}, std::size_t{4096}, std::size_t{4200}, good.size() / 2, good.size() - 1}) {
    std::string bad = good;
    bad[at] = static_cast<char>(bad[at] ^ 1);
    write(path, bad);
    std::shared_ptr<const Module> module = load(bytes);
    // Behind the head of the file its first page is only padding, which nobody reads.
    EXPECT_EQ(module->code_found(), at == 4095) << at;
    EXPECT_EQ(run(module), expected) << at;
  }
  for (std::size_t size : {std::size_t{0}, std::size_t{100}, std::size_t{4095}, std::size_t{4096}, good.size() - 1}) {
    write(path, good.substr(0, size));
    EXPECT_FALSE(load(bytes)->code_found()) << size;
  }
  write(path, good + "x");
  EXPECT_FALSE(load(bytes)->code_found());
  ASSERT_EQ(store_->list().size(), 1U);
  EXPECT_NE(store_->list()[0].damage, "");
  compile(bytes);
  EXPECT_TRUE(load(bytes)->code_found()) << "written over";
  EXPECT_EQ(store_->list()[0].damage, "");
}

TEST_F(CodeStoreTest, CodeOfAnotherModuleKeyOrOptionIsRefused) {
  compile(sample(7));
  std::string file = read(only_file());
  fs::remove(only_file());
  compile(sample(8));
  write(only_file(), file);  // another module's code under this one's name, well authenticated
  EXPECT_FALSE(load(sample(8))->code_found());
  fs::remove(only_file());
  compile(sample(7));
  EXPECT_TRUE(load(sample(7))->code_found());
  EXPECT_FALSE(load(sample(7), true)->code_found()) << "code that counts fuel is other code";
  write(folder_ + "/key", std::string(32, 'k'));
  open();
  EXPECT_FALSE(load(sample(7))->code_found()) << "another key";
}

TEST_F(CodeStoreTest, WhatWasAuthenticatedIsSoUntilItsFileChanges) {
  Bytes bytes = sample(7);
  compile(bytes);
  CodeKey key = store_->key_of(load(bytes)->data(), {});
  std::shared_ptr<const MappedCode> first = *store_->find(key);
  EXPECT_EQ(*store_->find(key), first) << "the same mapping";
  // A byte, with size and time of the content as they were.
  std::string path = only_file();
  struct ::stat st {};
  ASSERT_EQ(::stat(path.c_str(), &st), 0);
  int fd = ::open(path.c_str(), O_WRONLY | O_CLOEXEC);
  ASSERT_EQ(::pwrite(fd, "?", 1, st.st_size - 1), 1);
  timespec times[2] = {st.st_atim, st.st_mtim};
  ASSERT_EQ(::futimens(fd, times), 0);
  ::close(fd);
  EXPECT_EQ(store_->find(key).error().code(), Code::kDataLoss);
  compile(bytes);
  EXPECT_NE(*store_->find(key), first);
  ASSERT_EQ(::unlink(path.c_str()), 0);
  EXPECT_EQ(store_->find(key).error().code(), Code::kNotFound);
}

TEST_F(CodeStoreTest, BodiesAreCheckedWhereNoCodeVouchesForThem) {
  Bytes bad = Builder().type({}, {I32}).function(0, {0x42, 1}, "f").build();  // an i64 for an i32
  for (int round = 0; round < 2; ++round) {
    Result<std::shared_ptr<const Module>> module = Module::load(Engine({.code_store = store_}), bad);
    ASSERT_FALSE(module);
    EXPECT_NE(module.error().message().find("type mismatch"), std::string::npos);
  }
  // Two memories are no module of version 2.0: what was kept for a laxer engine does not vouch for it there.
  Bytes two = Builder().type({}, {I32}).memory(1).memory(1).function(0, {0x41, 1}, "f").build();
  compile(two);
  EXPECT_TRUE(load(two)->code_found());
  EXPECT_FALSE(Module::load(Engine({.level = Level::kCore2, .code_store = store_}), two));
}

TEST_F(CodeStoreTest, DirectoriesThatOthersMayWriteToAreRefused) {
  ASSERT_EQ(::chmod(folder_.c_str(), 0777), 0);
  EXPECT_EQ(CodeStore::open(folder_).error().code(), Code::kPermissionDenied);
  ASSERT_EQ(::chmod(folder_.c_str(), 0700), 0);
  ASSERT_EQ(::chmod((folder_ + "/key").c_str(), 0666), 0);
  EXPECT_EQ(CodeStore::open(folder_).error().code(), Code::kPermissionDenied);
  ASSERT_EQ(::chmod((folder_ + "/key").c_str(), 0600), 0);
  compile(sample(7));
  struct ::stat st {};
  ASSERT_EQ(::stat(only_file().c_str(), &st), 0);
  EXPECT_EQ(st.st_mode & 0777, 0600U);
  ASSERT_EQ(::chmod(only_file().c_str(), 0622), 0);
  EXPECT_FALSE(load(sample(7))->code_found());
  ASSERT_EQ(::unlink(only_file().c_str()), 0);
  ASSERT_EQ(::symlink("/etc/passwd", (folder_ + "/x.code").c_str()), 0);
  EXPECT_EQ(store_->list().size(), 1U);
  EXPECT_NE(store_->list()[0].damage, "");
}

TEST_F(CodeStoreTest, WhatWasUsedLongestAgoGoesFirst) {
  for (std::int32_t i = 0; i < 3; ++i) {
    compile(sample(i));
    for (const auto& e : fs::directory_iterator(folder_)) {  // an hour older than what follows
      struct ::stat st {};
      ASSERT_EQ(::stat(e.path().c_str(), &st), 0);
      timespec times[2] = {{st.st_mtim.tv_sec - 3600, 0}, {st.st_mtim.tv_sec - 3600, 0}};
      ASSERT_EQ(::utimensat(AT_FDCWD, e.path().c_str(), times, 0), 0);
    }
  }
  ASSERT_TRUE(load(sample(0))->code_found());  // used: now the youngest
  std::uint64_t one = store_->list()[0].bytes;
  open(one * 3);
  compile(sample(3));
  EXPECT_EQ(store_->list().size(), 3U);
  EXPECT_TRUE(load(sample(0))->code_found());
  EXPECT_FALSE(load(sample(1))->code_found());
  EXPECT_EQ(store_->clean(one), 2U);
  EXPECT_EQ(store_->clean(0), 1U);
  EXPECT_TRUE(store_->list().empty());
}

TEST_F(CodeStoreTest, WhatIsLargerThanTheStoreIsNotWritten) {
  open(5000);
  std::shared_ptr<const Module> module = load(sample(7));
  module->tier()->compile_all();
  EXPECT_EQ(module->keep_code().error().code(), Code::kResourceExhausted);
  EXPECT_TRUE(store_->list().empty());
}

TEST_F(CodeStoreTest, PartsThatDoNotFitTogetherAreNoSnapshot) {
  std::shared_ptr<const Module> module = load(sample(7));
  module->tier()->compile_all();
  std::string good = module->tier()->snapshot();
  auto parse = [](const std::string& text) {
    std::vector<std::uint64_t> aligned((text.size() + 7) / 8);
    std::memcpy(aligned.data(), text.data(), text.size());
    jit::Snapshot out;
    return jit::parse_snapshot({reinterpret_cast<const std::uint8_t*>(aligned.data()), text.size()}, out);
  };
  ASSERT_TRUE(parse(good));
  for (std::size_t size = 0; size < good.size(); size += size < 200 ? 1 : 997) EXPECT_FALSE(parse(good.substr(0, size))) << size;
  for (std::size_t field = 0; field < sizeof(jit::SnapshotHead); field += 4) {
    std::string bad = good;
    std::memset(bad.data() + field, 0xff, 4);
    EXPECT_FALSE(parse(bad)) << field;
  }
}

}  // namespace
}  // namespace monopod::wasm
