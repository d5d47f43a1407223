#include "http/spdy_headers.h"

#include <array>

#include "base/strings.h"

namespace monopod::http {
namespace {

// A small state for the few and short blocks that we send: 2 KiB of window hold the dictionary.
constexpr int kDeflateWindowBits = 11;
constexpr int kDeflateMemory = 1;

constexpr std::string_view kWords =
    "options head post put delete trace accept accept-charset accept-encoding accept-language accept-ranges age allow authorization cache-control connection "
    "content-base content-encoding content-language content-length content-location content-md5 content-range content-type date etag expect expires from host "
    "if-match if-modified-since if-none-match if-range if-unmodified-since last-modified location max-forwards pragma proxy-authenticate proxy-authorization "
    "range referer retry-after server te trailer transfer-encoding upgrade user-agent vary via warning www-authenticate method get status 200_OK version "
    "HTTP/1.1 url public set-cookie keep-alive origin";
constexpr std::string_view kTail =
    "100101201202205206300302303304305306307402405406407408409410411412413414415416417502504505203 Non-Authoritative Information204 No Content"
    "301 Moved Permanently400 Bad Request401 Unauthorized403 Forbidden404 Not Found500 Internal Server Error501 Not Implemented503 Service Unavailable"
    "Jan Feb Mar Apr May Jun Jul Aug Sept Oct Nov Dec 00:00:00 Mon, Tue, Wed, Thu, Fri, Sat, Sun, GMT"
    "chunked,text/html,image/png,image/jpg,image/gif,application/xml,application/xhtml+xml,text/plain,text/javascript,publicprivatemax-age=gzip,deflate,sdch"
    "charset=utf-8charset=iso-8859-1,utf-,*,enq=0.";

Bytef* zlib_bytes(const char* text) { return reinterpret_cast<Bytef*>(const_cast<char*>(text)); }

void append_u32(std::string& out, std::size_t n) {
  for (unsigned shift : {24U, 16U, 8U, 0U}) out += static_cast<char>(n >> shift & 0xffU);
}

Error malformed() { return {Code::kInvalidArgument, "spdy: malformed header block"}; }

// A counted string off the front.
Result<std::string_view> take_counted(std::string_view& block) {
  if (block.size() < 4) return fail(malformed());
  std::size_t n = 0;
  for (std::size_t i = 0; i < 4; ++i) n = n << 8U | static_cast<std::uint8_t>(block[i]);
  if (block.size() - 4 < n) return fail(malformed());
  std::string_view out = block.substr(4, n);
  block.remove_prefix(4 + n);
  return out;
}

Result<Headers> parse_block(std::string_view block, std::size_t fields_max) {
  if (block.size() < 4) return fail(malformed());
  std::size_t count = 0;
  for (std::size_t i = 0; i < 4; ++i) count = count << 8U | static_cast<std::uint8_t>(block[i]);
  block.remove_prefix(4);
  Headers out;
  while (count-- > 0) {
    TRY_ASSIGN(std::string_view name, take_counted(block));
    TRY_ASSIGN(std::string_view values, take_counted(block));
    if (name.empty() || to_lower(name) != name || out.find(name)) return fail(malformed());
    std::size_t start = name.front() == ':' ? 1 : 0;
    if (!is_token(name.substr(start))) return fail(malformed());
    for (std::string_view value : split(values, '\0')) {
      if (!is_field_value(value)) return fail(malformed());
      if (out.size() >= fields_max) return fail(Code::kResourceExhausted, "spdy: too many header fields");
      out.add(name, value);
    }
  }
  if (!block.empty()) return fail(malformed());
  return out;
}

}  // namespace

const std::string& spdy_dictionary() {
  static const std::string dictionary = [] {
    std::string out;
    for (std::string_view word : split(kWords, ' ')) {
      append_u32(out, word.size());
      out += word == "200_OK" ? "200 OK" : word;
    }
    out += kTail;
    return out;
  }();
  return dictionary;
}

SpdyFramer::HeaderBlocks::~HeaderBlocks() {
  if (in_ready_) inflateEnd(&in_);
  if (out_ready_) deflateEnd(&out_);
}

Result<std::string> SpdyFramer::HeaderBlocks::inflate_block(std::string_view compressed, std::size_t bytes_max) {
  if (!in_ready_) {
    if (inflateInit(&in_) != Z_OK) return fail(Code::kResourceExhausted, "spdy: no memory for header blocks");
    in_ready_ = true;
  }
  in_.next_in = zlib_bytes(compressed.data());
  in_.avail_in = static_cast<uInt>(compressed.size());
  std::string out;
  std::array<char, 4096> buffer;
  for (;;) {
    in_.next_out = zlib_bytes(buffer.data());
    in_.avail_out = buffer.size();
    int code = ::inflate(&in_, Z_SYNC_FLUSH);
    if (code == Z_NEED_DICT) {
      const std::string& dictionary = spdy_dictionary();
      if (inflateSetDictionary(&in_, zlib_bytes(dictionary.data()), static_cast<uInt>(dictionary.size())) != Z_OK) return fail(malformed());
      continue;
    }
    if (code != Z_OK && code != Z_BUF_ERROR) return fail(malformed());  // the end of the stream is one too: more blocks are to come
    std::size_t n = buffer.size() - in_.avail_out;
    if (out.size() + n > bytes_max) return fail(Code::kResourceExhausted, "spdy: header block too large");
    out.append(buffer.data(), n);
    if (in_.avail_in == 0 && in_.avail_out > 0) return out;
    if (n == 0 && code == Z_BUF_ERROR) return fail(malformed());
  }
}

Result<Headers> SpdyFramer::HeaderBlocks::read(std::string_view compressed, const Limits& limits) {
  TRY_ASSIGN(std::string block, inflate_block(compressed, limits.header_bytes_max));
  return parse_block(block, limits.header_fields_max);
}

Result<std::string> SpdyFramer::HeaderBlocks::write(const Headers& headers) {
  const std::string& dictionary = spdy_dictionary();
  if (!out_ready_) {
    if (deflateInit2(&out_, Z_DEFAULT_COMPRESSION, Z_DEFLATED, kDeflateWindowBits, kDeflateMemory, Z_DEFAULT_STRATEGY) != Z_OK)
      return fail(Code::kResourceExhausted, "spdy: no memory for header blocks");
    out_ready_ = true;
    if (deflateSetDictionary(&out_, zlib_bytes(dictionary.data()), static_cast<uInt>(dictionary.size())) != Z_OK)
      return fail(Code::kInternal, "spdy: dictionary refused");
  }
  std::string block;
  append_u32(block, headers.size());
  for (const Headers::Field& field : headers) {
    append_u32(block, field.name.size());
    block += to_lower(field.name);
    append_u32(block, field.value.size());
    block += field.value;
  }
  std::string out;
  std::array<char, 1024> buffer;
  out_.next_in = zlib_bytes(block.data());
  out_.avail_in = static_cast<uInt>(block.size());
  do {
    out_.next_out = zlib_bytes(buffer.data());
    out_.avail_out = buffer.size();
    if (int code = deflate(&out_, Z_SYNC_FLUSH); code != Z_OK && code != Z_BUF_ERROR) return fail(Code::kInternal, "spdy: header block cannot be deflated");
    out.append(buffer.data(), buffer.size() - out_.avail_out);
  } while (out_.avail_out == 0);
  return out;
}

}  // namespace monopod::http
