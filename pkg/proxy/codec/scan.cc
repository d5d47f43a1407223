#include "proxy/codec/scan.h"

#include <bit>

#if defined(__x86_64__)
#include <immintrin.h>
#include <sys/platform/x86.h>
#endif

namespace monopod::proxy {
namespace {

bool is_control(char c) {
  auto byte = static_cast<unsigned char>(c);
  return (byte < 0x20 && byte != '\t') || byte == 0x7f;
}

const char* scalar(const char* at, const char* end) {
  while (at != end && !is_control(*at)) ++at;
  return at;
}

#if defined(__x86_64__)
const char* sse2(const char* at, const char* end) {
  const __m128i limit = _mm_set1_epi8(0x1f), tab = _mm_set1_epi8('\t'), del = _mm_set1_epi8(0x7f);
  for (; end - at >= 16; at += 16) {
    __m128i bytes = _mm_loadu_si128(reinterpret_cast<const __m128i*>(at));
    __m128i low = _mm_cmpeq_epi8(_mm_min_epu8(bytes, limit), bytes);
    __m128i bad = _mm_or_si128(_mm_andnot_si128(_mm_cmpeq_epi8(bytes, tab), low), _mm_cmpeq_epi8(bytes, del));
    if (auto mask = static_cast<unsigned>(_mm_movemask_epi8(bad)); mask != 0) return at + std::countr_zero(mask);
  }
  return scalar(at, end);
}

__attribute__((target("avx2"))) const char* avx2(const char* at, const char* end) {
  const __m256i limit = _mm256_set1_epi8(0x1f), tab = _mm256_set1_epi8('\t'), del = _mm256_set1_epi8(0x7f);
  for (; end - at >= 32; at += 32) {
    __m256i bytes = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(at));
    __m256i low = _mm256_cmpeq_epi8(_mm256_min_epu8(bytes, limit), bytes);
    __m256i bad = _mm256_or_si256(_mm256_andnot_si256(_mm256_cmpeq_epi8(bytes, tab), low), _mm256_cmpeq_epi8(bytes, del));
    if (auto mask = static_cast<unsigned>(_mm256_movemask_epi8(bad)); mask != 0) return at + std::countr_zero(mask);
  }
  return sse2(at, end);
}

bool has_avx2() {
  static const bool has = CPU_FEATURE_ACTIVE(AVX2);  // the libc has asked; __builtin_cpu_supports would ask the processor again at every start
  return has;
}
#endif

}  // namespace

const char* find_control(const char* at, const char* end) {
#if defined(__x86_64__)
  if (end - at < 64 || !has_avx2()) return sse2(at, end);  // most values are short
  return avx2(at, end);
#else
  return scalar(at, end);
#endif
}

const char* find_word_end(const char* at, const char* end) {
#if defined(__x86_64__)
  const __m128i limit = _mm_set1_epi8(0x20), del = _mm_set1_epi8(0x7f);
  for (; end - at >= 16; at += 16) {
    __m128i bytes = _mm_loadu_si128(reinterpret_cast<const __m128i*>(at));
    __m128i bad = _mm_or_si128(_mm_cmpeq_epi8(_mm_min_epu8(bytes, limit), bytes), _mm_cmpeq_epi8(bytes, del));
    if (auto mask = static_cast<unsigned>(_mm_movemask_epi8(bad)); mask != 0) return at + std::countr_zero(mask);
  }
#endif
  while (at != end && static_cast<unsigned char>(*at) > 0x20 && *at != 0x7f) ++at;
  return at;
}

ScanWays scan_ways() {
#if defined(__x86_64__)
  return {{{"scalar", scalar}, {"sse2", sse2}, {"avx2", avx2}}, has_avx2() ? 3U : 2U};
#else
  return {{{"scalar", scalar}}, 1};
#endif
}

}  // namespace monopod::proxy
