// What runs before and instead of what the libraries do at every start of the executable: most commands are short.
#include "start.h"

#include <elf.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cstddef>
#include <cstdint>

// monopod_start is the entry of the executable: it relocates before libc would, and then leads to libc's own entry, with what the kernel passed.
#if defined(__x86_64__)
asm(".section .text.monopod_start,\"ax\",@progbits\n"
    ".globl monopod_start\n"
    ".type monopod_start,@function\n"
    "monopod_start:\n"
    "  push %rdx\n"
    "  push %rdx\n"  // twice: calls want the stack aligned
    "  call monopod_relocate\n"
    "  pop %rdx\n"
    "  pop %rdx\n"
    "  jmp _start\n"
    ".size monopod_start, .-monopod_start\n"
    ".text\n");
#elif defined(__aarch64__)
asm(".section .text.monopod_start,\"ax\",@progbits\n"
    ".globl monopod_start\n"
    ".type monopod_start,@function\n"
    "monopod_start:\n"
    "  mov x19, x0\n"
    "  bl monopod_relocate\n"
    "  mov x0, x19\n"
    "  b _start\n"
    ".size monopod_start, .-monopod_start\n"
    ".text\n");
#endif

// The linker's names. Hidden: their addresses need no relocation.
extern "C" {
#define HIDDEN __attribute__((visibility("hidden")))
HIDDEN extern char __ehdr_start[];  // NOLINT: where the executable is
HIDDEN extern Elf64_Dyn _DYNAMIC[];  // NOLINT
HIDDEN extern char __init_array_start[];  // NOLINT: the first page that is relocated
HIDDEN extern char __stop_library_tables[];  // NOLINT
HIDDEN void monopod_relocate();
}

// In front of the libraries' tables (cmake/MonopodDependencies.cmake): they begin a page.
[[gnu::section("library_tables"), gnu::aligned(4096)]] HIDDEN std::uintptr_t first_table = 0;

namespace {

// There is no guard on the stack yet, and nothing of libc can be called.
#define BEFORE_MAIN __attribute__((no_stack_protector, no_builtin))

constexpr long kPopulateWrite = 23;  // MADV_POPULATE_WRITE
bool relocated_here = false;         // not in sanitizer builds, which a dynamic loader starts

BEFORE_MAIN void populate(void* begin, void* end) {
  std::uintptr_t first = reinterpret_cast<std::uintptr_t>(begin) & ~std::uintptr_t{4095};
  std::uintptr_t bytes = reinterpret_cast<std::uintptr_t>(end) - first;
#if defined(__x86_64__)
  long result = 28;  // madvise
  asm volatile("syscall" : "+a"(result) : "D"(first), "S"(bytes), "d"(kPopulateWrite) : "rcx", "r11", "memory");
#elif defined(__aarch64__)
  register std::uintptr_t x0 asm("x0") = first;
  register std::uintptr_t x1 asm("x1") = bytes;
  register long x2 asm("x2") = kPopulateWrite;
  register long x8 asm("x8") = 233;
  asm volatile("svc #0" : "+r"(x0) : "r"(x1), "r"(x2), "r"(x8) : "memory");
#endif
}

struct Range {
  const std::uintptr_t* begin;
  const std::uintptr_t* end;
};

// Words from at on, one for each bit, that are in the range (inside), or that are not.
BEFORE_MAIN void relocate_words(std::uintptr_t* at, std::uint64_t bits, std::uintptr_t base, const Range& range, bool inside) {
  bool apart = at + 63 < range.begin || at >= range.end;
  if (apart && inside) return;
  for (; bits != 0; bits &= bits - 1) {
    std::uintptr_t* word = at + __builtin_ctzll(bits);
    if (apart || (word >= range.begin && word < range.end) == inside) *word += base;
  }
}

// SHT_RELR (System V gABI): a word's address, then for each entry with its last bit set 63 words that follow it.
BEFORE_MAIN void relocate(const Elf64_Relr* entries, std::size_t count, bool libraries) {
  std::uintptr_t base = reinterpret_cast<std::uintptr_t>(__ehdr_start);
  Range tables = {&first_table, reinterpret_cast<const std::uintptr_t*>(__stop_library_tables)};
  std::uintptr_t* where = nullptr;
  for (std::size_t i = 0; i < count; ++i) {
    if ((entries[i] & 1) == 0) {
      where = reinterpret_cast<std::uintptr_t*>(base + entries[i]);
      relocate_words(where++, 1, base, tables, libraries);
    } else {
      relocate_words(where, entries[i] >> 1, base, tables, libraries);
      where += 63;
    }
  }
}

const Elf64_Relr* relocations = nullptr;
std::size_t relocation_count = 0;

}  // namespace

// Relocation writes to each page of .data.rel.ro and .data, a fault each: they are asked for at once instead (Linux 5.14; before it, and where pages are
// larger than 4 KiB, the kernel refuses and the faults are taken). The tables of the libraries are most of these pages, and wait.
BEFORE_MAIN void monopod_relocate() {
  populate(__init_array_start, &first_table);
  Elf64_Dyn* size = nullptr;
  for (Elf64_Dyn* entry = _DYNAMIC; entry->d_tag != DT_NULL; ++entry) {
    if (entry->d_tag == DT_RELR) relocations = reinterpret_cast<const Elf64_Relr*>(__ehdr_start + entry->d_un.d_ptr);
    if (entry->d_tag == DT_RELRSZ) size = entry;
  }
  if (relocations == nullptr || size == nullptr) return;
  relocation_count = size->d_un.d_val / sizeof(Elf64_Relr);
  size->d_un.d_val = 0;  // nothing is left for libc
  relocate(relocations, relocation_count, false);
  relocated_here = true;
}

void monopod::relocate_libraries() {
  if (!relocated_here) return;
  relocated_here = false;
  populate(&first_table, __stop_library_tables);
  relocate(relocations, relocation_count, true);
  // From here on they are constant, as .data.rel.ro is; but for the page that other data shares.
  std::uintptr_t page = static_cast<std::uintptr_t>(::sysconf(_SC_PAGESIZE));
  std::uintptr_t begin = (reinterpret_cast<std::uintptr_t>(&first_table) + page - 1) / page * page;
  std::uintptr_t end = reinterpret_cast<std::uintptr_t>(__stop_library_tables) / page * page;
  if (begin < end) ::mprotect(reinterpret_cast<void*>(begin), end - begin, PROT_READ);
}

// OpenSSL asks the processor what it can do, which under a hypervisor takes ten microseconds a question, before main and again when it is first used. The
// first time is left out: commands that need no cryptography ask nothing. `--wrap` leads both calls here.
//
// libc asks where the executable is, for the libraries that it would load from beside it: there are none.
extern "C" {
void __real_OPENSSL_cpuid_setup();  // NOLINT: the linker's names
void __wrap_OPENSSL_cpuid_setup();
const char* __wrap__dl_get_origin();  // NOLINT
}

namespace {
volatile bool initialised = false;  // constructors run after .init, where OpenSSL's first call is. volatile: they are evaluated by the compiler otherwise
__attribute__((constructor(101))) void note_constructors() { initialised = true; }
}  // namespace

const char* __wrap__dl_get_origin() { return reinterpret_cast<const char*>(-1); }  // libc's word for unknown

void __wrap_OPENSSL_cpuid_setup() {
  if (initialised) __real_OPENSSL_cpuid_setup();
}
