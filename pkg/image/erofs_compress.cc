#include "image/erofs_compress.h"

#include <zstd.h>
#include <zstd_errors.h>

#include <array>

#include "base/strings.h"

namespace monopod::image {
namespace {

constexpr int kZstdLevel = 1;  // higher ones gain a twentieth, for twice the time

class ZstdClusters final : public ClusterCompressor {
 public:
  ZstdClusters() : context_(ZSTD_createCCtx()) {
    if (context_ == nullptr) return;
    ZSTD_CCtx_setParameter(context_, ZSTD_c_compressionLevel, kZstdLevel);
    ZSTD_CCtx_setParameter(context_, ZSTD_c_windowLog, kLog);
    ZSTD_CCtx_setParameter(context_, ZSTD_c_checksumFlag, 0);  // the kernel stops reading where the bytes are complete
  }
  ~ZstdClusters() override { ZSTD_freeCCtx(context_); }

  Result<std::span<const std::byte>> pack(std::span<const std::byte> raw, std::size_t bytes_max) override {
    if (context_ == nullptr) return fail(Code::kInternal, "zstd: out of memory");
    if (bytes_max <= 1) return std::span<const std::byte>();
    std::size_t bytes = ZSTD_compress2(context_, buffer_.data(), std::min(bytes_max - 1, buffer_.size()), raw.data(), raw.size());
    if (ZSTD_isError(bytes) == 0) return std::span<const std::byte>(buffer_).first(bytes);
    if (ZSTD_getErrorCode(bytes) == ZSTD_error_dstSize_tooSmall) return std::span<const std::byte>();
    return fail(Code::kInternal, cat("zstd: ", ZSTD_getErrorName(bytes)));
  }

 private:
  ZSTD_CCtx* context_;
  std::array<std::byte, kBytes> buffer_;
};

}  // namespace

std::unique_ptr<ClusterCompressor> make_cluster_compressor() { return std::make_unique<ZstdClusters>(); }

}  // namespace monopod::image
