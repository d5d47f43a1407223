#include "proxy/observe/log_format.h"

#include <algorithm>
#include <charconv>

#include "base/strings.h"

namespace monopod::proxy {
namespace {

constexpr std::string_view kDefault =
    "[%START_TIME%] \"%METHOD% %PATH% %PROTOCOL%\" %RESPONSE_CODE% %RESPONSE_CODE_DETAILS% %BYTES_RECEIVED% %BYTES_SENT% %DURATION% \"%AUTHORITY%\" \"%UPSTREAM_HOST%\" "
    "%UPSTREAM_CLUSTER% %ROUTE_NAME% %DOWNSTREAM_REMOTE_ADDRESS%";

enum Op : std::uint8_t {
  kText, kStart, kMethod, kPath, kAuthority, kProtocol, kReq, kResp, kCode, kDetails, kReceived, kSent, kDuration, kUpstreamHost, kUpstreamCluster, kRoute, kRemote, kPeerUri, kAttempts, kListener,
};
struct Name {
  std::string_view name;
  Op op;
};
constexpr Name kNames[] = {
    {"START_TIME", kStart}, {"METHOD", kMethod}, {"PATH", kPath}, {"AUTHORITY", kAuthority}, {"PROTOCOL", kProtocol}, {"RESPONSE_CODE", kCode},
    {"RESPONSE_CODE_DETAILS", kDetails}, {"BYTES_RECEIVED", kReceived}, {"BYTES_SENT", kSent}, {"DURATION", kDuration}, {"UPSTREAM_HOST", kUpstreamHost},
    {"UPSTREAM_CLUSTER", kUpstreamCluster}, {"ROUTE_NAME", kRoute}, {"DOWNSTREAM_REMOTE_ADDRESS", kRemote}, {"DOWNSTREAM_PEER_URI_SAN", kPeerUri}, {"ATTEMPTS", kAttempts}, {"LISTENER", kListener},
};

constexpr std::array<bool, 256> kEscaped = [] {
  std::array<bool, 256> out{};
  for (std::size_t c = 0; c < out.size(); ++c) out[c] = c < 0x20 || c >= 0x7f || c == '"' || c == '\\';
  return out;
}();

constexpr std::size_t kEscapeBytesMax = 6;

// Escaped, to room for kEscapeBytesMax for each byte; the end. The same escapes serve text and JSON.
char* write_escaped(std::string_view value, char* to) {
  constexpr std::string_view kDigits = "0123456789abcdef";
  bool any = false;
  for (char c : value) any |= kEscaped[static_cast<unsigned char>(c)];
  if (!any) return std::copy_n(value.data(), value.size(), to);
  for (char byte : value) {
    auto c = static_cast<unsigned char>(byte);
    if (!kEscaped[c]) {
      *to++ = byte;
    } else if (c == '"' || c == '\\') {
      *to++ = '\\';
      *to++ = byte;
    } else {
      to = std::ranges::copy(std::string_view("\\u00"), to).out;
      *to++ = kDigits[c >> 4];
      *to++ = kDigits[c & 15];
    }
  }
  return to;
}

void append_escaped(std::string& out, std::string_view value) {
  std::size_t before = out.size();
  out.resize(before + kEscapeBytesMax * value.size());
  out.resize(static_cast<std::size_t>(write_escaped(value, out.data() + before) - out.data()));
}

}  // namespace

std::string_view StartTime::format(WallTime time) {
  std::int64_t micros = std::chrono::duration_cast<std::chrono::microseconds>(time.time_since_epoch()).count();
  if (micros < 0 || micros / 1'000'000 != second_) {
    second_ = micros < 0 ? -1 : micros / 1'000'000;
    text_ = format_rfc3339_micro(time);
    return text_;
  }
  char* digit = text_.data() + text_.size() - 2;  // before the Z
  for (std::int64_t rest = micros % 1'000'000, i = 0; i < 6; ++i, rest /= 10) *digit-- = static_cast<char>('0' + rest % 10);
  return text_;
}

Result<> LogFormat::parse(std::string_view text, std::vector<Piece>& out) {
  while (!text.empty()) {
    std::size_t begin = std::min(text.find('%'), text.size());
    if (begin > 0) out.push_back({.text = std::string(text.substr(0, begin))});
    text.remove_prefix(begin);
    if (text.empty()) break;
    std::size_t end = text.find('%', 1);
    if (end == std::string_view::npos) return fail(Code::kInvalidArgument, "a % without its second: %% writes one");
    std::string_view name = text.substr(1, end - 1);
    text.remove_prefix(end + 1);
    if (name.empty()) {
      out.push_back({.text = "%"});
      continue;
    }
    if ((name.starts_with("REQ(") || name.starts_with("RESP(")) && name.ends_with(')')) {
      std::size_t open = name.find('(');
      std::string header = to_lower(name.substr(open + 1, name.size() - open - 2));
      bool req = open == 3;
      if (!req) response_headers_.push_back(header);
      out.push_back({.op = req ? kReq : kResp, .text = header, .index = req ? 0 : response_headers_.size() - 1});
      continue;
    }
    Op op = kText;
    for (const Name& known : kNames)
      if (known.name == name) op = known.op;
    if (op == kText) return fail(Code::kInvalidArgument, cat("unknown operator %", name, "%"));
    out.push_back({.op = op});
  }
  return {};
}

Result<LogFormat> LogFormat::compile(const AccessLogSpec& spec) {
  LogFormat out;
  if (spec.path.empty()) return out;
  if (!spec.json.empty() && !spec.format.empty()) return fail(Code::kInvalidArgument, "want one of format and json");
  if (spec.json.empty()) {
    TRY(out.parse(spec.format.empty() ? kDefault : std::string_view(spec.format), out.pieces_));
    return out;
  }
  out.json_ = true;
  char separator = '{';
  for (const HeaderValue& member : spec.json) {
    std::string begin(1, std::exchange(separator, ','));
    begin += '"';
    append_escaped(begin, member.name);
    out.pieces_.push_back({.text = begin + "\":\""});
    TRY(out.parse(member.value, out.pieces_));
    out.pieces_.push_back({.text = "\""});
  }
  out.pieces_.push_back({.text = "}"});
  return out;
}

// At the end of a text, with room ahead: what is added asks once for each piece whether there is enough.
class LogFormat::Line {
 public:
  explicit Line(std::string& out) : out_(out), used_(out.size()) {}
  ~Line() { out_.resize(used_); }
  Line(const Line&) = delete;
  Line& operator=(const Line&) = delete;
  void add(std::string_view text) { used_ = end(std::copy_n(text.data(), text.size(), room(text.size()))); }
  void add(std::uint64_t n) {
    char* at = room(kDigitsMax);
    used_ = end(std::to_chars(at, at + kDigitsMax, n).ptr);
  }
  void add_escaped(std::string_view text) { used_ = end(write_escaped(text, room(kEscapeBytesMax * text.size()))); }

 private:
  static constexpr std::size_t kDigitsMax = 20, kAhead = 512;
  char* room(std::size_t bytes) {
    if (out_.size() - used_ < bytes) out_.resize(used_ + bytes + kAhead);
    return out_.data() + used_;
  }
  std::size_t end(const char* at) const { return static_cast<std::size_t>(at - out_.data()); }
  std::string& out_;
  std::size_t used_;
};

void LogFormat::append_piece(const Piece& piece, const LogRecord& r, StartTime& start, Line& line) const {
  std::string_view value;
  switch (piece.op) {
    case kText: return line.add(piece.text);
    case kStart: return line.add(start.format(r.start));
    case kCode: return line.add(static_cast<std::uint64_t>(r.status));
    case kReceived: return line.add(r.bytes_received);
    case kSent: return line.add(r.bytes_sent);
    case kDuration: return line.add(r.duration_ms);
    case kAttempts: return line.add(std::uint64_t{r.attempts});
    case kMethod: value = r.method; break;
    case kPath: value = r.path; break;
    case kAuthority: value = r.authority; break;
    case kProtocol: value = r.protocol; break;
    case kDetails: value = r.details; break;
    case kUpstreamHost: value = r.upstream_host; break;
    case kUpstreamCluster: value = r.upstream_cluster; break;
    case kRoute: value = r.route; break;
    case kRemote: value = r.remote_address; break;
    case kPeerUri: value = r.peer_uri; break;
    case kListener: value = r.listener; break;
    case kReq: if (r.headers != nullptr) value = r.headers->request_header(piece.text); break;
    case kResp: if (r.headers != nullptr) value = r.headers->response_header(piece.index); break;
    default: break;
  }
  if (value.empty()) line.add(std::string_view("-"));
  else line.add_escaped(value);
}

void LogFormat::append(const LogRecord& record, StartTime& start, std::string& out) const {
  Line line(out);
  for (const Piece& piece : pieces_) append_piece(piece, record, start, line);
  line.add(std::string_view("\n"));
}

}  // namespace monopod::proxy
