// Delimiter scans: the first byte that may not stand in a header value or a target. 16 bytes a step with SSE2, which every x86-64 has (SSE4.2's
// string instructions take longer than a compare and a mask); 32 with AVX2 where the processor says so; one at a time elsewhere.
#pragma once

#include <cstddef>
#include <cstdint>

namespace monopod::proxy {

// The first byte in [at, end) that is a control character other than tab (0x00-0x08, 0x0a-0x1f, 0x7f); end where there is none.
const char* find_control(const char* at, const char* end);
// The same, and blank and tab as well: where a word of the first line ends.
const char* find_word_end(const char* at, const char* end);

// For tests: each way there is on this machine, named. The first is scalar.
struct ScanWay {
  const char* name;
  const char* (*find_control)(const char*, const char*);
};
struct ScanWays {
  ScanWay ways[3];
  std::size_t count;
};
ScanWays scan_ways();

}  // namespace monopod::proxy
