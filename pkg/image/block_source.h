// Large reads of what is below, whatever is asked for: what is read in small pieces is not hashed, kept or decompressed in pieces of their size.
#pragma once

#include <algorithm>
#include <cstring>
#include <vector>

#include "codec/byte_stream.h"

namespace monopod::image {

class BlockSource final : public codec::ByteSource {
 public:
  // input outlives it.
  explicit BlockSource(codec::ByteSource& input) : input_(input), block_(kBlockBytes) {}
  Result<std::size_t> read(std::span<std::byte> into) override {
    if (begin_ == end_) {
      if (into.size() >= block_.size()) return input_.read(into);
      TRY_ASSIGN(end_, input_.read(block_));
      begin_ = 0;
    }
    std::size_t n = std::min(into.size(), end_ - begin_);
    std::memcpy(into.data(), block_.data() + begin_, n);
    begin_ += n;
    return n;
  }

 private:
  static constexpr std::size_t kBlockBytes = 256U << 10;

  codec::ByteSource& input_;
  std::vector<std::byte> block_;
  std::size_t begin_ = 0;
  std::size_t end_ = 0;
};

}  // namespace monopod::image
