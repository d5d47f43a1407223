#include "http/h1_parser.h"

#include <algorithm>
#include <array>
#include <cstring>

#include "base/strings.h"

namespace monopod::http {
namespace {

constexpr std::string_view kCrlf = "\r\n";
constexpr std::size_t kChunkLineBytesMax = 256;        // size and extensions of one chunk
constexpr std::size_t kExtensionBytesMax = 16U << 10;  // of one body (CVE-2023-39326)
constexpr std::size_t kTrailerBytesMax = 8U << 10;

using HeadError = std::unexpected<H1Error>;
HeadError bad(std::string text, int status = 400) { return HeadError(H1Error{status, std::move(text)}); }

bool is_target(std::string_view target) {
  return std::ranges::all_of(target, [](char c) { return c > 0x20 && c < 0x7f && c != '#'; });
}

bool is_host(std::string_view host) {
  return std::ranges::all_of(host, [](char c) {
    bool plain = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
    return plain || std::string_view("-._~%!$&'()*+,;=:[]").find(c) != std::string_view::npos;
  });
}

// One field line without its CRLF.
std::expected<void, H1Error> add_field(std::string_view line, Headers& into) {
  if (line.front() == ' ' || line.front() == '\t') return bad("folded header line");
  std::size_t colon = line.find(':');
  if (colon == std::string_view::npos) return bad("header line without a colon");
  std::string_view name = line.substr(0, colon);
  if (!is_token(name)) return bad("invalid header name");
  std::string_view value = line.substr(colon + 1);
  while (!value.empty() && (value.front() == ' ' || value.front() == '\t')) value.remove_prefix(1);
  while (!value.empty() && (value.back() == ' ' || value.back() == '\t')) value.remove_suffix(1);
  if (!is_field_value(value)) return bad("invalid header value");
  into.add(name, value);
  return {};
}

std::expected<void, H1Error> parse_fields(std::string_view block, Headers& into, const Limits& limits) {
  while (!block.empty()) {
    std::size_t end = block.find(kCrlf);
    std::string_view line = block.substr(0, end);
    block.remove_prefix(end == std::string_view::npos ? block.size() : end + 2);
    if (line.empty()) break;
    if (into.size() == limits.header_fields_max) return bad("too many header fields", 431);
    if (auto added = add_field(line, into); !added) return added;
  }
  return {};
}

struct Framed {
  Framing framing = Framing::kNone;
  std::uint64_t length = 0;
};

std::expected<Framed, H1Error> find_framing(const Headers& headers, int minor_version) {
  std::vector<std::string_view> codings = headers.find_all("transfer-encoding");
  std::vector<std::string_view> lengths = headers.find_all("content-length");
  if (!codings.empty()) {
    if (!lengths.empty()) return bad("both Transfer-Encoding and Content-Length");
    if (minor_version == 0) return bad("Transfer-Encoding in HTTP/1.0");
    if (codings.size() != 1 || !iequals(codings.front(), "chunked")) return bad("unsupported Transfer-Encoding");
    return Framed{Framing::kChunked, 0};
  }
  if (lengths.empty()) return Framed{};
  if (lengths.size() > 1) return bad("more than one Content-Length");
  std::string_view text = lengths.front();
  bool digits = !text.empty() && text.size() <= 18 && std::ranges::all_of(text, [](char c) { return c >= '0' && c <= '9'; });
  if (!digits) return bad("invalid Content-Length");
  return Framed{Framing::kLength, *parse_int<std::uint64_t>(text)};
}

bool keeps_alive(const Headers& headers, int minor_version) {
  if (headers.has_token("connection", "close")) return false;
  return minor_version >= 1 || headers.has_token("connection", "keep-alive");
}

// "http://host/path" becomes "/path", and its host stands over the Host field (RFC 9112 section 3.2.2).
std::expected<void, H1Error> normalise_target(H1RequestHead& head) {
  if (head.target.front() == '/') return {};
  if (head.target == "*" && head.method == "OPTIONS") return {};
  for (std::string_view scheme : {std::string_view("http://"), std::string_view("https://")}) {
    if (!head.target.starts_with(scheme)) continue;
    std::string_view rest = std::string_view(head.target).substr(scheme.size());
    std::size_t slash = rest.find_first_of("/?");
    std::string host(rest.substr(0, slash));
    if (host.empty() || !is_host(host)) return bad("invalid request target");
    std::string path(slash == std::string_view::npos ? "/" : rest.substr(slash));
    if (path.front() == '?') path.insert(0, "/");
    head.headers.set("Host", host);
    head.target = std::move(path);
    return {};
  }
  return bad("invalid request target");
}

}  // namespace

std::expected<std::optional<std::size_t>, H1Error> find_head_end(std::string_view bytes, std::size_t searched, const Limits& limits) {
  std::size_t from = searched > 3 ? searched - 3 : 0;
  std::size_t end = bytes.find("\r\n\r\n", from);
  std::size_t line_end = bytes.substr(0, limits.target_bytes_max + 64).find('\n');
  if (line_end == std::string_view::npos && bytes.size() > limits.target_bytes_max + 64) return bad("request line too long", 414);
  std::size_t bytes_max = limits.header_bytes_max + limits.target_bytes_max;
  if (end == std::string_view::npos) {
    if (bytes.size() > bytes_max) return bad("request head too large", 431);
    // A bare LF never completes a head; say so now instead of waiting for a CRLF that will not come.
    for (std::size_t at = bytes.find('\n', from); at != std::string_view::npos; at = bytes.find('\n', at + 1))
      if (at == 0 || bytes[at - 1] != '\r') return bad("bare line feed");
    return std::nullopt;
  }
  if (end + 4 > bytes_max) return bad("request head too large", 431);
  return end + 4;
}

std::expected<H1RequestHead, H1Error> parse_request_head(std::string_view head, const Limits& limits) {
  H1RequestHead out;
  std::size_t end = head.find(kCrlf);
  std::string_view line = head.substr(0, end);
  std::vector<std::string_view> words = split(line, ' ');
  if (words.size() != 3) return bad("malformed request line");
  if (!is_token(words[0]) || words[0].size() > 32) return bad("invalid method");
  if (words[1].empty() || !is_target(words[1])) return bad("invalid request target");
  if (words[1].size() > limits.target_bytes_max) return bad("request target too long", 414);
  if (words[2] != "HTTP/1.1" && words[2] != "HTTP/1.0") {
    if (words[2].starts_with("HTTP/")) return bad("unsupported HTTP version", 505);
    return bad("malformed request line");
  }
  out.method = std::string(words[0]);
  out.target = std::string(words[1]);
  out.minor_version = words[2] == "HTTP/1.1" ? 1 : 0;
  if (auto fields = parse_fields(head.substr(end + 2), out.headers, limits); !fields) return HeadError(std::move(fields).error());
  if (out.headers.bytes() > limits.header_bytes_max) return bad("request head too large", 431);
  std::vector<std::string_view> hosts = out.headers.find_all("host");
  if (hosts.size() > 1 || (hosts.empty() && out.minor_version == 1)) return bad("needs exactly one Host");
  if (!hosts.empty() && !is_host(hosts.front())) return bad("invalid Host");
  if (auto normal = normalise_target(out); !normal) return HeadError(std::move(normal).error());
  auto framed = find_framing(out.headers, out.minor_version);
  if (!framed) return HeadError(std::move(framed).error());
  out.framing = framed->framing;
  out.content_length = framed->length;
  if (out.framing == Framing::kLength && out.content_length == 0) out.framing = Framing::kNone;
  out.keep_alive = keeps_alive(out.headers, out.minor_version);
  return out;
}

Result<H1ResponseHead> parse_response_head(std::string_view head, std::string_view request_method, const Limits& limits) {
  auto refuse = [](std::string_view why) { return fail(Code::kUnavailable, cat("malformed answer: ", why)); };
  H1ResponseHead out;
  std::size_t end = head.find(kCrlf);
  std::string_view line = head.substr(0, end);
  if (line.size() < 12 || !line.starts_with("HTTP/1.") || (line[7] != '0' && line[7] != '1') || line[8] != ' ') return refuse("status line");
  out.minor_version = line[7] - '0';
  std::optional<int> status = parse_int<int>(line.substr(9, 3));
  if (!status || *status < 100 || *status > 599 || (line.size() > 12 && line[12] != ' ')) return refuse("status line");
  out.status = *status;
  if (auto fields = parse_fields(head.substr(end + 2), out.headers, limits); !fields) return refuse(fields.error().text);
  out.keep_alive = keeps_alive(out.headers, out.minor_version);
  if (request_method == "HEAD" || out.status / 100 == 1 || out.status == 204 || out.status == 304) return out;
  auto framed = find_framing(out.headers, out.minor_version);
  if (!framed) return refuse(framed.error().text);
  bool has_length = out.headers.find("content-length").has_value();
  out.framing = framed->framing == Framing::kNone && !has_length ? Framing::kUntilClose : framed->framing;
  out.content_length = framed->length;
  if (out.framing == Framing::kLength && out.content_length == 0) out.framing = Framing::kNone;
  if (out.framing == Framing::kUntilClose) out.keep_alive = false;
  return out;
}

std::string format_response_head(int status, const Headers& headers) {
  std::string out = cat("HTTP/1.1 ", status, " ", reason_phrase(status), "\r\n");
  for (const Headers::Field& field : headers) out += cat(field.name, ": ", field.value, "\r\n");
  out += kCrlf;
  return out;
}

std::string format_request_head(std::string_view method, std::string_view target, const Headers& headers) {
  std::string out = cat(method, " ", target, " HTTP/1.1\r\n");
  for (const Headers::Field& field : headers) out += cat(field.name, ": ", field.value, "\r\n");
  out += kCrlf;
  return out;
}

std::string_view reason_phrase(int status) {
  struct Row {
    int status;
    std::string_view text;
  };
  // RFC 9110 section 15; 429, 431 RFC 6585; 499 is nginx's.
  static constexpr std::array<Row, 34> kRows = {{
      {100, "Continue"}, {101, "Switching Protocols"}, {200, "OK"}, {201, "Created"}, {202, "Accepted"}, {204, "No Content"},
      {206, "Partial Content"}, {301, "Moved Permanently"}, {302, "Found"}, {303, "See Other"}, {304, "Not Modified"},
      {307, "Temporary Redirect"}, {308, "Permanent Redirect"}, {400, "Bad Request"}, {401, "Unauthorized"}, {403, "Forbidden"},
      {404, "Not Found"}, {405, "Method Not Allowed"}, {406, "Not Acceptable"}, {409, "Conflict"}, {410, "Gone"},
      {413, "Request Entity Too Large"}, {414, "Request URI Too Long"}, {415, "Unsupported Media Type"},
      {416, "Requested Range Not Satisfiable"}, {422, "Unprocessable Entity"}, {429, "Too Many Requests"},
      {431, "Request Header Fields Too Large"}, {500, "Internal Server Error"}, {501, "Not Implemented"}, {502, "Bad Gateway"},
      {503, "Service Unavailable"}, {504, "Gateway Timeout"}, {505, "HTTP Version Not Supported"},
  }};
  for (const Row& row : kRows)
    if (row.status == status) return row.text;
  return "Status";
}

BodyDecoder::BodyDecoder(Framing framing, std::uint64_t content_length) : framing_(framing), left_(content_length) {
  switch (framing) {
    case Framing::kNone: state_ = State::kDone; break;
    case Framing::kLength: state_ = content_length == 0 ? State::kDone : State::kData; break;
    case Framing::kChunked: state_ = State::kChunkLine; break;
    case Framing::kUntilClose: state_ = State::kData; break;
  }
}

Result<BodyDecoder::Progress> BodyDecoder::decode(std::string_view in, std::span<std::byte> out) {
  Progress progress;
  while (state_ != State::kDone) {
    std::string_view rest = in.substr(progress.consumed);
    switch (state_) {
      case State::kData:
      case State::kChunkData: {
        std::size_t n = std::min(rest.size(), out.size() - progress.produced);
        if (framing_ != Framing::kUntilClose) n = static_cast<std::size_t>(std::min<std::uint64_t>(n, left_));
        if (n == 0) return progress;
        std::memcpy(out.data() + progress.produced, rest.data(), n);
        progress.produced += n;
        progress.consumed += n;
        if (framing_ == Framing::kUntilClose) break;
        left_ -= n;
        if (left_ == 0) state_ = state_ == State::kData ? State::kDone : State::kChunkEnd;
        break;
      }
      case State::kChunkLine: {
        TRY_ASSIGN(std::size_t n, read_chunk_line(rest));
        if (n == 0) return progress;
        progress.consumed += n;
        break;
      }
      case State::kChunkEnd: {
        if (!rest.empty() && rest[0] != '\r') return fail(Code::kInvalidArgument, "chunk longer than its size");
        if (rest.size() < 2) return progress;
        if (rest[1] != '\n') return fail(Code::kInvalidArgument, "chunk longer than its size");
        progress.consumed += 2;
        state_ = State::kChunkLine;
        break;
      }
      case State::kTrailers: {
        TRY_ASSIGN(std::size_t n, read_trailers(rest));
        if (n == 0) return progress;
        progress.consumed += n;
        break;
      }
      case State::kDone: break;
    }
  }
  return progress;
}

// "1a;ext=x\r\n": the bytes taken, 0 while incomplete.
Result<std::size_t> BodyDecoder::read_chunk_line(std::string_view in) {
  std::size_t end = in.substr(0, kChunkLineBytesMax).find('\n');
  if (end == std::string_view::npos) {
    if (in.size() >= kChunkLineBytesMax) return fail(Code::kInvalidArgument, "chunk line too long");
    return 0U;
  }
  if (end == 0 || in[end - 1] != '\r') return fail(Code::kInvalidArgument, "bare line feed in chunk line");
  std::string_view line = in.substr(0, end - 1);
  std::string_view size = line.substr(0, line.find(';'));
  std::string_view extension = line.substr(size.size());
  if (!is_field_value(extension)) return fail(Code::kInvalidArgument, "invalid chunk extension");
  extension_bytes_ += extension.size();
  if (extension_bytes_ > kExtensionBytesMax) return fail(Code::kInvalidArgument, "chunk extensions too large");
  if (size.empty() || size.size() > 15) return fail(Code::kInvalidArgument, "invalid chunk size");
  std::uint64_t value = 0;
  auto [stop, ec] = std::from_chars(size.data(), size.data() + size.size(), value, 16);
  bool hex = std::ranges::all_of(size, [](char c) { return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F'); });
  if (!hex || ec != std::errc() || stop != size.data() + size.size()) return fail(Code::kInvalidArgument, "invalid chunk size");
  left_ = value;
  state_ = value == 0 ? State::kTrailers : State::kChunkData;
  return end + 1;
}

// Field lines up to the empty one.
Result<std::size_t> BodyDecoder::read_trailers(std::string_view in) {
  std::size_t size = 0;
  if (in.starts_with(kCrlf)) {
    size = 2;
  } else {
    std::size_t end = in.find("\r\n\r\n");
    if (end == std::string_view::npos) {
      if (in.size() > kTrailerBytesMax) return fail(Code::kInvalidArgument, "trailers too large");
      if (in.size() > 1 && in.find('\n') != std::string_view::npos && in[in.find('\n') == 0 ? 0 : in.find('\n') - 1] != '\r')
        return fail(Code::kInvalidArgument, "bare line feed in trailers");
      return 0U;
    }
    size = end + 4;
    if (size > kTrailerBytesMax) return fail(Code::kInvalidArgument, "trailers too large");
    if (auto fields = parse_fields(in.substr(0, end + 2), trailers_, Limits{}); !fields) return fail(Code::kInvalidArgument, fields.error().text);
    for (std::string_view framing : {"content-length", "transfer-encoding", "host"}) trailers_.remove(framing);
  }
  state_ = State::kDone;
  return size;
}

}  // namespace monopod::http
