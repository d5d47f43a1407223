#include "proxy/observe/log_format.h"

#include "base/strings.h"

namespace monopod::proxy {
namespace {

constexpr std::string_view kDefault =
    "[%START_TIME%] \"%METHOD% %PATH% %PROTOCOL%\" %RESPONSE_CODE% %RESPONSE_CODE_DETAILS% %BYTES_RECEIVED% %BYTES_SENT% %DURATION% \"%AUTHORITY%\" \"%UPSTREAM_HOST%\" "
    "%UPSTREAM_CLUSTER% %ROUTE_NAME% %DOWNSTREAM_REMOTE_ADDRESS%";

enum Op : std::uint8_t {
  kText, kStart, kMethod, kPath, kAuthority, kProtocol, kReq, kResp, kCode, kDetails, kReceived, kSent, kDuration, kUpstreamHost, kUpstreamCluster, kRoute, kRemote, kPeerUri, kAttempts,
};
struct Name {
  std::string_view name;
  Op op;
};
constexpr Name kNames[] = {
    {"START_TIME", kStart}, {"METHOD", kMethod}, {"PATH", kPath}, {"AUTHORITY", kAuthority}, {"PROTOCOL", kProtocol}, {"RESPONSE_CODE", kCode},
    {"RESPONSE_CODE_DETAILS", kDetails}, {"BYTES_RECEIVED", kReceived}, {"BYTES_SENT", kSent}, {"DURATION", kDuration}, {"UPSTREAM_HOST", kUpstreamHost},
    {"UPSTREAM_CLUSTER", kUpstreamCluster}, {"ROUTE_NAME", kRoute}, {"DOWNSTREAM_REMOTE_ADDRESS", kRemote}, {"DOWNSTREAM_PEER_URI_SAN", kPeerUri}, {"ATTEMPTS", kAttempts},
};

void append_number(std::string& out, std::uint64_t n) {
  char text[20];
  out.append(text, std::to_chars(text, text + sizeof text, n).ptr);
}

constexpr std::array<bool, 256> kEscaped = [] {
  std::array<bool, 256> out{};
  for (std::size_t c = 0; c < out.size(); ++c) out[c] = c < 0x20 || c >= 0x7f || c == '"' || c == '\\';
  return out;
}();

// The same escapes serve text and JSON.
void append_escaped(std::string& out, std::string_view value) {
  constexpr std::string_view kDigits = "0123456789abcdef";
  std::size_t plain = 0;
  for (std::size_t i = 0; i < value.size(); ++i) {
    auto c = static_cast<unsigned char>(value[i]);
    if (!kEscaped[c]) continue;
    out += value.substr(plain, i - plain);
    plain = i + 1;
    if (c == '"' || c == '\\') {
      out += '\\';
      out += static_cast<char>(c);
    } else {
      out += "\\u00";
      out += kDigits[c >> 4];
      out += kDigits[c & 15];
    }
  }
  out += value.substr(plain);
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

void LogFormat::append_piece(const Piece& piece, const LogRecord& r, StartTime& start, std::string& out) const {
  std::string_view value;
  switch (piece.op) {
    case kText: out += piece.text; return;
    case kStart: out += start.format(r.start); return;
    case kCode: append_number(out, static_cast<std::uint64_t>(r.status)); return;
    case kReceived: append_number(out, r.bytes_received); return;
    case kSent: append_number(out, r.bytes_sent); return;
    case kDuration: append_number(out, r.duration_ms); return;
    case kAttempts: append_number(out, r.attempts); return;
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
    case kReq: if (r.headers != nullptr) value = r.headers->request_header(piece.text); break;
    case kResp: if (r.headers != nullptr) value = r.headers->response_header(piece.index); break;
    default: break;
  }
  if (value.empty()) out += '-';
  else append_escaped(out, value);
}

void LogFormat::append(const LogRecord& record, StartTime& start, std::string& out) const {
  for (const Piece& piece : pieces_) append_piece(piece, record, start, out);
  out += '\n';
}

}  // namespace monopod::proxy
