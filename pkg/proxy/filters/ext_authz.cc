// External authorisation: a service is asked whether a request may go on. By HTTP it gets the method and path of the request, without its body: 2xx says
// yes, what is not 5xx says no and is the answer. By gRPC it is envoy.service.auth.v3.Authorization/Check.
//
// Hardening: no answer in time is a no, unless on_failure says otherwise (H12). The service sees the normalised path that routes see. Only headers that
// are named pass in either direction, and none of them can start a line.
#include "base/strings.h"
#include "codec/proto_wire.h"
#include "http/headers.h"
#include "proxy/filters/filters.h"

namespace monopod::proxy {
namespace {

constexpr std::size_t kGrpcPrefixBytes = 5;
constexpr std::size_t kDenialBytesMax = 8U << 10;

bool is_listed(const std::vector<std::string>& names, std::string_view name) {
  return std::ranges::any_of(names, [name](const std::string& listed) { return equals_lowercase(name, listed); });
}

// What may be written from outside: not what frames or routes.
bool is_settable(std::string_view name) {
  return http::is_token(name) && name != "host" && name != "content-length" && name != "transfer-encoding" && name != "connection" && name != "te" && name != "trailer" && name != "upgrade";
}

// What the service said of one header.
struct HeaderOption {
  std::string name, value;
};

Result<HeaderOption> parse_header_option(std::string_view bytes) {
  HeaderOption out;
  for (ProtoReader option(bytes);;) {
    TRY_ASSIGN(bool more, option.next());
    if (!more) break;
    if (option.field() != 1) continue;
    for (ProtoReader header(option.bytes());;) {
      TRY_ASSIGN(bool another, header.next());
      if (!another) break;
      if (header.field() == 1) out.name = to_lower(header.bytes());
      if (header.field() == 2 || header.field() == 3) out.value = header.text();
    }
  }
  return out;
}

struct CheckAnswer {
  std::int64_t code = 0;  // gRPC's
  int http_status = 0;
  std::string body;
  std::vector<HeaderOption> headers, answer_headers;  // of the denied answer, or for the endpoint; and, where allowed, for the client
  std::vector<std::string> removed;
};

Result<> parse_http_part(std::string_view bytes, bool denied, CheckAnswer& out) {
  for (ProtoReader part(bytes);;) {
    TRY_ASSIGN(bool more, part.next());
    if (!more) return {};
    if (part.field() == 2) {
      TRY_ASSIGN(HeaderOption header, parse_header_option(part.bytes()));
      out.headers.push_back(std::move(header));
    } else if (denied && part.field() == 1) {
      ProtoReader status(part.bytes());
      TRY_ASSIGN(bool any, status.next());
      if (any && status.field() == 1) out.http_status = static_cast<int>(status.integer());
    } else if (denied && part.field() == 3) {
      out.body = part.text();
    } else if (!denied && part.field() == 5) {
      out.removed.push_back(to_lower(part.bytes()));
    } else if (!denied && part.field() == 6) {
      TRY_ASSIGN(HeaderOption header, parse_header_option(part.bytes()));
      out.answer_headers.push_back(std::move(header));
    }
  }
}

// CheckResponse{status = 1 {code = 1}, denied_response = 2, ok_response = 3}.
Result<CheckAnswer> parse_check(std::string_view message) {
  CheckAnswer out;
  for (ProtoReader reader(message);;) {
    TRY_ASSIGN(bool more, reader.next());
    if (!more) return out;
    if (reader.field() == 1) {
      for (ProtoReader status(reader.bytes());;) {
        TRY_ASSIGN(bool another, status.next());
        if (!another) break;
        if (status.field() == 1) out.code = status.integer();
      }
    } else if (reader.field() == 2 || reader.field() == 3) {
      TRY(parse_http_part(reader.bytes(), reader.field() == 2, out));
    }
  }
}

// A message of gRPC, framed: a byte that says whether it is compressed, and its length.
std::string frame_grpc(std::string_view message) {
  auto size = static_cast<std::uint32_t>(message.size());
  std::string out{'\0', static_cast<char>(size >> 24), static_cast<char>(size >> 16), static_cast<char>(size >> 8), static_cast<char>(size)};
  return out.append(message);
}

class ExtAuthzFilter final : public Filter {
 public:
  ExtAuthzFilter(const ExtAuthzSpec& spec, std::size_t cluster) : spec_(spec), cluster_(cluster) {}

  Verdict on_request(const RequestView& r) const override {
    // Headers that only the service may set are nobody else's.
    for (const std::string& name : spec_.upstream_headers)
      if (!is_listed(spec_.request_headers, name)) r.edits.remove(r.head, name);
    Verdict out{.kind = Verdict::kCall};
    out.call = std::make_unique<SideRequest>(SideRequest{.cluster = cluster_, .text = spec_.grpc ? format_grpc(r) : format_http(r), .timeout = spec_.timeout});
    return out;
  }

  Verdict on_answer(const RequestView& r, const SideAnswer& answer) const override { return spec_.grpc ? judge_grpc(r, answer) : judge_http(r, answer); }

 private:
  Verdict on_failure() const {
    if (spec_.failure_allows) return {};
    return {.kind = Verdict::kAnswer, .status = spec_.failure_status, .body = "authorisation is not at hand\n", .details = "ext_authz_error"};
  }

  std::string format_http(const RequestView& r) const {
    std::string out = cat(r.head.method, " ", spec_.path_prefix, r.path, r.query.empty() ? "" : "?", r.query, " HTTP/1.1\r\nhost: ", r.host.empty() ? std::string_view("unknown") : r.host, "\r\ncontent-length: 0\r\n");
    for (const std::string& name : spec_.request_headers)
      if (std::string_view value = r.edits.find(r.head, name); !value.empty()) out += cat(name, ": ", value, "\r\n");
    out += cat("x-forwarded-for: ", r.remote.format_ip(), "\r\n\r\n");
    return out;
  }

  std::string format_grpc(const RequestView& r) const {
    ProtoWriter socket, address, source, http, request, attributes, check;
    socket.bytes(2, r.remote.format_ip()).integer(3, r.remote.port());
    address.message(1, socket.str());
    source.message(1, address.str());
    if (!r.peer.uris.empty()) source.bytes(4, r.peer.uris.front());
    http.bytes(2, r.head.method);
    for (std::size_t i = 0; i < r.head.count; ++i) {
      const FieldSpan& field = r.head.fields[i];
      if (field.dropped || (!spec_.request_headers.empty() && !is_listed(spec_.request_headers, r.head.name(field)))) continue;
      ProtoWriter entry;
      entry.bytes(1, to_lower(r.head.name(field))).bytes(2, r.head.value(field));
      http.message(3, entry.str());
    }
    http.bytes(4, r.query.empty() ? std::string(r.path) : cat(r.path, "?", r.query)).bytes(5, r.host).bytes(6, r.tls ? "https" : "http").bytes(10, r.head.http_1_0 ? "HTTP/1.0" : "HTTP/1.1");
    request.message(2, http.str());
    attributes.message(1, source.str()).message(4, request.str());
    check.message(1, attributes.str());
    std::string message = frame_grpc(check.str());
    return cat("POST /envoy.service.auth.v3.Authorization/Check HTTP/1.1\r\nhost: ", spec_.cluster, "\r\ncontent-type: application/grpc\r\nte: trailers\r\ngrpc-timeout: ", spec_.timeout.count(),
               "m\r\ncontent-length: ", message.size(), "\r\n\r\n", message);
  }

  Verdict judge_http(const RequestView& r, const SideAnswer& answer) const {
    if (!answer.good() || answer.status >= 500) return on_failure();
    bool allows = answer.status >= 200 && answer.status < 300;
    for (std::size_t i = 0; i < answer.head->count; ++i) {
      const FieldSpan& field = answer.head->fields[i];
      std::string name = to_lower(answer.head->name(field));
      if (!is_settable(name)) continue;
      if (allows && is_listed(spec_.upstream_headers, name)) r.edits.set(r.head, r.arena, r.arena.join({name}), answer.head->value(field));
      if (!allows && is_listed(spec_.client_headers, name)) r.answer_edits.add(r.arena, name, answer.head->value(field));
    }
    if (allows) return {};
    std::string_view body = std::string_view(answer.body).substr(0, kDenialBytesMax);
    return {.kind = Verdict::kAnswer, .status = answer.status < 200 ? 403 : answer.status, .body = r.arena.join({body}), .details = "ext_authz_denied"};
  }

  Verdict judge_grpc(const RequestView& r, const SideAnswer& answer) const {
    std::string_view status = answer.good() ? answer.field("grpc-status") : std::string_view();
    if (answer.status != 200 || status != "0" || answer.body.size() < kGrpcPrefixBytes || answer.body[0] != '\0') return on_failure();
    Result<CheckAnswer> check = parse_check(std::string_view(answer.body).substr(kGrpcPrefixBytes));
    if (!check) return on_failure();
    bool allows = check->code == 0;
    for (const HeaderOption& header : check->headers) {
      if (!is_settable(header.name)) continue;
      if (allows) r.edits.set(r.head, r.arena, header.name, header.value);
      else r.answer_edits.add(r.arena, header.name, header.value);
    }
    if (allows) {
      for (const std::string& name : check->removed)
        if (is_settable(name)) r.edits.remove(r.head, name);
      for (const HeaderOption& header : check->answer_headers)
        if (is_settable(header.name)) r.answer_edits.add(r.arena, header.name, header.value);
      return {};
    }
    int code = check->http_status >= 200 && check->http_status <= 599 ? check->http_status : 403;
    return {.kind = Verdict::kAnswer, .status = code, .body = r.arena.join({std::string_view(check->body).substr(0, kDenialBytesMax)}), .details = "ext_authz_denied"};
  }

  ExtAuthzSpec spec_;
  std::size_t cluster_;
};

}  // namespace

Result<FilterPtr> make_ext_authz(const FilterSpec& spec, const FilterContext& context) {
  TRY_ASSIGN(std::size_t cluster, context.find_cluster(spec.ext_authz.cluster));
  if (spec.ext_authz.grpc && !context.cluster(cluster).http2) return fail(Code::kInvalidArgument, cat("cluster \"", spec.ext_authz.cluster, "\" wants http2: true for protocol grpc"));
  if (spec.ext_authz.timeout.count() < 1) return fail(Code::kInvalidArgument, "timeout is under a millisecond");
  if (!http::is_field_value(spec.ext_authz.path_prefix) || spec.ext_authz.path_prefix.find(' ') != std::string::npos || (!spec.ext_authz.path_prefix.empty() && !spec.ext_authz.path_prefix.starts_with('/')))
    return fail(Code::kInvalidArgument, "path_prefix cannot stand in a request");
  return std::make_unique<ExtAuthzFilter>(spec.ext_authz, cluster);
}

}  // namespace monopod::proxy
