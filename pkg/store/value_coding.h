// How the log keeps a value: as it is, or as a zstd frame (RFC 8878) with a built-in dictionary where that saves at least an eighth. API objects are
// text that shrinks to a third, and so do the bytes written to an SD card. Checksums are of the plain value.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "base/bytes.h"
#include "base/error.h"

struct ZSTD_CCtx_s;
struct ZSTD_CDict_s;
struct ZSTD_DCtx_s;
struct ZSTD_DDict_s;

namespace monopod::store {

enum class Coding : std::int64_t { kPlain = 0, kZstdDictionary1 = 1 };  // column log.coding; a further dictionary is a further number

struct EncodedValue {
  Coding coding = Coding::kPlain;
  std::string_view bytes{};  // of the value, or of the encoder until its next call
};

// Keeps its working memory (some 100 KB) from call to call. One thread at a time.
class ValueEncoder {
 public:
  EncodedValue encode(std::string_view value);

 private:
  struct Free {
    void operator()(ZSTD_CCtx_s* context) const;
    void operator()(ZSTD_CDict_s* dictionary) const;
  };
  std::unique_ptr<ZSTD_CCtx_s, Free> context_;
  std::unique_ptr<ZSTD_CDict_s, Free> dictionary_;
  std::string buffer_;
};

class ValueDecoder {
 public:
  // kDataLoss for a broken frame, one that says to be larger than a value may be, or an unknown coding.
  Result<SharedBytes> decode(std::int64_t coding, std::string_view stored);

 private:
  struct Free {
    void operator()(ZSTD_DCtx_s* context) const;
    void operator()(ZSTD_DDict_s* dictionary) const;
  };
  std::unique_ptr<ZSTD_DCtx_s, Free> context_;
  std::unique_ptr<ZSTD_DDict_s, Free> dictionary_;
};

}  // namespace monopod::store
