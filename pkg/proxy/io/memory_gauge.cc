#include "proxy/io/memory_gauge.h"

#include <fcntl.h>
#include <unistd.h>

#include "base/strings.h"
#include "sys/fd.h"

namespace monopod::proxy {
namespace {

constexpr std::uint64_t kLookMs = 100;

// The second number of statm; 0 where it cannot be read.
std::uint64_t resident_bytes() {
  sys::Fd file(::open("/proc/self/statm", O_RDONLY | O_CLOEXEC));
  char text[128];
  ssize_t n = file ? ::read(file.get(), text, sizeof text) : 0;
  std::vector<std::string_view> fields = split({text, static_cast<std::size_t>(n > 0 ? n : 0)}, ' ');
  std::optional<std::uint64_t> pages = fields.size() > 1 ? parse_int<std::uint64_t>(fields[1]) : std::nullopt;
  return pages.value_or(0) * static_cast<std::uint64_t>(::sysconf(_SC_PAGESIZE));
}

}  // namespace

std::uint32_t MemoryGauge::percent(std::uint64_t now_ms) {
  std::uint64_t max = bytes_max_.load(std::memory_order_relaxed);
  if (max == 0) return 0;
  std::uint64_t looked = looked_ms_.load(std::memory_order_relaxed);
  if (now_ms >= looked + kLookMs && looked_ms_.compare_exchange_strong(looked, now_ms, std::memory_order_relaxed)) resident_bytes_.store(resident_bytes(), std::memory_order_relaxed);
  return static_cast<std::uint32_t>(std::min<std::uint64_t>(resident_bytes_.load(std::memory_order_relaxed) * 100 / max, 1'000'000));
}

}  // namespace monopod::proxy
