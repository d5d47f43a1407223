// The one place where Boost.Beast's HTTP parser is compiled. Beast reads the bytes; what it takes and we do not is refused
// before (h1_strict.h) or in its callbacks and after (here).
#include "http/h1_parser.h"

#include <algorithm>
#include <array>
#include <boost/beast/http/basic_parser.hpp>
#include <cstring>

#include "base/strings.h"
#include "http/h1_strict.h"

namespace monopod::http {
namespace {

namespace beast = boost::beast::http;
using BeastError = boost::beast::error_code;
using BeastView = boost::beast::string_view;

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

// What Beast calls while it reads one message: fields go to where the message keeps them, our own refusals stop it.
template <bool kRequest>
class MessageParser : public beast::basic_parser<kRequest> {
 public:
  MessageParser(Headers& fields, const Limits& limits) : fields_(fields), limits_(limits) {
    this->body_limit(boost::none);                                    // ours is the handler's
    this->header_limit(std::numeric_limits<std::uint32_t>::max());  // ours is find_head_end's
  }
  // The whole of head, or why not.
  std::expected<void, H1Error> parse(std::string_view head) {
    BeastError ec;
    std::size_t taken = this->put(boost::asio::const_buffer(head.data(), head.size()), ec);
    if (refusal_) return HeadError(std::move(*refusal_));
    if (ec == beast::error::bad_version) return bad("bad version", 505);
    if (ec) return bad(ec.message());
    if (taken != head.size()) return bad("malformed head");
    return {};
  }

 protected:
  void refuse(BeastError& ec, std::string text, int status = 400) {
    refusal_ = H1Error{status, std::move(text)};
    ec = beast::error::bad_value;
  }
  void on_request_impl(beast::verb, BeastView, BeastView, int, BeastError&) override {}
  void on_response_impl(int, BeastView, int, BeastError&) override {}
  void on_field_impl(beast::field, BeastView name, BeastView value, BeastError& ec) override {
    if (fields_.size() == limits_.header_fields_max) return refuse(ec, "too many header fields", 431);
    fields_.add(name, value);
  }
  void on_header_impl(BeastError&) override {}
  void on_body_init_impl(const boost::optional<std::uint64_t>&, BeastError&) override {}
  std::size_t on_body_impl(BeastView, BeastError&) override { return 0; }
  void on_chunk_header_impl(std::uint64_t, BeastView, BeastError&) override {}
  std::size_t on_chunk_body_impl(std::uint64_t, BeastView, BeastError&) override { return 0; }
  void on_finish_impl(BeastError&) override {}

  const Limits& limits() const { return limits_; }

 private:
  Headers& fields_;
  const Limits& limits_;
  std::optional<H1Error> refusal_;
};

class RequestParser final : public MessageParser<true> {
 public:
  RequestParser(H1RequestHead& into, const Limits& limits) : MessageParser(into.headers, limits), into_(into) {}

 private:
  void on_request_impl(beast::verb, BeastView method, BeastView target, int version, BeastError& ec) override {
    if (method.size() > 32) return refuse(ec, "invalid method");
    if (!is_target(target)) return refuse(ec, "invalid request target");
    if (target.size() > limits().target_bytes_max) return refuse(ec, "request target too long", 414);
    into_.method = std::string_view(method);
    into_.target = std::string_view(target);
    into_.minor_version = version - 10;
  }
  H1RequestHead& into_;
};

class ResponseParser final : public MessageParser<false> {
 public:
  ResponseParser(H1ResponseHead& into, const Limits& limits) : MessageParser(into.headers, limits), into_(into) {}

 private:
  void on_response_impl(int status, BeastView, int version, BeastError& ec) override {
    if (status < 100 || status > 599) return refuse(ec, "status line");
    into_.status = status;
    into_.minor_version = version - 10;
  }
  H1ResponseHead& into_;
};

struct Framed {
  Framing framing = Framing::kNone;
  std::uint64_t length = 0;
};

// Beast ignores codings it does not know, and takes equal lengths and lists of them; a proxy before us may have read those otherwise.
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

// Not Beast's keep_alive(): that lets "keep-alive" win over "close" in HTTP/1.0 (RFC 9112 section 9.3).
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
  if (std::string_view fault = find_fault(head); !fault.empty()) return bad(std::string(fault));
  H1RequestHead out;
  RequestParser parser(out, limits);
  if (auto parsed = parser.parse(head); !parsed) {
    // 505 is for a request line that is one but for its version.
    std::vector<std::string_view> words = split(head.substr(0, head.find('\r')), ' ');
    if (parsed.error().status == 505 && (words.size() != 3 || !words[2].starts_with("HTTP/"))) return bad("malformed request line");
    return HeadError(std::move(parsed).error());
  }
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
  if (std::string_view fault = find_fault(head); !fault.empty()) return refuse(fault);
  H1ResponseHead out;
  ResponseParser parser(out, limits);
  // Beast wants the space before a reason that is not there ("HTTP/1.1 200 \r\n"); many servers leave it out.
  bool spaceless = head.find('\r') == 12;
  std::string spaced = spaceless ? cat(head.substr(0, 12), ' ', head.substr(12)) : std::string();
  auto parsed = parser.parse(spaceless ? std::string_view(spaced) : head);
  if (!parsed) return refuse(parsed.error().text);
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

// Beast's parser past the head. It is given a head that we wrote, which says nothing but the framing we found: bodies of requests
// and of answers are then one thing, and Beast cannot frame them otherwise than we did.
class BodyDecoder::Parser final : public MessageParser<false> {
 public:
  Parser(Framing framing, std::uint64_t content_length) : MessageParser(trailers_, kLimits) {
    std::string field;
    if (framing == Framing::kChunked) field = "Transfer-Encoding: chunked\r\n";
    if (framing == Framing::kLength) field = cat("Content-Length: ", content_length, "\r\n");
    sound_ = parse(cat("HTTP/1.1 200 \r\n", field, "\r\n")).has_value();
    in_body_ = true;
  }

  // Of in, the bytes that Beast took; body bytes follow those in out.
  Result<std::size_t> feed(std::string_view in, std::span<std::byte> out, std::size_t& produced) {
    if (!sound_) return fail(Code::kInvalidArgument, "malformed body");
    out_ = out;
    produced_ = produced;
    BeastError ec;
    std::size_t taken = put(boost::asio::const_buffer(in.data(), in.size()), ec);
    produced = produced_;
    if (!ec) return taken;
    sound_ = false;
    bool unfinished = ec == beast::error::need_more;  // whole lines come in here: a quoted extension without its end
    return fail(Code::kInvalidArgument, unfinished ? "bad chunk extension" : ec.message());
  }
  std::uint64_t chunk_left() const { return chunk_left_; }
  Headers& trailers() { return trailers_; }

 private:
  static constexpr Limits kLimits{};

  std::size_t take(std::string_view text) {
    std::size_t n = std::min(text.size(), out_.size() - produced_);
    std::memcpy(out_.data() + produced_, text.data(), n);
    produced_ += n;
    return n;
  }
  void on_field_impl(beast::field field, BeastView name, BeastView value, BeastError& ec) override {
    if (in_body_) MessageParser::on_field_impl(field, name, value, ec);
  }
  std::size_t on_body_impl(BeastView text, BeastError&) override { return take(text); }
  void on_chunk_header_impl(std::uint64_t size, BeastView, BeastError&) override { chunk_left_ = size; }
  std::size_t on_chunk_body_impl(std::uint64_t remain, BeastView text, BeastError&) override {
    std::size_t n = take(text);
    chunk_left_ = remain - n;
    return n;
  }

  Headers trailers_;
  bool sound_ = false;
  bool in_body_ = false;
  std::uint64_t chunk_left_ = 0;
  std::span<std::byte> out_;
  std::size_t produced_ = 0;
};

BodyDecoder::BodyDecoder() = default;
BodyDecoder::BodyDecoder(Framing framing, std::uint64_t content_length)
    : framing_(framing), parser_(framing == Framing::kNone ? nullptr : std::make_unique<Parser>(framing, content_length)) {}
BodyDecoder::~BodyDecoder() = default;

bool BodyDecoder::done() const { return !parser_ || parser_->is_done(); }
std::uint64_t BodyDecoder::left() const { return framing_ == Framing::kLength ? parser_->content_length_remaining().value_or(0) : 0; }
const Headers& BodyDecoder::trailers() const {
  static const Headers kNone;
  return parser_ ? parser_->trailers() : kNone;
}

Result<BodyDecoder::Progress> BodyDecoder::decode(std::string_view in, std::span<std::byte> out) {
  Progress progress;
  while (!done()) {
    std::string_view rest = in.substr(progress.consumed);
    std::size_t n = 0;
    if (framing_ == Framing::kChunked && parser_->chunk_left() == 0) {
      TRY_ASSIGN(n, read_chunk_line(rest));
    } else if (!rest.empty() && progress.produced < out.size()) {
      TRY_ASSIGN(n, parser_->feed(rest, out, progress.produced));
    }
    if (n == 0) break;
    progress.consumed += n;
  }
  return progress;
}

// The end of the chunk before, then the next one's line; with the last line all trailers. The bytes taken, 0 while incomplete.
// Beast takes a chunk's end together with the next line, so it is kept from one call to the next.
Result<std::size_t> BodyDecoder::read_chunk_line(std::string_view in) {
  if (!chunk_ended_) {
    if (!in.empty() && !std::string_view("\r\n").starts_with(in.substr(0, 2))) return fail(Code::kInvalidArgument, "chunk longer than its size");
    if (in.size() < 2) return 0U;
    chunk_ended_ = true;
    return 2U;
  }
  TRY_ASSIGN(std::optional<ChunkLine> line, scan_chunk_line(in));
  if (!line) return 0U;
  std::size_t bytes = line->line_bytes;
  if (line->size == 0) {
    TRY_ASSIGN(std::optional<std::size_t> trailers, scan_trailers(in.substr(bytes)));
    if (!trailers) return 0U;
    bytes += *trailers;
  }
  extension_bytes_ += line->extension_bytes;
  if (extension_bytes_ > kExtensionBytesMax) return fail(Code::kInvalidArgument, "chunk extensions too large");
  std::string text = cat(first_chunk_ ? "" : "\r\n", in.substr(0, bytes));
  std::size_t no_body = 0;
  TRY_ASSIGN(std::size_t taken, parser_->feed(text, {}, no_body));
  if (taken != text.size()) return fail(Code::kInvalidArgument, "malformed chunk");
  first_chunk_ = chunk_ended_ = false;
  parser_->trailers().remove("host");  // framing fields there are Beast's to refuse
  return bytes;
}

}  // namespace monopod::http
