#include "proxy/codec/head.h"

#include <charconv>
#include <cstring>

#include "proxy/codec/scan.h"

namespace monopod::proxy {
namespace {

constexpr std::array<bool, 256> kTokenBytes = [] {
  std::array<bool, 256> out{};
  for (unsigned c = 0; c < 256; ++c) out[c] = (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
  for (char c : std::string_view("!#$%&'*+-.^_`|~")) out[static_cast<unsigned char>(c)] = true;
  return out;
}();

Parsed refuse(Head& head, int status, std::string_view why) {
  head.refusal = {status, why};
  return Parsed::kBad;
}

// What a head that is not whole yet may still become.
Parsed want_more(Head& head, std::size_t size) {
  return size >= kHeadBytesMax ? refuse(head, 431, "head too large") : Parsed::kPartial;
}

std::string_view trim_blanks(std::string_view text) {
  while (!text.empty() && (text.front() == ' ' || text.front() == '\t')) text.remove_prefix(1);
  while (!text.empty() && (text.back() == ' ' || text.back() == '\t')) text.remove_suffix(1);
  return text;
}

FieldName classify(std::string_view name) {
  auto is = [name](std::string_view lowercase) { return equals_lowercase(name, lowercase); };
  switch (name.size()) {
    case 2: return is("te") ? FieldName::kTe : FieldName::kOther;
    case 4: return is("host") ? FieldName::kHost : FieldName::kOther;
    case 6: return is("expect") ? FieldName::kExpect : FieldName::kOther;
    case 7: return is("upgrade") ? FieldName::kUpgrade : is("trailer") ? FieldName::kTrailer : FieldName::kOther;
    case 9: return is("forwarded") ? FieldName::kForwarded : is("x-real-ip") ? FieldName::kXForwarded : FieldName::kOther;
    case 10: if (is("connection")) return FieldName::kConnection; if (is("keep-alive")) return FieldName::kKeepAlive; break;
    case 14: if (is("content-length")) return FieldName::kContentLength; break;
    case 16: if (is("proxy-connection")) return FieldName::kProxyConnection; break;
    case 17: if (is("transfer-encoding")) return FieldName::kTransferEncoding; break;
    default: break;
  }
  if (name.size() > 8 && equals_lowercase(name.substr(0, 8), "x-envoy-")) return FieldName::kInternal;
  if (name.size() > 12 && equals_lowercase(name.substr(0, 12), "x-forwarded-")) return FieldName::kXForwarded;
  return FieldName::kOther;
}

// Field lines from `at` on, up to and with the empty line.
Parsed parse_fields(const char* at, const char* end, Head& head) {
  std::size_t size = static_cast<std::size_t>(end - head.base);
  head.count = 0;
  for (;;) {
    if (at == end) return want_more(head, size);
    if (*at == '\r') {
      if (end - at < 2) return want_more(head, size);
      if (at[1] != '\n') return refuse(head, 400, "bare carriage return");
      head.size = static_cast<std::size_t>(at + 2 - head.base);
      if (head.size > kHeadBytesMax) return refuse(head, 431, "head too large");
      return Parsed::kDone;
    }
    const char* name = at;
    while (at != end && kTokenBytes[static_cast<unsigned char>(*at)]) ++at;
    if (at == end) return want_more(head, size);
    if (*at != ':' || at == name) return refuse(head, 400, at == name && (*at == ' ' || *at == '\t') ? "folded header line" : *at == '\n' ? "bare line feed" : "invalid header name");
    std::size_t name_size = static_cast<std::size_t>(at - name);
    do ++at; while (at != end && (*at == ' ' || *at == '\t'));
    const char* value = at;
    at = find_control(at, end);
    if (at == end) return want_more(head, size);
    if (*at != '\r') return refuse(head, 400, *at == '\n' ? "bare line feed" : "control character");
    if (end - at < 2) return want_more(head, size);
    if (at[1] != '\n') return refuse(head, 400, "bare carriage return");
    std::string_view trimmed = trim_blanks({value, static_cast<std::size_t>(at - value)});
    at += 2;
    if (static_cast<std::size_t>(at - head.base) > kHeadBytesMax) return refuse(head, 431, "head too large");
    if (head.count == kFieldsMax) return refuse(head, 431, "too many header fields");
    auto offset = [&head](const char* p) { return static_cast<std::uint16_t>(p - head.base); };
    head.fields[head.count++] = {.begin = offset(name), .name_size = static_cast<std::uint16_t>(name_size), .value_begin = offset(trimmed.empty() ? value : trimmed.data()),
                                 .value_size = static_cast<std::uint16_t>(trimmed.size()), .end = offset(at), .id = classify({name, name_size})};
  }
}

template <typename F>
void each_token(std::string_view list, F f) {
  while (!list.empty()) {
    std::size_t comma = std::min(list.find(','), list.size());
    if (std::string_view token = trim_blanks(list.substr(0, comma)); !token.empty()) f(token);
    list.remove_prefix(std::min(comma + 1, list.size()));
  }
}

struct Facts {
  std::size_t lengths = 0, codings = 0, hosts = 0;
  bool close = false, keep = false, names_upgrade = false, has_upgrade = false, nominates = false, chunked = true;
  std::string_view host{};
};

bool parse_length(std::string_view text, std::uint64_t& out) {
  if (text.empty() || text.size() > 18) return false;
  for (char c : text)
    if (c < '0' || c > '9') return false;
  std::from_chars(text.data(), text.data() + text.size(), out);
  return true;
}

// Fields that only Connection may not take off a message: what frames and routes it.
bool is_protected(FieldName id) { return id == FieldName::kHost || id == FieldName::kContentLength || id == FieldName::kTransferEncoding; }

// Drops what Connection names. False: it names what it must not.
bool drop_nominated(Head& head) {
  bool good = true;
  for (std::size_t i = 0; i < head.count; ++i) {
    if (head.fields[i].id != FieldName::kConnection) continue;
    each_token(head.value(head.fields[i]), [&](std::string_view token) {
      for (std::size_t k = 0; k < head.count; ++k) {
        FieldSpan& f = head.fields[k];
        std::string_view name = head.name(f);
        if (name.size() != token.size() || f.id == FieldName::kConnection || ::strncasecmp(name.data(), token.data(), name.size()) != 0) continue;
        if (is_protected(f.id) || f.id == FieldName::kXForwarded || f.id == FieldName::kForwarded) good = false;
        f.dropped = true;
      }
    });
  }
  return good;
}

// Looks at the fields both kinds of head share. False: refused.
bool read_facts(Head& head, Facts& facts) {
  for (std::size_t i = 0; i < head.count; ++i) {
    FieldSpan& f = head.fields[i];
    std::string_view value = head.value(f);
    switch (f.id) {
      case FieldName::kOther: continue;
      case FieldName::kContentLength:
        if (++facts.lengths > 1 || !parse_length(value, head.length)) return refuse(head, 400, "invalid content-length"), false;
        break;
      case FieldName::kTransferEncoding:
        if (++facts.codings > 1) return refuse(head, 400, "two transfer-encodings"), false;
        facts.chunked = equals_lowercase(value, "chunked");
        break;
      case FieldName::kConnection:
        each_token(value, [&facts](std::string_view token) {
          if (equals_lowercase(token, "close")) facts.close = true;
          else if (equals_lowercase(token, "keep-alive")) facts.keep = true;
          else if (equals_lowercase(token, "upgrade")) facts.names_upgrade = true;
          else facts.nominates = true;
        });
        f.dropped = true;
        break;
      case FieldName::kHost:
        ++facts.hosts;
        facts.host = value;
        break;
      case FieldName::kUpgrade:
        facts.has_upgrade = true;
        f.dropped = true;
        break;
      case FieldName::kExpect:
        head.expects_continue = equals_lowercase(value, "100-continue");
        break;
      case FieldName::kKeepAlive: case FieldName::kProxyConnection: case FieldName::kTe: f.dropped = true; break;
      default: break;
    }
  }
  if (facts.nominates && !drop_nominated(head)) return refuse(head, 400, "connection names a header that may not be dropped"), false;
  head.keep_alive = !facts.close && (!head.http_1_0 || facts.keep);
  head.wants_upgrade = facts.names_upgrade && facts.has_upgrade && !head.http_1_0;
  return true;
}

bool is_host(std::string_view host) {
  // reg-name, IPv4, or [IPv6] with a port; no user, no blanks, nothing that another server could read as something else.
  if (host.size() > 255 + 6) return false;
  for (char c : host) {
    bool good = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' || c == '.' || c == '_' || c == ':' || c == '[' || c == ']' || c == '~';
    if (!good) return false;
  }
  bool bracket = host.starts_with('[');
  std::size_t close = host.find(']');
  if (bracket != (close != std::string_view::npos) || host.find('[', 1) != std::string_view::npos) return false;
  std::string_view rest = bracket ? host.substr(close + 1) : host.substr(std::min(host.find(':'), host.size()));
  if (rest.empty()) return true;
  if (rest[0] != ':') return false;
  return rest.size() <= 6 && rest.substr(1).find_first_not_of("0123456789") == std::string_view::npos;
}

// Splits the target into authority and path. False: refused.
bool read_target(Head& head) {
  std::string_view t = head.target;
  if (t.find('#') != std::string_view::npos) return false;
  if (t.starts_with('/')) {
    head.path = t;
    return true;
  }
  if (t == "*") {
    head.path = t;
    return head.method == "OPTIONS";
  }
  std::size_t scheme = equals_lowercase(t.substr(0, 7), "http://") ? 7 : equals_lowercase(t.substr(0, 8), "https://") ? 8 : 0;
  if (scheme == 0) return false;
  t.remove_prefix(scheme);
  std::size_t slash = t.find_first_of("/?");
  head.host = t.substr(0, slash);
  head.absolute_target = true;
  head.path = slash == std::string_view::npos ? std::string_view("/") : t.substr(slash);
  return !head.host.empty() && head.path.starts_with('/');
}

Parsed parse_request_line(const char*& at, const char* end, Head& head) {
  std::size_t size = static_cast<std::size_t>(end - head.base);
  const char* method = at;
  while (at != end && kTokenBytes[static_cast<unsigned char>(*at)]) ++at;
  if (at == end) return size > 64 ? refuse(head, 400, "invalid method") : want_more(head, size);
  if (*at != ' ' || at == method || at - method > 32) return refuse(head, 400, "invalid request line");
  head.method = {method, static_cast<std::size_t>(at - method)};
  const char* target = ++at;
  at = find_word_end(at, end);
  if (static_cast<std::size_t>(at - target) > kTargetBytesMax) return refuse(head, 414, "target too long");
  if (at == end) return want_more(head, size);
  if (*at != ' ' || at == target) return refuse(head, 400, "invalid target");
  head.target = {target, static_cast<std::size_t>(at - target)};
  ++at;
  constexpr std::string_view kVersion = "HTTP/1.";
  std::size_t there = std::min<std::size_t>(static_cast<std::size_t>(end - at), 10);
  std::string_view rest(at, there);
  if (std::string_view want = kVersion.substr(0, there); !rest.starts_with(want)) {
    return rest.starts_with("HTTP/") || kVersion.starts_with(rest.substr(0, 5)) ? refuse(head, 505, "unsupported version") : refuse(head, 400, "invalid version");
  }
  if (there > 7 && rest[7] != '0' && rest[7] != '1') return refuse(head, rest[7] >= '2' && rest[7] <= '9' ? 505 : 400, "unsupported version");
  if (there > 8 && rest[8] != '\r') return refuse(head, 400, rest[8] == '\n' ? "bare line feed" : "invalid version");
  if (there > 9 && rest[9] != '\n') return refuse(head, 400, "bare carriage return");
  if (there < 10) return want_more(head, size);
  head.http_1_0 = rest[7] == '0';
  at += 10;
  head.line_end = static_cast<std::uint16_t>(at - head.base);
  return Parsed::kDone;
}

Parsed judge_request(Head& head) {
  Facts facts;
  if (!read_facts(head, facts)) return Parsed::kBad;
  if (head.method == "CONNECT") return refuse(head, 501, "connect is not supported");
  head.host = {};
  if (!read_target(head)) return refuse(head, 400, "invalid target");
  if (facts.hosts > 1) return refuse(head, 400, "two host fields");
  if (facts.hosts == 0 && !head.http_1_0) return refuse(head, 400, "no host");
  if (!is_host(facts.host) || (head.absolute_target && !is_host(head.host))) return refuse(head, 400, "invalid host");
  if (!head.absolute_target) head.host = facts.host;
  if (facts.codings > 0) {
    if (head.http_1_0) return refuse(head, 400, "transfer-encoding in http/1.0");
    if (facts.lengths > 0) return refuse(head, 400, "content-length beside transfer-encoding");
    if (!facts.chunked) return refuse(head, 501, "unsupported transfer-encoding");
    head.framing = Framing::kChunked;
  } else if (facts.lengths > 0 && head.length > 0) {
    head.framing = Framing::kLength;
  }
  if (head.wants_upgrade && head.framing != Framing::kNone) return refuse(head, 400, "upgrade with a body");
  return Parsed::kDone;
}

Parsed parse_status_line(const char*& at, const char* end, Head& head) {
  std::size_t size = static_cast<std::size_t>(end - head.base);
  // "HTTP/1.1 200 OK"
  std::string_view there(at, std::min<std::size_t>(size, 12));
  if (!there.starts_with(std::string_view("HTTP/1.").substr(0, there.size()))) return refuse(head, 502, "no http/1 answer");
  if (size < 13) return Parsed::kPartial;
  auto digit = [at](int i) { return at[i] >= '0' && at[i] <= '9'; };
  if ((at[7] != '0' && at[7] != '1') || at[8] != ' ' || !digit(9) || !digit(10) || !digit(11) || at[9] == '0') return refuse(head, 502, "invalid status line");
  head.http_1_0 = at[7] == '0';
  head.status = (at[9] - '0') * 100 + (at[10] - '0') * 10 + (at[11] - '0');
  const char* reason = at + 12;
  if (*reason != ' ' && *reason != '\r') return refuse(head, 502, "invalid status line");
  at = find_control(reason, end);
  if (end - at < 2) return at == end || *at == '\r' ? want_more(head, size) : refuse(head, 502, "invalid status line");
  if (at[0] != '\r' || at[1] != '\n') return refuse(head, 502, "invalid status line");
  head.reason = trim_blanks({reason, static_cast<std::size_t>(at - reason)});
  at += 2;
  head.line_end = static_cast<std::uint16_t>(at - head.base);
  return Parsed::kDone;
}

Parsed judge_response(bool to_head, Head& head) {
  Facts facts;
  if (!read_facts(head, facts)) return Parsed::kBad;
  bool no_body = to_head || head.status < 200 || head.status == 204 || head.status == 304;
  if (facts.codings > 0) {
    if (facts.lengths > 0 || !facts.chunked || head.http_1_0) return refuse(head, 502, "ambiguous framing");
    if (head.status < 200 || head.status == 204) return refuse(head, 502, "transfer-encoding without a body");
    head.framing = no_body ? Framing::kNone : Framing::kChunked;
  } else if (facts.lengths > 0) {
    head.framing = no_body || head.length == 0 ? Framing::kNone : Framing::kLength;
  } else {
    head.framing = no_body ? Framing::kNone : Framing::kUntilClose;
  }
  if (head.framing == Framing::kUntilClose) head.keep_alive = false;
  return Parsed::kDone;
}

void begin_facts(Head& head) {
  head.absolute_target = head.listed = head.http_1_0 = head.wants_upgrade = head.expects_continue = head.extended_connect = false;
  head.keep_alive = true;
  head.framing = Framing::kNone;
  head.length = 0;
  head.refusal = {};
}

void begin(const char* base, Head& head) {
  head.base = base;
  head.size = 0;
  begin_facts(head);
}

}  // namespace

FieldName name_id(std::string_view name) { return classify(name); }

bool equals_lowercase(std::string_view text, std::string_view lowercase) {
  if (text.size() != lowercase.size()) return false;
  for (std::size_t i = 0; i < text.size(); ++i) {
    char c = text[i];
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c | 0x20);
    if (c != lowercase[i]) return false;
  }
  return true;
}

bool is_token_byte(char c) { return kTokenBytes[static_cast<unsigned char>(c)]; }

const FieldSpan* Head::find(std::string_view lowercase_name) const {
  for (std::size_t i = 0; i < count; ++i)
    if (!fields[i].dropped && equals_lowercase(name(fields[i]), lowercase_name)) return &fields[i];
  return nullptr;
}

Parsed parse_request_head(const char* base, std::size_t size, Head& head) {
  begin(base, head);
  const char* at = base;
  const char* end = base + size;
  if (Parsed line = parse_request_line(at, end, head); line != Parsed::kDone) return line;
  if (Parsed fields = parse_fields(at, end, head); fields != Parsed::kDone) return fields;
  return judge_request(head);
}

Parsed parse_response_head(const char* base, std::size_t size, bool to_head, Head& head) {
  begin(base, head);
  const char* at = base;
  const char* end = base + size;
  Parsed parsed = parse_status_line(at, end, head);
  if (parsed == Parsed::kDone) parsed = parse_fields(at, end, head);
  if (parsed == Parsed::kDone) parsed = judge_response(to_head, head);
  if (parsed == Parsed::kBad) head.refusal.status = 502;
  return parsed;
}

void judge_listed_request(Head& head, bool ends) {
  begin_facts(head);
  head.listed = true;
  Parsed parsed = head.size > kHeadBytesMax          ? refuse(head, 431, "head too large")
                  : head.target.size() > kTargetBytesMax ? refuse(head, 414, "target too long")
                                                     : judge_request(head);
  head.keep_alive = false;  // a stream is for one request
  if (parsed == Parsed::kDone && head.framing == Framing::kNone && !ends && head.find("content-length") == nullptr) head.framing = Framing::kStream;
}

bool judge_listed_response(Head& head, bool to_head, bool ends) {
  begin_facts(head);
  head.listed = true;
  if (head.size > kHeadBytesMax || judge_response(to_head, head) != Parsed::kDone) return false;
  head.keep_alive = false;
  if (head.framing == Framing::kUntilClose) head.framing = ends ? Framing::kNone : Framing::kStream;
  return true;
}

bool is_trailer_line(std::string_view line) {
  std::size_t colon = 0;
  while (colon < line.size() && is_token_byte(line[colon])) ++colon;
  if (colon == 0 || colon == line.size() || line[colon] != ':' || !line.ends_with("\r\n")) return false;
  const char* end = line.data() + line.size() - 2;
  if (find_control(line.data(), end) != end) return false;
  std::string_view name = line.substr(0, colon);
  if (classify(name) != FieldName::kOther) return false;
  static constexpr std::string_view kDenied[] = {"authorization", "cookie", "set-cookie", "content-encoding", "content-type", "content-range", "proxy-authorization", "cache-control"};
  for (std::string_view denied : kDenied)
    if (equals_lowercase(name, denied)) return false;
  return true;
}

}  // namespace monopod::proxy
