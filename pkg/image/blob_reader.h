// A blob for reading: a file, or a layer's tar put together again from its record and the unpacked files.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "image/config.h"
#include "image/content.h"
#include "image/layer_record.h"
#include "image/manifest.h"

namespace monopod::image {

// What a blob is found by. A document has its digest alone.
struct BlobName {
  std::string digest;   // of the blob as it came
  std::string diff_id;  // of a layer
  std::string chain;
};
// Of a manifest's layers, base first. Both have as many: the store took them.
std::vector<BlobName> layer_names(const Manifest& manifest, const ImageConfig& config);

class BlobReader {
 public:
  // plain: a layer's tar, however it came. Blocking, also its source. content outlives it. kFailedPrecondition where neither the blob nor a record of it is kept.
  static Result<std::unique_ptr<BlobReader>> open(const Content& content, const BlobName& name, bool plain = false);
  // From front to back. What a record gives has the right digest, or its last bytes are kDataLoss instead.
  codec::ByteSource& source() { return *out_; }

 private:
  BlobReader() = default;
  Result<> read_file(sys::Fd file, bool plain);
  Result<> read_record(const Content& content, const LayerMeta& layer);
  sys::Fd file_;
  std::optional<FdSource> raw_;
  std::unique_ptr<codec::ByteSource> unpacked_;
  std::unique_ptr<codec::ByteSource> blocks_;
  std::optional<OpenLayer> image_;
  std::optional<sys::Root> directory_, kept_;
  std::unique_ptr<codec::ByteSource> tar_;
  codec::ByteSource* out_ = nullptr;
};

}  // namespace monopod::image
