// A connection of fuzz targets: the bytes of the input come in pieces, what is written is kept.
#pragma once

#include <algorithm>
#include <cstring>
#include <string>
#include <string_view>

#include "async/stream.h"
#include "base/bytes.h"

namespace monopod::fuzz {

class Wire final : public async::Stream {
 public:
  Wire(std::string_view in, std::size_t piece, std::string& out) : in_(in), piece_(piece), out_(out) {}
  async::Task<Result<std::size_t>> read_some(std::span<std::byte> into) override {
    std::size_t n = std::min({into.size(), piece_, in_.size()});
    std::memcpy(into.data(), in_.data(), n);
    in_.remove_prefix(n);
    co_return n;
  }
  async::Task<Result<>> write_all(std::span<const std::byte> bytes) override {
    out_ += as_text(bytes);
    co_return Result<>();
  }
  async::Task<Result<>> shutdown_write() override { co_return Result<>(); }
  void close() override {}

 private:
  std::string_view in_;
  std::size_t piece_;
  std::string& out_;
};

}  // namespace monopod::fuzz
