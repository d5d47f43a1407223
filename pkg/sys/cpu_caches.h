// What the processor says of its caches. A static glibc asks before main, a dozen times over and by 45 CPUID instructions: each is an exit to the
// hypervisor in a virtual machine, some 7 us, which was a third of what a short command took. The executable's libc asks here instead
// (cmd/CMakeLists.txt): the same answers by six. So this runs before relocation, before thread-local storage, and may call nothing.
#pragma once

#include <climits>

namespace monopod::sys {

// name: one of sysconf(3)'s _SC_LEVEL1_ICACHE_SIZE to _SC_LEVEL4_CACHE_LINESIZE. -1: there is no such cache. kCacheUnknown: this processor tells of
// its caches otherwise than by CPUID leaf 4 (Intel's manual, volume 2A, CPUID: descriptor FFH of leaf 2). Not for threads: the first call remembers.
constexpr long kCacheUnknown = LONG_MIN;
long find_cpu_cache(int name);

}  // namespace monopod::sys
