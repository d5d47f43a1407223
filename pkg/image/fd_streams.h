// A descriptor's bytes as a codec's source and sink. The descriptor stays its owner's and is read and written from where it stands.
#pragma once

#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>

#include "codec/byte_stream.h"
#include "sys/root.h"

namespace monopod::image {

class FdSource final : public codec::ByteSource {
 public:
  explicit FdSource(int fd) : fd_(fd) {}
  Result<std::size_t> read(std::span<std::byte> into) override {
    ssize_t n = ::read(fd_, into.data(), into.size());
    if (n < 0) return fail_errno("read blob");
    return static_cast<std::size_t>(n);
  }
  Result<std::uint64_t> skip(std::uint64_t count) override {
    struct ::stat st;
    off_t at = ::lseek(fd_, 0, SEEK_CUR);
    if (at < 0 || ::fstat(fd_, &st) != 0 || !S_ISREG(st.st_mode)) return ByteSource::skip(count);
    std::uint64_t n = std::min(count, static_cast<std::uint64_t>(std::max<off_t>(st.st_size - at, 0)));
    if (::lseek(fd_, static_cast<off_t>(n), SEEK_CUR) < 0) return fail_errno("read blob");
    return n;
  }

 private:
  int fd_;
};

class FdSink final : public codec::ByteSink {
 public:
  explicit FdSink(int fd) : fd_(fd) {}
  Result<> write(std::span<const std::byte> bytes) override { return sys::write_all(fd_, as_text(bytes)); }

 private:
  int fd_;
};

// All of it, at this offset.
inline Result<> write_all_at(int fd, std::span<const std::byte> bytes, std::uint64_t offset) {
  while (!bytes.empty()) {
    ssize_t n = ::pwrite(fd, bytes.data(), bytes.size(), static_cast<off_t>(offset));
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return fail_errno("write");
    bytes = bytes.subspan(static_cast<std::size_t>(n));
    offset += static_cast<std::size_t>(n);
  }
  return {};
}

}  // namespace monopod::image
