#include "base/rng.h"

#include <sys/random.h>

#include <cstdio>
#include <cstdlib>
#include <string_view>

namespace monopod {

std::string Rng::name_suffix(std::size_t n) {
  static constexpr std::string_view kAlphabet = "bcdfghjklmnpqrstvwxz2456789";
  std::string out;
  while (out.size() < n) out += kAlphabet[below(kAlphabet.size())];
  return out;
}

std::string Rng::uuid() {
  std::uint64_t a = (next() & ~0xf000ULL) | 0x4000ULL;
  std::uint64_t b = (next() & ~(3ULL << 62)) | (2ULL << 62);
  char text[40];
  std::snprintf(text, sizeof text, "%08x-%04x-%04x-%04x-%012llx", static_cast<unsigned>(a >> 32),
                static_cast<unsigned>(a >> 16 & 0xffff), static_cast<unsigned>(a & 0xffff), static_cast<unsigned>(b >> 48),
                static_cast<unsigned long long>(b & 0xffffffffffffULL));
  return text;
}

std::uint64_t SystemRng::next() {
  std::uint64_t value = 0;
  if (::getrandom(&value, sizeof value, 0) != static_cast<ssize_t>(sizeof value)) std::abort();  // cannot fail once seeded
  return value;
}

}  // namespace monopod
