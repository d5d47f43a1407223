// One blob of any size that arrives in pieces: hashed as it is written into staging, durable before it has a name. Blocking; one
// thread at a time.
#pragma once

#include <memory>
#include <optional>
#include <string>

#include "image/content.h"
#include "image/digest.h"

namespace monopod::image {

class BlobWriter {
 public:
  // content outlives it. What was written goes with the writer unless it was committed.
  static Result<std::unique_ptr<BlobWriter>> open(const Content& content);

  // All of the bytes or, on an error (kResourceExhausted: the disk is full), the file as it was before.
  Result<> write(std::span<const std::byte> bytes);
  std::uint64_t bytes() const { return bytes_; }
  // Ends the writing; the digest of what was written, by sha256 or by the algorithm of a digest that it is to be like: then the file is read once
  // more, for nobody says at the beginning. Idempotent, with the same argument.
  Result<std::string> finish(std::string_view like = {});
  // The bytes are on disk; nothing names them yet.
  Result<> sync();
  // Renames it to its place among the blobs, under finish()'s digest; a blob that is there already stays. After sync().
  Result<> publish();

 private:
  BlobWriter(const Content& content, std::unique_ptr<Staged> directory, sys::Fd file)
      : content_(content), directory_(std::move(directory)), file_(std::move(file)) {}
  const Content& content_;
  std::unique_ptr<Staged> directory_;
  sys::Fd file_;
  Hash hash_;
  std::uint64_t bytes_ = 0;
  std::string digest_;
};

}  // namespace monopod::image
