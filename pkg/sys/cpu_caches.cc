#include "sys/cpu_caches.h"

#if defined(__x86_64__)
#include <cpuid.h>
#include <unistd.h>

// Callers that were compiled together with libc's function know which registers it leaves alone; and there is no guard on the stack yet, nor memset.
#define BEFORE_MAIN __attribute__((target("general-regs-only"), no_stack_protector, no_builtin))

namespace monopod::sys {
namespace {

constexpr unsigned kCachesMax = 8;
constexpr unsigned kInstructions = 2;  // of a cache's type; data is 1, both is 3

struct CacheLeaf {
  unsigned type_and_level;
  unsigned shape;
  unsigned sets;
};
CacheLeaf leaves[kCachesMax];  // asked once; zero before main
unsigned leaf_count = 0;
bool asked = false;

BEFORE_MAIN bool has_descriptor_ff(unsigned word) {
  if ((word >> 31) != 0) return false;  // the register says nothing
  for (; word != 0; word >>= 8) {
    if ((word & 0xFFU) == 0xFFU) return true;
  }
  return false;
}

BEFORE_MAIN void ask() {
  asked = true;
  unsigned a, b, c, d;
  // Leaf 0 need not be asked how many there are: libc asks of caches only where there are two, and descriptor FFH of leaf 2 says that there is leaf 4.
  __cpuid(2, a, b, c, d);
  if (!has_descriptor_ff(a & ~0xFFU) && !has_descriptor_ff(b) && !has_descriptor_ff(c) && !has_descriptor_ff(d)) return;
  for (; leaf_count < kCachesMax; ++leaf_count) {
    __cpuid_count(4, leaf_count, a, b, c, d);
    if ((a & 0x1FU) == 0) return;
    leaves[leaf_count].type_and_level = a;
    leaves[leaf_count].shape = b;
    leaves[leaf_count].sets = c + 1;
  }
}

}  // namespace

BEFORE_MAIN long find_cpu_cache(int name) {
  if (!asked) ask();
  if (leaf_count == 0) return kCacheUnknown;
  // The names come by threes: size, ways, bytes of a line; of the first level's instructions, its data, and levels 2, 3, 4.
  unsigned number = static_cast<unsigned>(name - _SC_LEVEL1_ICACHE_SIZE);
  unsigned level = number < 6 ? 1 : number / 3;
  for (unsigned i = 0; i < leaf_count; ++i) {
    const CacheLeaf& leaf = leaves[i];
    if ((leaf.type_and_level >> 5 & 7U) != level) continue;
    if (level == 1 && ((leaf.type_and_level & 0x1FU) == kInstructions) != (number < 3)) continue;
    unsigned ways = (leaf.shape >> 22) + 1;
    unsigned line_bytes = (leaf.shape & 0xFFFU) + 1;
    unsigned partitions = (leaf.shape >> 12 & 0x3FFU) + 1;
    if (number % 3 == 1) return ways;
    return number % 3 == 2 ? line_bytes : long{ways} * partitions * line_bytes * leaf.sets;
  }
  return -1;
}

}  // namespace monopod::sys

extern "C" {
// libc's own way, for other processors. Hidden: reached without the table of offsets, which is not relocated yet. Where the executable is linked with libc as
// it is nobody calls either, and the linker leaves both out.
__attribute__((visibility("hidden"))) long monopod_libc_cpu_cache(int name);

long monopod_cpu_cache(int name);
BEFORE_MAIN long monopod_cpu_cache(int name) {
  long found = monopod::sys::find_cpu_cache(name);
  return found != monopod::sys::kCacheUnknown ? found : monopod_libc_cpu_cache(name);
}
}
#else
namespace monopod::sys {
long find_cpu_cache(int) { return kCacheUnknown; }
}  // namespace monopod::sys
#endif
