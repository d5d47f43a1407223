// Blocking byte pipes between sans-I/O codecs: a pull side and a push side. Used on pool threads, never on the loop.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>

#include "base/bytes.h"
#include "base/error.h"

namespace monopod::codec {

class ByteSource {
 public:
  virtual ~ByteSource() = default;
  // At least one byte; 0 at the end.
  virtual Result<std::size_t> read(std::span<std::byte> into) = 0;
  // Throws count bytes away; fewer only at the end. Sources that can seek override it.
  virtual Result<std::uint64_t> skip(std::uint64_t count);
};

class ByteSink {
 public:
  virtual ~ByteSink() = default;
  virtual Result<> write(std::span<const std::byte> bytes) = 0;
};

// Fills into unless the source ends first; returns what was read.
Result<std::size_t> read_full(ByteSource& source, std::span<std::byte> into);
// Everything up to the end; kResourceExhausted past bytes_max.
Result<std::string> read_all(ByteSource& source, std::size_t bytes_max);

// Over bytes that outlive it.
class MemorySource final : public ByteSource {
 public:
  explicit MemorySource(std::string_view bytes) : rest_(bytes) {}
  Result<std::size_t> read(std::span<std::byte> into) override;

 private:
  std::string_view rest_;
};

class StringSink final : public ByteSink {
 public:
  Result<> write(std::span<const std::byte> bytes) override {
    out_.append(as_text(bytes));
    return {};
  }
  std::string& text() { return out_; }

 private:
  std::string out_;
};

}  // namespace monopod::codec
