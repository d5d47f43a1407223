// A descriptor's bytes as a codec's source and sink. The descriptor stays its owner's and is read and written from where it stands.
#pragma once

#include <unistd.h>

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

}  // namespace monopod::image
