// Bytes that were read ahead, then the rest of where they came from.
#pragma once

#include <algorithm>
#include <cstring>
#include <span>

#include "codec/byte_stream.h"

namespace monopod::image {

// Both outlive it.
class ReplaySource final : public codec::ByteSource {
 public:
  ReplaySource(std::span<const std::byte> head, codec::ByteSource& rest) : head_(head), rest_(rest) {}
  Result<std::size_t> read(std::span<std::byte> into) override {
    if (head_.empty()) return rest_.read(into);
    std::size_t n = std::min(head_.size(), into.size());
    std::memcpy(into.data(), head_.data(), n);
    head_ = head_.subspan(n);
    return n;
  }

 private:
  std::span<const std::byte> head_;
  codec::ByteSource& rest_;
};

}  // namespace monopod::image
