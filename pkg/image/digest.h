// SHA-256 content addresses: "sha256:" and 64 lowercase hex digits. No other algorithm is accepted.
#pragma once

#include <memory>
#include <string>
#include <string_view>

#include "codec/byte_stream.h"

namespace monopod::image {

bool is_digest(std::string_view text);
std::string_view digest_hex(std::string_view digest);  // of a valid one

class Sha256 {
 public:
  Sha256();
  ~Sha256();
  Sha256(const Sha256&) = delete;
  Sha256& operator=(const Sha256&) = delete;
  void update(std::span<const std::byte> bytes);
  std::string finish();  // "sha256:<hex>"; once

 private:
  void* context_;
};

std::string digest_of(std::string_view bytes);

// Passes input through, hashing and counting; fails with kDataLoss past bytes_max.
class HashingSource final : public codec::ByteSource {
 public:
  explicit HashingSource(codec::ByteSource& input, std::uint64_t bytes_max = UINT64_MAX) : input_(input), bytes_max_(bytes_max) {}
  Result<std::size_t> read(std::span<std::byte> into) override;
  std::uint64_t bytes() const { return bytes_; }
  std::string finish() { return hash_.finish(); }

 private:
  codec::ByteSource& input_;
  std::uint64_t bytes_max_;
  std::uint64_t bytes_ = 0;
  Sha256 hash_;
};

// Chain id of a layer over its parent's (empty: none), OCI image-spec config.md "Layer ChainID".
std::string chain_id(std::string_view parent, std::string_view diff_id);

}  // namespace monopod::image
