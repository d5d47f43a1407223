#include "wasm/profile/perf.h"

#include <elf.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include <charconv>
#include <cstring>
#include <map>
#include <mutex>

#include "base/strings.h"
#include "sys/fd.h"
#include "sys/root.h"
#include "wasm/dwarf/source_map.h"
#include "wasm/module.h"

namespace monopod::wasm {
namespace {

// A name that is one line of a file.
std::string name_of(const NativeBlock& block) {
  std::string out = block.function == NativeBlock::kStub ? "wasm stub" : block.module->describe_function(block.function);
  for (char& c : out)
    if (static_cast<unsigned char>(c) < 0x20 || c == 0x7f) c = '?';
  return block.tier.empty() ? out : cat(out, " [wasm ", block.tier, "]");
}

std::string hex(std::uint64_t n) {
  char text[16];
  return {text, std::to_chars(text, text + sizeof text, n, 16).ptr};
}

// Never through what somebody else has put there: /tmp is everybody's.
Result<sys::Fd> create_afresh(const std::string& path) {
  if (::unlink(path.c_str()) != 0 && errno != ENOENT) return fail_errno(path);
  sys::Fd out(::open(path.c_str(), O_RDWR | O_CREAT | O_EXCL | O_APPEND | O_CLOEXEC | O_NOFOLLOW, 0600));
  if (!out) return fail_errno(path);
  return out;
}

class PerfMap : public CodeListener {
 public:
  explicit PerfMap(sys::Fd fd) : fd_(std::move(fd)) {}
  void on_code(const NativeBlock& block) override {
    std::string line = cat(hex(reinterpret_cast<std::uintptr_t>(block.code.data())), " ", hex(block.code.size()), " ", name_of(block), "\n");
    (void)sys::write_all(fd_.get(), line);  // a profile that is not written ends no guest
  }

 private:
  sys::Fd fd_;
};

class JitDump : public CodeListener {
 public:
  explicit JitDump(sys::Fd fd) : fd_(std::move(fd)) {}
  ~JitDump() override {
    if (mark_ != nullptr) ::munmap(mark_, kPage);
  }

  Result<> begin() {
    Writer header;
    header.u32(0x4a69'5444);  // "JiTD", which also says the order of bytes
    header.u32(1);
    header.u32(40);
#if defined(__x86_64__)
    header.u32(EM_X86_64);
#else
    header.u32(EM_AARCH64);
#endif
    header.u32(0);
    header.u32(static_cast<std::uint32_t>(::getpid()));
    header.u64(now());
    header.u64(0);
    TRY(sys::write_all(fd_.get(), header.out));
    void* at = ::mmap(nullptr, kPage, PROT_READ | PROT_EXEC, MAP_PRIVATE, fd_.get(), 0);
    if (at == MAP_FAILED) return fail_errno("map a jitdump");
    mark_ = at;
    return {};
  }

  void on_code(const NativeBlock& block) override {
    std::lock_guard lock(mutex_);
    std::string out = lines(block);
    Writer load;
    std::string name = name_of(block);
    auto address = reinterpret_cast<std::uintptr_t>(block.code.data());
    load.head(0, 40 + name.size() + 1 + block.code.size());
    load.u32(static_cast<std::uint32_t>(::getpid()));
    load.u32(static_cast<std::uint32_t>(::syscall(SYS_gettid)));
    load.u64(address);
    load.u64(address);
    load.u64(block.code.size());
    load.u64(next_index_++);
    load.text(name);
    out += load.out;
    out.append(reinterpret_cast<const char*>(block.code.data()), block.code.size());
    (void)sys::write_all(fd_.get(), out);
  }

 private:
  static constexpr std::size_t kPage = 4096;
  static constexpr std::size_t kLinesMax = 100'000;  // of one function

  static std::uint64_t now() {
    timespec t{};
    ::clock_gettime(CLOCK_MONOTONIC, &t);
    return static_cast<std::uint64_t>(t.tv_sec) * 1'000'000'000 + static_cast<std::uint64_t>(t.tv_nsec);
  }
  struct Writer {
    std::string out;
    void u32(std::uint32_t n) { out.append(reinterpret_cast<const char*>(&n), sizeof n); }
    void u64(std::uint64_t n) { out.append(reinterpret_cast<const char*>(&n), sizeof n); }
    void text(std::string_view s) { out.append(s.substr(0, s.find('\0'))), out += '\0'; }
    void head(std::uint32_t kind, std::size_t body_bytes) { u32(kind), u32(static_cast<std::uint32_t>(16 + body_bytes)), u64(now()); }
  };

  // A record of where lines begin; empty where the module says nothing of them.
  std::string lines(const NativeBlock& block) {
    if (block.function == NativeBlock::kStub) return {};
    auto [map, made] = sources_.try_emplace(block.module);
    if (made) map->second = std::make_unique<dwarf::SourceMap>(dwarf::find_sections(*block.module), dwarf::kStepsMax * 64);
    Writer rows;
    std::uint64_t count = 0;
    std::string before;
    for (const NativeBlock::Place& place : block.places) {
      if (count == kLinesMax || place.wasm < block.module->code_section.from) continue;
      std::vector<dwarf::SourceFrame> frames = map->second->find(place.wasm - block.module->code_section.from);
      if (frames.empty() || frames[0].line == 0) continue;
      std::string at = cat(frames[0].file, ":", frames[0].line);
      if (at == before) continue;
      rows.u64(reinterpret_cast<std::uintptr_t>(block.code.data()) + place.native);
      rows.u32(frames[0].line);
      rows.u32(0);
      rows.text(frames[0].file);
      before = std::move(at);
      ++count;
    }
    if (count == 0) return {};
    Writer out;
    out.head(2, 16 + rows.out.size());
    out.u64(reinterpret_cast<std::uintptr_t>(block.code.data()));
    out.u64(count);
    return out.out + rows.out;
  }

  sys::Fd fd_;
  void* mark_ = nullptr;
  std::mutex mutex_;
  std::uint64_t next_index_ = 0;
  std::map<const ModuleData*, std::unique_ptr<dwarf::SourceMap>> sources_;
};

}  // namespace

std::string perf_map_path() { return cat("/tmp/perf-", ::getpid(), ".map"); }

Result<std::shared_ptr<CodeListener>> make_perf_map(const std::string& path) {
  TRY_ASSIGN(sys::Fd fd, create_afresh(path));
  return std::shared_ptr<CodeListener>(std::make_shared<PerfMap>(std::move(fd)));
}

Result<std::shared_ptr<CodeListener>> make_jit_dump(const std::string& directory) {
  TRY_ASSIGN(sys::Fd fd, create_afresh(cat(directory, "/jit-", ::getpid(), ".dump")));
  auto out = std::make_shared<JitDump>(std::move(fd));
  TRY(out->begin());
  return std::shared_ptr<CodeListener>(std::move(out));
}

}  // namespace monopod::wasm
