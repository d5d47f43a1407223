// Memories and tables: allocation and growth.
#include <sys/mman.h>
#include <unistd.h>
#include <sys/stat.h>
#include <fcntl.h>

#include <cstring>

#include "base/strings.h"
#include "wasm/limits.h"
#include "wasm/pool.h"
#include "wasm/runtime.h"

namespace monopod::wasm {
namespace {

constexpr std::uint64_t kAllOf32Bits = std::uint64_t{4} << 30;

constexpr std::uint64_t kPopulateBytesMin = 16 << 10;  // below, so many faults cost less than asking

// One question to the kernel instead of a fault for each page; a kernel before 5.14 does not know it, and faults.
void populate(std::uint8_t* from, std::uint64_t count) {
  std::uintptr_t first = reinterpret_cast<std::uintptr_t>(from) & ~std::uintptr_t{4095};
  ::madvise(reinterpret_cast<void*>(first), reinterpret_cast<std::uintptr_t>(from) + count - first, MADV_POPULATE_WRITE);
}

void* reserve(std::uint64_t bytes) { return ::mmap(nullptr, bytes, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0); }

}  // namespace

MemoryObject::~MemoryObject() {
  if (base == nullptr) return;
  if (pool == nullptr || maps_files || !pool->give({base, reserved, accessible})) ::munmap(base, reserved);
}

// All that it may ever take is reserved at once (addresses, no memory), so that growing is one mprotect and nothing moves.
Result<std::unique_ptr<MemoryObject>> MemoryObject::make(const SizeLimits& type, std::uint64_t pages_max, Pool* pool) {
  std::uint64_t top = type.is64 ? kMemory64PagesMax : kMemory32PagesMax;
  auto out = std::make_unique<MemoryObject>();
  out->type = type;
  out->pages_max = std::min({pages_max, top, type.has_max ? type.max : top});
  if (type.min > std::min(pages_max, top)) return fail(Code::kResourceExhausted, cat("wasm memory of ", type.min, " pages, the most is ", std::min(pages_max, top)));
  std::uint64_t pages = out->pages_max;
  out->pool = pool;
  out->guarded = !type.is64;
  out->reserved = (out->guarded ? kAllOf32Bits : pages * kPageBytes) + kGuardBytes;
  if (pool != nullptr) {
    if (Pool::Range used = pool->take(out->reserved); used.base != nullptr) {
      out->base = used.base;
      out->accessible = used.accessible;
      // Compiled code does not compare: what the last guest had and this one has not is taken away.
      if (std::uint64_t size = type.min * kPageBytes; out->guarded && out->accessible > size && ::mprotect(out->base + size, out->accessible - size, PROT_NONE) == 0) out->accessible = size;
      out->guarded = out->guarded && out->accessible <= type.min * kPageBytes;
      if (!out->grow(type.min)) return fail_errno(cat("allocate ", type.min, " pages of wasm memory"));
      return out;
    }
  }
  void* at = reserve(out->reserved);
  // Where addresses are scarce (39-bit kernels, RLIMIT_AS): no more than it may grow to, then less, and growing ends earlier.
  for (out->guarded = out->guarded && at != MAP_FAILED; at == MAP_FAILED; pages = std::max(type.min, pages / 4)) {
    out->reserved = pages * kPageBytes + kGuardBytes;
    at = reserve(out->reserved);
    if (pages == type.min) break;
  }
  if (at == MAP_FAILED) return fail_errno(cat("reserve ", out->reserved, " bytes of wasm memory"));
  out->base = static_cast<std::uint8_t*>(at);
  out->fresh = true;
  out->pages_max = std::min(out->pages_max, pages);
  if (!out->grow(type.min)) return fail_errno(cat("allocate ", type.min, " pages of wasm memory"));
  return out;
}

const void* forbidden_address() {
  static const void* page = ::mmap(nullptr, 4096, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  return page;
}

bool MemoryObject::grow(std::uint64_t pages) {
  std::uint64_t now = bytes / kPageBytes;
  if (pages == 0) return true;
  if (pages > pages_max || now > pages_max - pages) return false;
  std::uint64_t size = bytes + pages * kPageBytes;
  if (size > accessible) {
    if (::mprotect(base + accessible, size - accessible, PROT_READ | PROT_WRITE) != 0) return false;
    accessible = size;
  }
  bytes = size;
  return true;
}

// from: in a file
static Result<> check_pages(const MemoryObject& m, std::uint64_t offset, std::uint64_t from, std::uint64_t count) {
  const auto page = static_cast<std::uint64_t>(::sysconf(_SC_PAGESIZE));
  if (count == 0 || offset % page != 0 || from % page != 0 || count % page != 0) return fail(Code::kInvalidArgument, cat("map ", count, " bytes at ", offset, ": whole pages of ", page, " bytes are mapped"));
  if (offset > m.bytes || count > m.bytes - offset) return fail(Code::kOutOfRange, cat("map ", count, " bytes at ", offset, " of a memory of ", m.bytes));
  return {};
}

Result<> MemoryObject::map(std::uint64_t offset, int fd, std::uint64_t from, std::uint64_t count, bool shared) {
  TRY(check_pages(*this, offset, from, count));
  struct ::stat st {};
  if (::fstat(fd, &st) != 0) return fail_errno("map a file");
  // A file that gets shorter under a mapping would end the process.
  if (int seals = ::fcntl(fd, F_GET_SEALS); seals < 0 || (seals & F_SEAL_SHRINK) == 0) return fail(Code::kFailedPrecondition, "map a file: it may get shorter (want a memfd with F_SEAL_SHRINK)");
  auto size = static_cast<std::uint64_t>(st.st_size);
  if (from > size || count > size - from) return fail(Code::kOutOfRange, cat("map ", count, " bytes from ", from, " of a file of ", size));
  if (::mmap(base + offset, count, PROT_READ | PROT_WRITE, (shared ? MAP_SHARED : MAP_PRIVATE) | MAP_FIXED, fd, static_cast<off_t>(from)) == MAP_FAILED) return fail_errno("map a file");
  maps_files = true;
  return {};
}

Result<> MemoryObject::unmap(std::uint64_t offset, std::uint64_t count) {
  TRY(check_pages(*this, offset, 0, count));
  if (::mmap(base + offset, count, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED, -1, 0) == MAP_FAILED) return fail_errno("unmap from wasm memory");
  return {};
}

std::uint64_t table_grow(TableObject& table, std::uint64_t count, std::uint64_t value) {
  std::uint64_t size = table.elements.size();
  if (count > table.elements_max || size > table.elements_max - count) return ~std::uint64_t{0};
  table.resize(size + count, value);
  return size;
}

bool memory_init(Vm& vm, std::uint32_t segment, std::uint32_t memory, std::uint64_t to, std::uint64_t from, std::uint64_t count) {
  MemoryObject& m = *vm.memories[memory];
  const DataSegment& s = vm.module->data[segment];
  std::uint64_t size = vm.data_dropped[segment] ? 0 : s.bytes.to - s.bytes.from;
  if (from > size || count > size - from || to > m.bytes || count > m.bytes - to) return false;
  if (m.fresh && count >= kPopulateBytesMin) populate(m.base + to, count);
  if (count != 0) std::memcpy(m.base + to, vm.module->bytes.data() + s.bytes.from + from, count);
  return true;
}

bool table_init(Vm& vm, std::uint32_t segment, std::uint32_t table, std::uint64_t to, std::uint64_t from, std::uint64_t count) {
  TableObject& t = *vm.tables[table];
  const ElementSegment& s = vm.module->elements[segment];
  std::uint64_t size = vm.elements_dropped[segment] ? 0 : s.size();
  if (from > size || count > size - from || to > t.elements.size() || count > t.elements.size() - to) return false;
  for (std::uint64_t i = 0; i < count; ++i) {
    std::uint64_t value[2] = {};
    if (!s.functions.empty()) value[0] = reinterpret_cast<std::uint64_t>(vm.functions[s.functions[from + i]]);
    else evaluate(vm, s.expressions[from + i], value);
    t.elements[to + i] = value[0];
  }
  return true;
}

}  // namespace monopod::wasm
