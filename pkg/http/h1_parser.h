// Private: HTTP/1.x heads and bodies as functions of bytes, without I/O. Boost.Beast parses; in front of it and behind it stands
// what is strict where leniency smuggles requests: CRLF only, no folding, no space before the colon, one Content-Length,
// Transfer-Encoding is "chunked" alone or an error (RFC 9112).
#pragma once

#include <cstdint>
#include <expected>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "base/error.h"
#include "http/headers.h"
#include "http/limits.h"

namespace monopod::http {

// What to answer before closing.
struct H1Error {
  int status = 400;
  std::string text{};
};

enum class Framing { kNone, kLength, kChunked, kUntilClose };

struct H1RequestHead {
  std::string method{};
  std::string target{};
  Headers headers{};
  int minor_version = 1;
  Framing framing = Framing::kNone;
  std::uint64_t content_length = 0;
  bool keep_alive = true;
};

struct H1ResponseHead {
  int status = 0;
  Headers headers{};
  int minor_version = 1;
  Framing framing = Framing::kNone;
  std::uint64_t content_length = 0;
  bool keep_alive = true;
};

// The size of the head with its empty line; nullopt while it is not complete. An error once it cannot become one within the limits.
std::expected<std::optional<std::size_t>, H1Error> find_head_end(std::string_view bytes, std::size_t searched, const Limits& limits);
std::expected<H1RequestHead, H1Error> parse_request_head(std::string_view head, const Limits& limits);
// request_method decides about the body: none after HEAD.
Result<H1ResponseHead> parse_response_head(std::string_view head, std::string_view request_method, const Limits& limits);

std::string format_response_head(int status, const Headers& headers);
std::string format_request_head(std::string_view method, std::string_view target, const Headers& headers);

// Takes the body out of the byte stream.
class BodyDecoder {
 public:
  BodyDecoder();
  BodyDecoder(Framing framing, std::uint64_t content_length);
  ~BodyDecoder();

  struct Progress {
    std::size_t consumed = 0;
    std::size_t produced = 0;
  };
  // Moves body bytes from in to out. Nothing consumed and not done: it needs more input. kInvalidArgument for broken framing.
  Result<Progress> decode(std::string_view in, std::span<std::byte> out);
  bool done() const;
  bool until_close() const { return framing_ == Framing::kUntilClose; }
  std::uint64_t left() const;  // of kLength
  const Headers& trailers() const;

 private:
  class Parser;
  Result<std::size_t> read_chunk_line(std::string_view in);

  Framing framing_ = Framing::kNone;
  std::unique_ptr<Parser> parser_;  // none without a body
  bool first_chunk_ = true;
  bool chunk_ended_ = true;
  std::size_t extension_bytes_ = 0;
};

}  // namespace monopod::http
