#include "wasm/jit/code_memory.h"

#include <linux/membarrier.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cstring>

#include "sys/fd.h"
#include "wasm/limits.h"

namespace monopod::wasm::jit {
namespace {

constexpr unsigned kMfdExec = 0x10;  // Linux 6.3: where vm.memfd_noexec asks that it is said
constexpr std::size_t kLessBytes = 4 << 20;

sys::Fd make_file() {
  sys::Fd fd(::memfd_create("wasm-code", MFD_CLOEXEC | kMfdExec));
  if (!fd) fd = sys::Fd(::memfd_create("wasm-code", MFD_CLOEXEC));
  return fd;
}

std::uint8_t* map(int fd, std::size_t bytes, int protection) {
  void* at = ::mmap(nullptr, bytes, protection, MAP_SHARED, fd, 0);
  return at == MAP_FAILED ? nullptr : static_cast<std::uint8_t*>(at);
}

}  // namespace

std::unique_ptr<CodeMemory> CodeMemory::make_nameless() {
  std::unique_ptr<CodeMemory> out(new CodeMemory);
  out->bytes_ = kMachineCodeBytesMax;
  out->nameless_ = true;
  void* at = ::mmap(nullptr, out->bytes_, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (at == MAP_FAILED) return nullptr;
  out->write_ = static_cast<std::uint8_t*>(at);
  void* again = ::mremap(at, 0, out->bytes_, MREMAP_MAYMOVE);  // of size 0: a second mapping of the same pages
  if (again == MAP_FAILED) return nullptr;
  out->run_ = static_cast<std::uint8_t*>(again);
  return ::mprotect(again, out->bytes_, PROT_READ | PROT_EXEC) == 0 ? std::move(out) : nullptr;
}

std::unique_ptr<CodeMemory> CodeMemory::make(Options options) {
  if (options.nameless) return make_nameless();
  sys::Fd fd = make_file();
  if (!fd) return nullptr;
  for (std::size_t bytes : {kMachineCodeBytesMax, kLessBytes}) {  // the second where addresses are scarce
    std::unique_ptr<CodeMemory> out(new CodeMemory);
    out->bytes_ = bytes;
    if (::ftruncate(fd.get(), static_cast<off_t>(bytes)) != 0) return nullptr;
    out->run_ = map(fd.get(), bytes, PROT_READ | PROT_EXEC);
    out->write_ = map(fd.get(), bytes, PROT_READ | PROT_WRITE);
    if (out->run_ != nullptr && out->write_ != nullptr) return out;
  }
  return nullptr;
}

CodeMemory::~CodeMemory() {
  if (run_ != nullptr) ::munmap(run_, bytes_);
  if (write_ != nullptr) ::munmap(write_, bytes_);
}

CodeMemory::Room CodeMemory::take(std::size_t bytes, std::size_t alignment) {
  std::size_t from = (used_ + alignment - 1) & ~(alignment - 1);
  if (bytes > bytes_ || from > bytes_ - bytes) return {};
  used_ = from + bytes;
  return {write_ + from, run_ + from};
}

bool CodeMemory::adopt(std::span<const std::uint8_t> code, int fd, std::uint64_t offset) {
  const auto page = static_cast<std::size_t>(::sysconf(_SC_PAGESIZE));
  std::size_t whole = (code.size() + page - 1) / page * page;
  if (used_ != 0 || whole > bytes_) return false;
  if (nameless_ || ::mmap(run_, code.size(), PROT_READ | PROT_EXEC, MAP_PRIVATE | MAP_FIXED, fd, static_cast<off_t>(offset)) == MAP_FAILED) std::memcpy(write_, code.data(), code.size());
  used_ = whole;
  publish();
  return true;
}

#if defined(__aarch64__)
void CodeMemory::publish() {
  if (used_ == published_) return;
  __builtin___clear_cache(reinterpret_cast<char*>(run_ + published_), reinterpret_cast<char*>(run_ + used_));
  published_ = used_;
  // What other threads have fetched ahead is theirs to forget. Linux 4.16; where it is missing, they find the code by a branch they have not taken before.
  static const bool registered = ::syscall(SYS_membarrier, MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED_SYNC_CORE, 0, 0) == 0;
  if (registered) ::syscall(SYS_membarrier, MEMBARRIER_CMD_PRIVATE_EXPEDITED_SYNC_CORE, 0, 0);
}
#else
void CodeMemory::publish() { published_ = used_; }  // the processor sees to it
#endif

}  // namespace monopod::wasm::jit
