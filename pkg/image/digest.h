// Content addresses: "sha256:" and 64 lowercase hex digits; in a registry also "sha512:" and 128 (image-spec descriptor.md, "Registered algorithms").
#pragma once

#include <memory>
#include <string>
#include <string_view>

#include "codec/byte_stream.h"

namespace monopod::image {

bool is_digest(std::string_view text);       // sha256 alone: what images here are made of
bool is_blob_digest(std::string_view text);  // of either algorithm: what a registry keeps
std::string_view digest_hex(std::string_view digest);  // of a valid one

class Hash {
 public:
  // like: a valid digest, for a hash of its algorithm.
  explicit Hash(std::string_view like = {});
  ~Hash();
  Hash(const Hash&) = delete;
  Hash& operator=(const Hash&) = delete;
  void update(std::span<const std::byte> bytes);
  std::string finish();  // "sha256:<hex>", or what it is like; once

 private:
  void* context_;
  std::string_view prefix_;
};

std::string digest_of(std::string_view bytes, std::string_view like = {});

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
  Hash hash_;
};

// Chain id of a layer over its parent's (empty: none), OCI image-spec config.md "Layer ChainID".
std::string chain_id(std::string_view parent, std::string_view diff_id);

}  // namespace monopod::image
