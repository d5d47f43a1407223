#include "sys/cpu_caches.h"

#include <gtest/gtest.h>
#include <unistd.h>

namespace monopod::sys {
namespace {

// Tests are linked with libc as it is.
TEST(CpuCaches, AreWhatLibcFinds) {
  for (int name = _SC_LEVEL1_ICACHE_SIZE; name <= _SC_LEVEL4_CACHE_LINESIZE; ++name) {
    long found = find_cpu_cache(name);
    if (found == kCacheUnknown) GTEST_SKIP() << "this processor does not tell of its caches by CPUID leaf 4";
    if (name == _SC_LEVEL1_ICACHE_ASSOC || name > _SC_LEVEL4_CACHE_SIZE) continue;  // libc does not ask
    EXPECT_EQ(found, ::sysconf(name)) << name;
  }
}

}  // namespace
}  // namespace monopod::sys
