#include "agent/prober.h"

#include "streams/dial.h"
#include "async/scope.h"
#include "base/strings.h"
#include "http/client.h"
#include "http/endpoint.h"
#include "http/grpc.h"

namespace monopod::agent {

namespace {

constexpr std::size_t kExecOutputBytesMax = 10U << 10;   // of a probe's output in its event
constexpr std::size_t kBodyBytesMax = 10U << 10;

std::string host_in_url(const std::string& host) { return host.find(':') == std::string::npos ? host : cat("[", host, "]"); }

// grpc.health.v1.HealthCheckRequest{service = 1} and HealthCheckResponse{status = 1}: SERVING is 1.
std::string encode_health_request(std::string_view service) {
  std::string out;
  if (service.empty() || service.size() > 127) return out;
  out += '\x0a';
  out += static_cast<char>(service.size());
  out += service;
  return out;
}
std::string_view decode_health_status(std::string_view message) {
  int status = message.size() >= 2 && message[0] == '\x08' ? message[1] : 0;
  switch (status) {
    case 1: return "SERVING";
    case 2: return "NOT_SERVING";
    case 3: return "SERVICE_UNKNOWN";
    default: return "UNKNOWN";
  }
}

class EngineProber final : public Prober {
 public:
  EngineProber(async::Executor executor, async::Time& time, PodRuntime& runtime) : executor_(executor), time_(time), runtime_(runtime) {}

  async::Task<ProbeOutcome> run(std::shared_ptr<const Pod> pod, std::string container, std::string id, Handler handler, std::string pod_ip,
                                Duration timeout) override {
    if (handler.exec) co_return co_await exec(id, *handler.exec, timeout);
    if (handler.sleep_seconds) {
      auto slept = co_await time_.sleep_for(std::min<Duration>(std::chrono::seconds(*handler.sleep_seconds), timeout));
      co_return ProbeOutcome{slept.has_value(), slept ? "" : slept.error().message()};
    }
    if (handler.http) co_return co_await http(pod, container, *handler.http, pod_ip, timeout);
    if (handler.tcp) co_return co_await tcp(pod, container, *handler.tcp, pod_ip, timeout);
    if (handler.grpc) co_return co_await grpc(pod, container, *handler.grpc, pod_ip, timeout);
    co_return ProbeOutcome{true, ""};
  }

 private:
  async::Task<ProbeOutcome> exec(std::string id, std::vector<std::string> argv, Duration timeout) {
    std::string command = join(argv, " ");
    auto ran = co_await runtime_.exec(id, std::move(argv), timeout, kExecOutputBytesMax);
    if (!ran && ran.error().code() == Code::kDeadlineExceeded)
      co_return ProbeOutcome{false, cat("command timed out: \"", command, "\" timed out after ", std::chrono::duration_cast<std::chrono::seconds>(timeout).count(), "s")};
    if (!ran) co_return ProbeOutcome{false, ran.error().message()};
    co_return ProbeOutcome{ran->exit_code == 0, ran->output};
  }

  struct HttpAnswer {
    int status = 0;
    std::string body;
  };
  static async::Task<Result<HttpAnswer>> get(http::Client& client, http::ClientRequest request) {
    CO_TRY_ASSIGN(http::Response response, co_await client.request(std::move(request)));
    HttpAnswer out{response.status, ""};
    auto body = co_await response.body->read_all(kBodyBytesMax);
    if (body) out.body = std::move(*body);
    co_return out;
  }

  async::Task<Result<>> get_within(async::Scope& background, http::ClientOptions options, http::ClientRequest request, Duration timeout, std::string what,
                                   Result<HttpAnswer>& out) {
    http::Client client(background, executor_, time_, std::move(options));
    out = co_await async::with_timeout<HttpAnswer>(time_, timeout, what, get(client, std::move(request)));
    co_return Result<>();
  }

  async::Task<ProbeOutcome> http(std::shared_ptr<const Pod> pod, std::string container, Handler::HttpGet get_spec, std::string pod_ip, Duration timeout) {
    auto port = resolve_port(*pod, container, get_spec.port);
    if (!port) co_return ProbeOutcome{false, cat("invalid port number or name: ", get_spec.port)};
    std::string host = get_spec.host.empty() ? pod_ip : get_spec.host;
    bool tls = iequals(get_spec.scheme, "https");
    std::string url = cat(tls ? "https" : "http", "://", host_in_url(host), ":", *port, get_spec.path);
    std::unique_ptr<http::TlsClient> tls_client;
    if (tls) {
      auto made = http::TlsClient::make({.insecure_skip_verify = true, .http2 = false});
      if (!made) co_return ProbeOutcome{false, made.error().message()};
      tls_client = std::move(*made);
    }
    http::ClientOptions options;
    options.endpoint.tls = tls;
    options.endpoint.host = host;
    options.endpoint.port = static_cast<std::uint16_t>(*port);
    options.tls = tls_client.get();
    options.idle_connections_max = 0;
    http::ClientRequest request;
    request.target = get_spec.path;
    request.headers.set("user-agent", "kube-probe/1.35");
    request.headers.set("accept", "*/*");
    request.headers.set("connection", "close");
    for (const auto& [name, value] : get_spec.headers) request.headers.set(name, value);
    Result<HttpAnswer> answer = fail(Code::kUnavailable, "no answer");
    auto done = co_await async::run_scoped(
        [&](async::Scope& background) { return get_within(background, options, std::move(request), timeout, cat("Get \"", url, "\""), answer); });
    if (!done) answer = fail(std::move(done).error());
    if (!answer) {
      if (answer.error().code() == Code::kDeadlineExceeded)
        co_return ProbeOutcome{false, cat("Get \"", url, "\": context deadline exceeded (Client.Timeout exceeded while awaiting headers)")};
      co_return ProbeOutcome{false, cat("Get \"", url, "\": ", http::dial_failure("tcp", cat(host_in_url(host), ":", *port), answer.error()))};
    }
    if (answer->status >= 200 && answer->status < 400) co_return ProbeOutcome{true, ""};
    co_return ProbeOutcome{false, cat("HTTP probe failed with statuscode: ", answer->status)};
  }

  static async::Task<Result<>> connect(http::Endpoint endpoint) {
    CO_TRY(co_await http::dial(endpoint, nullptr));
    co_return Result<>();
  }

  async::Task<ProbeOutcome> tcp(std::shared_ptr<const Pod> pod, std::string container, Handler::TcpSocket spec, std::string pod_ip, Duration timeout) {
    auto port = resolve_port(*pod, container, spec.port);
    if (!port) co_return ProbeOutcome{false, cat("invalid port number or name: ", spec.port)};
    http::Endpoint endpoint;
    endpoint.host = spec.host.empty() ? pod_ip : spec.host;
    endpoint.port = static_cast<std::uint16_t>(*port);
    std::string address = cat(host_in_url(endpoint.host), ":", *port);
    auto connected = co_await async::with_timeout<void>(time_, timeout, "dial", connect(endpoint));
    if (connected) co_return ProbeOutcome{true, ""};
    if (connected.error().code() == Code::kDeadlineExceeded) co_return ProbeOutcome{false, cat("dial tcp ", address, ": i/o timeout")};
    co_return ProbeOutcome{false, http::dial_failure("tcp", address, connected.error())};
  }

  async::Task<Result<>> check_within(async::Scope& background, http::ClientOptions options, std::string message, Duration timeout, Result<std::string>& out) {
    http::Client client(background, executor_, time_, std::move(options));
    out = co_await async::with_timeout<std::string>(time_, timeout, "health check", http::call_grpc(client, "/grpc.health.v1.Health/Check", message, {}));
    co_return Result<>();
  }

  async::Task<ProbeOutcome> grpc(std::shared_ptr<const Pod> pod, std::string container, Handler::Grpc spec, std::string pod_ip, Duration timeout) {
    auto port = resolve_port(*pod, container, spec.port);
    if (!port) co_return ProbeOutcome{false, cat("invalid port number or name: ", spec.port)};
    http::ClientOptions options;
    options.endpoint.host = pod_ip;
    options.endpoint.port = static_cast<std::uint16_t>(*port);
    options.http2_prior_knowledge = true;
    Result<std::string> answer = fail(Code::kUnavailable, "no answer");
    auto done = co_await async::run_scoped(
        [&](async::Scope& background) { return check_within(background, options, encode_health_request(spec.service), timeout, answer); });
    if (!done) answer = fail(std::move(done).error());
    if (!answer && answer.error().code() == Code::kUnimplemented)
      co_return ProbeOutcome{false, "error: this server does not implement the grpc health protocol (grpc.health.v1.Health)"};
    if (!answer)
      co_return ProbeOutcome{false, cat("timeout: failed to connect service \"", host_in_url(pod_ip), ":", *port, "\" within ",
                                        std::chrono::duration_cast<std::chrono::seconds>(timeout).count(), "s: ", answer.error().message())};
    std::string_view status = decode_health_status(*answer);
    if (status == "SERVING") co_return ProbeOutcome{true, ""};
    co_return ProbeOutcome{false, cat("service unhealthy (responded with \"", status, "\")")};
  }

  async::Executor executor_;
  async::Time& time_;
  PodRuntime& runtime_;
};

}  // namespace

std::optional<int> resolve_port(const Pod& pod, std::string_view container, std::string_view port) {
  if (auto number = parse_int<int>(port)) return *number > 0 && *number < 65536 ? number : std::nullopt;
  const Container* c = pod.find_container(container);
  if (!c) return std::nullopt;
  for (const Port& p : c->ports)
    if (p.name == port) return p.container_port;
  return std::nullopt;
}

std::unique_ptr<Prober> make_prober(async::Executor executor, async::Time& time, PodRuntime& runtime) {
  return std::make_unique<EngineProber>(executor, time, runtime);
}

}  // namespace monopod::agent
