#include "codec/byte_stream.h"

#include <algorithm>
#include <cstring>

#include "base/strings.h"

namespace monopod::codec {

Result<std::uint64_t> ByteSource::skip(std::uint64_t count) {
  std::byte buffer[16384];
  std::uint64_t skipped = 0;
  while (skipped < count) {
    std::size_t want = static_cast<std::size_t>(std::min<std::uint64_t>(sizeof buffer, count - skipped));
    TRY_ASSIGN(std::size_t n, read(std::span(buffer, want)));
    if (n == 0) break;
    skipped += n;
  }
  return skipped;
}

Result<std::size_t> read_full(ByteSource& source, std::span<std::byte> into) {
  std::size_t filled = 0;
  while (filled < into.size()) {
    TRY_ASSIGN(std::size_t n, source.read(into.subspan(filled)));
    if (n == 0) break;
    filled += n;
  }
  return filled;
}

Result<std::string> read_all(ByteSource& source, std::size_t bytes_max) {
  std::string out;
  std::byte buffer[16384];
  for (;;) {
    TRY_ASSIGN(std::size_t n, source.read(buffer));
    if (n == 0) return out;
    if (n > bytes_max - out.size()) return fail(Code::kResourceExhausted, cat("more than ", bytes_max, " bytes"));
    out.append(as_text(std::span(buffer, n)));
  }
}

Result<std::size_t> MemorySource::read(std::span<std::byte> into) {
  std::size_t n = std::min(into.size(), rest_.size());
  if (n > 0) std::memcpy(into.data(), rest_.data(), n);
  rest_.remove_prefix(n);
  return n;
}

}  // namespace monopod::codec
