// Streaming gzip (RFC 1952) and zstd (RFC 8878), both ways, with caps against decompression bombs.
#pragma once

#include <memory>
#include <string>

#include "codec/byte_stream.h"

namespace monopod::codec {

enum class Compression { kNone, kGzip, kZstd };

// By magic; kNone for anything else. Four bytes of head are enough.
Compression detect_compression(std::span<const std::byte> head);
std::string_view compression_name(Compression c);  // "none", "gzip", "zstd"

struct DecompressLimits {
  std::uint64_t bytes_max = 64ULL << 30;        // of output
  std::uint64_t ratio_max = 200;                // output : input, once the output is past the floor
  std::uint64_t ratio_floor_bytes = 256U << 20;
  std::size_t window_bytes_max = 128U << 20;    // zstd: memory that a frame may ask for
};

// Reads input to its end. Members (gzip) and frames (zstd) may be concatenated; zeros may pad the end of gzip, anything
// else after the last one is kInvalidArgument, as are truncated and corrupt streams. Past a cap: kResourceExhausted.
// input outlives the result. kNone copies through (bytes_max still holds).
std::unique_ptr<ByteSource> make_decompressor(Compression c, ByteSource& input, const DecompressLimits& limits = {});

// Everything written goes compressed to output, which outlives this. Without finish() the stream is truncated.
class Compressor : public ByteSink {
 public:
  virtual Result<> finish() = 0;
};
struct CompressOptions {
  int level = 0;       // 0: the library's default
  int window_log = 0;  // zstd: repetitions are found so far back (2^27 bytes are what make_decompressor takes); 0: the level's, some MiB
};
std::unique_ptr<Compressor> make_compressor(Compression c, ByteSink& output, const CompressOptions& options = {});

// Whole buffers: for HTTP bodies and other small things.
Result<std::string> compress(Compression c, std::string_view bytes, const CompressOptions& options = {});
Result<std::string> decompress(Compression c, std::string_view bytes, const DecompressLimits& limits = {});

}  // namespace monopod::codec
