#include "codec/compress.h"

#include <zlib.h>
#include <zstd.h>

#include <algorithm>
#include <array>
#include <vector>

#include "base/strings.h"

namespace monopod::codec {
namespace {

constexpr std::size_t kBufferBytes = 128U << 10;

// Counts output against the caps, whatever the format.
class Cap {
 public:
  Cap(std::string_view name, const DecompressLimits& limits) : name_(name), limits_(limits) {}
  void consumed(std::size_t n) { in_ += n; }
  Result<> produced(std::size_t n) {
    out_ += n;
    if (out_ > limits_.bytes_max)
      return fail(Code::kResourceExhausted, cat(name_, ": more than ", limits_.bytes_max, " bytes of output"));
    if (out_ > limits_.ratio_floor_bytes && out_ / limits_.ratio_max > in_)
      return fail(Code::kResourceExhausted, cat(name_, ": output exceeds ", limits_.ratio_max, " times the input after ", out_, " bytes"));
    return {};
  }

 private:
  std::string_view name_;
  DecompressLimits limits_;
  std::uint64_t in_ = 0, out_ = 0;
};

class Plain final : public ByteSource {
 public:
  Plain(ByteSource& input, std::uint64_t bytes_max) : input_(input), rest_(bytes_max) {}
  Result<std::size_t> read(std::span<std::byte> into) override {
    TRY_ASSIGN(std::size_t n, input_.read(into));
    if (n > rest_) return fail(Code::kResourceExhausted, "more bytes than the limit");
    rest_ -= n;
    return n;
  }

 private:
  ByteSource& input_;
  std::uint64_t rest_;
};

class Gunzip final : public ByteSource {
 public:
  Gunzip(ByteSource& input, const DecompressLimits& limits) : input_(input), cap_("gzip", limits), buffer_(kBufferBytes) {
    ok_ = inflateInit2(&z_, 15 + 16) == Z_OK;
  }
  ~Gunzip() override {
    if (ok_) inflateEnd(&z_);
  }

  Result<std::size_t> read(std::span<std::byte> into) override {
    if (!ok_) return fail(Code::kInternal, "gzip: out of memory");
    if (into.empty()) return 0;
    z_.next_out = reinterpret_cast<Bytef*>(into.data());
    z_.avail_out = static_cast<uInt>(std::min<std::size_t>(into.size(), 1U << 30));
    const uInt room = z_.avail_out;
    while (z_.avail_out == room) {
      if (z_.avail_in == 0) TRY(refill());
      if (between_members_) {
        TRY_ASSIGN(bool more, next_member());
        if (!more) return 0;
        continue;
      }
      if (z_.avail_in == 0) return fail(Code::kInvalidArgument, "gzip: truncated");
      const uInt before = z_.avail_in;
      int rc = inflate(&z_, Z_NO_FLUSH);
      cap_.consumed(before - z_.avail_in);
      if (rc == Z_STREAM_END) between_members_ = true;
      else if (rc != Z_OK && rc != Z_BUF_ERROR)
        return fail(Code::kInvalidArgument, cat("gzip: ", z_.msg != nullptr ? z_.msg : "corrupt stream"));
    }
    std::size_t n = room - z_.avail_out;
    TRY(cap_.produced(n));
    return n;
  }

 private:
  Result<> refill() {
    if (input_ended_) return {};
    TRY_ASSIGN(std::size_t n, input_.read(buffer_));
    if (n == 0) input_ended_ = true;
    z_.next_in = reinterpret_cast<Bytef*>(buffer_.data());
    z_.avail_in = static_cast<uInt>(n);
    return {};
  }
  // After a member: another one, zero padding, or the end. False at the end.
  Result<bool> next_member() {
    while (z_.avail_in > 0 && *z_.next_in == 0) {
      padding_ = true;
      ++z_.next_in;
      --z_.avail_in;
    }
    if (z_.avail_in == 0) {
      if (input_ended_) return false;
      TRY(refill());
      return z_.avail_in == 0 && input_ended_ ? false : true;
    }
    if (padding_ || *z_.next_in != 0x1f) return fail(Code::kInvalidArgument, "gzip: trailing bytes");
    if (inflateReset(&z_) != Z_OK) return fail(Code::kInternal, "gzip: reset");
    between_members_ = false;
    return true;
  }

  ByteSource& input_;
  Cap cap_;
  std::vector<std::byte> buffer_;
  z_stream z_{};
  bool ok_ = false;
  bool input_ended_ = false;
  bool between_members_ = false;
  bool padding_ = false;
};

class Unzstd final : public ByteSource {
 public:
  Unzstd(ByteSource& input, const DecompressLimits& limits)
      : input_(input), cap_("zstd", limits), buffer_(ZSTD_DStreamInSize()), context_(ZSTD_createDCtx()) {
    int log = 10;
    while (log < 31 && (std::size_t{1} << log) < limits.window_bytes_max) ++log;
    if (context_ != nullptr) ZSTD_DCtx_setParameter(context_, ZSTD_d_windowLogMax, log);
  }
  ~Unzstd() override { ZSTD_freeDCtx(context_); }

  Result<std::size_t> read(std::span<std::byte> into) override {
    if (context_ == nullptr) return fail(Code::kInternal, "zstd: out of memory");
    if (into.empty()) return 0;
    ZSTD_outBuffer out{into.data(), into.size(), 0};
    while (out.pos == 0) {
      if (in_.pos == in_.size && !flushing_) {
        TRY_ASSIGN(std::size_t n, input_.read(buffer_));
        if (n == 0) {
          if (frame_open_) return fail(Code::kInvalidArgument, "zstd: truncated");
          return 0;
        }
        in_ = {buffer_.data(), n, 0};
      }
      const std::size_t before = in_.pos;
      std::size_t rc = ZSTD_decompressStream(context_, &out, &in_);
      if (ZSTD_isError(rc) != 0) return fail(Code::kInvalidArgument, cat("zstd: ", ZSTD_getErrorName(rc)));
      cap_.consumed(in_.pos - before);
      frame_open_ = rc != 0;
      flushing_ = out.pos == out.size && frame_open_;  // more may wait inside with no new input
    }
    TRY(cap_.produced(out.pos));
    return out.pos;
  }

 private:
  ByteSource& input_;
  Cap cap_;
  std::vector<std::byte> buffer_;
  ZSTD_DCtx* context_;
  ZSTD_inBuffer in_{nullptr, 0, 0};
  bool frame_open_ = false;
  bool flushing_ = false;
};

class PlainWriter final : public Compressor {
 public:
  explicit PlainWriter(ByteSink& output) : output_(output) {}
  Result<> write(std::span<const std::byte> bytes) override { return output_.write(bytes); }
  Result<> finish() override { return {}; }

 private:
  ByteSink& output_;
};

class Gzip final : public Compressor {
 public:
  Gzip(ByteSink& output, int level) : output_(output), buffer_(kBufferBytes) {
    ok_ = deflateInit2(&z_, level == 0 ? Z_DEFAULT_COMPRESSION : level, Z_DEFLATED, 15 + 16, 8, Z_DEFAULT_STRATEGY) == Z_OK;
  }
  ~Gzip() override {
    if (ok_) deflateEnd(&z_);
  }
  Result<> write(std::span<const std::byte> bytes) override { return run(bytes, Z_NO_FLUSH); }
  Result<> finish() override { return run({}, Z_FINISH); }

 private:
  Result<> run(std::span<const std::byte> bytes, int flush) {
    if (!ok_) return fail(Code::kInternal, "gzip: out of memory");
    do {
      std::size_t take = std::min<std::size_t>(bytes.size(), 1U << 30);
      z_.next_in = reinterpret_cast<Bytef*>(const_cast<std::byte*>(bytes.data()));
      z_.avail_in = static_cast<uInt>(take);
      do {
        z_.next_out = reinterpret_cast<Bytef*>(buffer_.data());
        z_.avail_out = static_cast<uInt>(buffer_.size());
        if (deflate(&z_, flush) == Z_STREAM_ERROR) return fail(Code::kInternal, "gzip: deflate");
        TRY(output_.write(std::span(buffer_).first(buffer_.size() - z_.avail_out)));
      } while (z_.avail_out == 0);
      bytes = bytes.subspan(take);
    } while (!bytes.empty());
    return {};
  }

  ByteSink& output_;
  std::vector<std::byte> buffer_;
  z_stream z_{};
  bool ok_ = false;
};

class Zstd final : public Compressor {
 public:
  Zstd(ByteSink& output, int level, int window_log) : output_(output), buffer_(ZSTD_CStreamOutSize()), context_(ZSTD_createCCtx()) {
    if (context_ != nullptr) {
      ZSTD_CCtx_setParameter(context_, ZSTD_c_compressionLevel, level == 0 ? 3 : level);
      ZSTD_CCtx_setParameter(context_, ZSTD_c_checksumFlag, 1);
      if (window_log > 0) {
        ZSTD_CCtx_setParameter(context_, ZSTD_c_windowLog, window_log);
        ZSTD_CCtx_setParameter(context_, ZSTD_c_enableLongDistanceMatching, 1);
      }
    }
  }
  ~Zstd() override { ZSTD_freeCCtx(context_); }
  Result<> write(std::span<const std::byte> bytes) override { return run(bytes, ZSTD_e_continue); }
  Result<> finish() override { return run({}, ZSTD_e_end); }

 private:
  Result<> run(std::span<const std::byte> bytes, ZSTD_EndDirective mode) {
    if (context_ == nullptr) return fail(Code::kInternal, "zstd: out of memory");
    ZSTD_inBuffer in{bytes.data(), bytes.size(), 0};
    for (;;) {
      ZSTD_outBuffer out{buffer_.data(), buffer_.size(), 0};
      std::size_t rest = ZSTD_compressStream2(context_, &out, &in, mode);
      if (ZSTD_isError(rest) != 0) return fail(Code::kInternal, cat("zstd: ", ZSTD_getErrorName(rest)));
      if (out.pos > 0) TRY(output_.write(std::span(buffer_).first(out.pos)));
      if (mode == ZSTD_e_end ? rest == 0 : in.pos == in.size) return {};
    }
  }

  ByteSink& output_;
  std::vector<std::byte> buffer_;
  ZSTD_CCtx* context_;
};

}  // namespace

Compression detect_compression(std::span<const std::byte> head) {
  auto starts_with = [&](std::initializer_list<unsigned> magic) {
    return head.size() >= magic.size() &&
           std::equal(magic.begin(), magic.end(), head.begin(), [](unsigned a, std::byte b) { return std::byte(a) == b; });
  };
  if (starts_with({0x1f, 0x8b})) return Compression::kGzip;
  if (starts_with({0x28, 0xb5, 0x2f, 0xfd})) return Compression::kZstd;
  // Skippable frames, with which seekable zstd files may start: 0x184D2A5? little-endian.
  if (head.size() >= 4 && (head[0] & std::byte{0xf0}) == std::byte{0x50} && head[1] == std::byte{0x2a} &&
      head[2] == std::byte{0x4d} && head[3] == std::byte{0x18})
    return Compression::kZstd;
  return Compression::kNone;
}

std::string_view compression_name(Compression c) {
  switch (c) {
    case Compression::kGzip: return "gzip";
    case Compression::kZstd: return "zstd";
    case Compression::kNone: break;
  }
  return "none";
}

std::unique_ptr<ByteSource> make_decompressor(Compression c, ByteSource& input, const DecompressLimits& limits) {
  switch (c) {
    case Compression::kGzip: return std::make_unique<Gunzip>(input, limits);
    case Compression::kZstd: return std::make_unique<Unzstd>(input, limits);
    case Compression::kNone: break;
  }
  return std::make_unique<Plain>(input, limits.bytes_max);
}

std::unique_ptr<Compressor> make_compressor(Compression c, ByteSink& output, const CompressOptions& options) {
  switch (c) {
    case Compression::kGzip: return std::make_unique<Gzip>(output, options.level);
    case Compression::kZstd: return std::make_unique<Zstd>(output, options.level, options.window_log);
    case Compression::kNone: break;
  }
  return std::make_unique<PlainWriter>(output);
}

Result<std::string> compress(Compression c, std::string_view bytes, const CompressOptions& options) {
  StringSink sink;
  auto compressor = make_compressor(c, sink, options);
  TRY(compressor->write(as_bytes(bytes)));
  TRY(compressor->finish());
  return std::move(sink.text());
}

Result<std::string> decompress(Compression c, std::string_view bytes, const DecompressLimits& limits) {
  MemorySource input(bytes);
  auto source = make_decompressor(c, input, limits);
  return read_all(*source, static_cast<std::size_t>(limits.bytes_max));
}

}  // namespace monopod::codec
