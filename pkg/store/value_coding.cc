#include "store/value_coding.h"

#include <zstd.h>

#include "base/strings.h"
#include "store/limits.h"
#include "store/value_dictionary.h"

namespace monopod::store {
namespace {

// 5 us a KB; expanding takes 1. With the dictionary a little smaller than level 1 without, which builds a code for each value and takes three
// times as long both ways.
constexpr int kLevel = -1;
constexpr std::size_t kPlainBytesMax = 384;     // what a shorter one would save is less than what setting up its codes costs: a quarter of a put's processor time
constexpr std::size_t kBufferBytesKept = 256U << 10;

}  // namespace

void ValueEncoder::Free::operator()(ZSTD_CCtx_s* context) const { ZSTD_freeCCtx(context); }
void ValueEncoder::Free::operator()(ZSTD_CDict_s* dictionary) const { ZSTD_freeCDict(dictionary); }
void ValueDecoder::Free::operator()(ZSTD_DCtx_s* context) const { ZSTD_freeDCtx(context); }
void ValueDecoder::Free::operator()(ZSTD_DDict_s* dictionary) const { ZSTD_freeDDict(dictionary); }

EncodedValue ValueEncoder::encode(std::string_view value) {
  EncodedValue plain{.coding = Coding::kPlain, .bytes = value};
  if (value.size() <= kPlainBytesMax) return plain;
  if (!context_) context_.reset(ZSTD_createCCtx());
  if (!dictionary_) dictionary_.reset(ZSTD_createCDict(kValueDictionary1.data(), kValueDictionary1.size(), kLevel));
  if (!context_ || !dictionary_) return plain;
  std::size_t most = value.size() - value.size() / 8;  // more than that is not worth the reading
  if (buffer_.size() < most || buffer_.size() > kBufferBytesKept) {
    buffer_.resize(most);
    buffer_.shrink_to_fit();
  }
  std::size_t size = ZSTD_compress_usingCDict(context_.get(), buffer_.data(), most, value.data(), value.size(), dictionary_.get());
  if (ZSTD_isError(size)) return plain;  // does not fit: does not save enough
  return {.coding = Coding::kZstdDictionary1, .bytes = std::string_view(buffer_).substr(0, size)};
}

Result<SharedBytes> ValueDecoder::decode(std::int64_t coding, std::string_view stored) {
  if (coding == static_cast<std::int64_t>(Coding::kPlain)) return share(std::string(stored));
  if (coding != static_cast<std::int64_t>(Coding::kZstdDictionary1)) return fail(Code::kDataLoss, cat("value of unknown coding ", coding));
  unsigned long long size = ZSTD_getFrameContentSize(stored.data(), stored.size());
  if (size == ZSTD_CONTENTSIZE_ERROR || size == ZSTD_CONTENTSIZE_UNKNOWN || size > kValueBytesMax) return fail(Code::kDataLoss, "value is no sound zstd frame");
  if (!context_) context_.reset(ZSTD_createDCtx());
  if (!dictionary_) dictionary_.reset(ZSTD_createDDict(kValueDictionary1.data(), kValueDictionary1.size()));
  if (!context_ || !dictionary_) return fail(Code::kResourceExhausted, "zstd: out of memory");
  std::string value(size, '\0');
  std::size_t got = ZSTD_decompress_usingDDict(context_.get(), value.data(), value.size(), stored.data(), stored.size(), dictionary_.get());
  if (ZSTD_isError(got) || got != value.size()) return fail(Code::kDataLoss, "value is no sound zstd frame");
  return share(std::move(value));
}

}  // namespace monopod::store
