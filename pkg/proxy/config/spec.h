// What the proxy is told to do, as plain values: a file, or a control plane, makes a Spec; compile() (snapshot.h) checks it with its references and
// makes a Snapshot of it. Values compare, so that what did not change is known.
#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace monopod::proxy {

using Milliseconds = std::chrono::milliseconds;

// How a text is compared. Exact unless asked otherwise: a dot in a name is a dot.
struct StringMatch {
  enum class Kind : std::uint8_t { kExact, kPrefix, kSuffix, kContains, kRegex, kPresent };
  Kind kind = Kind::kExact;
  std::string text{};
  bool invert = false;
  bool operator==(const StringMatch&) const = default;
};

struct NamedMatch {
  std::string name{};  // header (lowercase) or query parameter
  StringMatch match{};
  bool operator==(const NamedMatch&) const = default;
};

struct PathMatch {
  enum class Kind : std::uint8_t { kPrefix, kExact, kRegex, kTemplate };
  Kind kind = Kind::kPrefix;
  // Prefix: whole segments ("/api" matches "/api" and "/api/x", not "/apis"). Regex: the whole path. Template: "/users/{id}/**".
  std::string text = "/";
  bool operator==(const PathMatch&) const = default;
};

struct HeaderValue {
  std::string name{};  // lowercase
  std::string value{};
  bool operator==(const HeaderValue&) const = default;
};

struct HeaderOperations {
  std::vector<std::string> remove{};
  std::vector<HeaderValue> set{};  // replaces
  std::vector<HeaderValue> add{};  // beside what is there
  bool operator==(const HeaderOperations&) const = default;
};

struct RedirectSpec {
  int status = 301;
  std::string scheme{}, host{}, path{}, prefix{};  // empty: as it was. prefix: replaces what the route's prefix matched
  bool strip_query = false;
  bool operator==(const RedirectSpec&) const = default;
};

struct DirectResponseSpec {
  int status = 200;
  std::string body{};
  bool operator==(const DirectResponseSpec&) const = default;
};

struct WeightedCluster {
  std::string cluster{};
  std::uint32_t weight = 1;
  bool operator==(const WeightedCluster&) const = default;
};

struct RetrySpec {
  std::uint32_t attempts = 0;  // beyond the first
  bool on_connect_failure = true, on_reset = false, on_5xx = false, on_gateway_error = false;  // gateway: 502, 503, 504
  std::vector<int> on_statuses{}, on_grpc_statuses{};  // gRPC's: of an answer without a message
  Milliseconds per_try_timeout{0};  // 0: none
  Milliseconds backoff{25};         // the first pause; doubles, with jitter, up to 10 times it
  bool operator==(const RetrySpec&) const = default;
};

// A second try beside the first; the first answer wins, the others are reset. For requests that are all in their buffer: the endpoints may see them twice.
struct HedgeSpec {
  std::uint32_t max = 0;  // tries beside the first; 0: none
  Milliseconds delay{0};  // without an answer, from the whole request on; then each as much later. 0: only where a try takes longer than per_try_timeout
  bool operator==(const HedgeSpec&) const = default;
};

// What a hash balancer hashes.
struct HashKey {
  enum class Kind : std::uint8_t { kHeader, kSourceAddress, kPath } kind = Kind::kSourceAddress;
  std::string name{};
  bool operator==(const HashKey&) const = default;
};

struct RouteSpec {
  std::string name{};
  PathMatch path{};
  std::vector<std::string> methods{};  // empty: any
  std::vector<NamedMatch> headers{}, query{};
  std::vector<WeightedCluster> clusters{};  // one of these three
  std::optional<RedirectSpec> redirect{};
  std::optional<DirectResponseSpec> direct_response{};
  std::string prefix_rewrite{}, host_rewrite{};
  HeaderOperations request_headers{}, response_headers{};
  Milliseconds timeout{15'000};     // from the whole request to the whole answer; 0: none
  Milliseconds idle_timeout{60'000};  // nothing moved either way; 0: none
  RetrySpec retry{};
  HedgeSpec hedge{};
  std::vector<HashKey> hash{};
  std::string mirror_cluster{};     // gets a copy of requests whose body is no larger than that; its answers go nowhere
  std::uint32_t mirror_body_kb_max = 64;
  std::uint32_t mirror_percent = 100;
  bool allow_upgrade = true;
  std::uint64_t request_bytes_max = 0;  // of a body; 413 past it; 0: any
  bool operator==(const RouteSpec&) const = default;
};

struct VirtualHostSpec {
  std::string name{};
  std::vector<std::string> domains{};  // "a.example", "*.example", "*"
  std::vector<RouteSpec> routes{};
  bool operator==(const VirtualHostSpec&) const = default;
};

struct CertificateSpec {
  std::string certificate_pem{}, key_pem{};
  std::string ocsp_der{};                   // stapled while it is valid; empty: nothing is
  bool ocsp_fetch = false;                  // instead: asked for where the certificate says (AIA), or at ocsp_url, by HTTP, by whoever runs the proxy
  std::string ocsp_url{};
  Milliseconds ocsp_refresh{3'600'000};     // at the latest; sooner, so that half of an answer's time is left
  std::vector<std::string> server_names{};  // empty: those of the certificate
  bool operator==(const CertificateSpec&) const = default;
};

struct TicketSpec {
  bool enabled = true;
  Milliseconds rotate{8 * 3'600'000};  // a key seals for so long, and opens for as long again
  std::vector<std::string> keys{};     // of files, the first seals; empty: made here
  bool operator==(const TicketSpec&) const = default;
};

// What becomes of peers with certificates while their connections live.
struct PeerSpec {
  std::string crl_pem{};           // empty: nothing is revoked
  Milliseconds grace{300'000};     // from the moment that a certificate expired, or was revoked, to the cut
  std::string key_log_path{};      // empty: no keys are ever written. Whoever reads it reads the traffic
  bool operator==(const PeerSpec&) const = default;
};

struct ServerTlsSpec {
  std::vector<CertificateSpec> certificates{};  // the first answers where no name fits
  std::string client_ca_pem{};
  bool require_client_certificate = false;
  std::vector<std::string> spiffe_ids{};  // accepted URI names of clients; "spiffe://td/ns/*" for a prefix; empty: any that verifies
  bool tls_1_3_only = false;
  bool http2 = false;  // ALPN offers it; that of the listener
  TicketSpec tickets{};
  PeerSpec peers{};
  bool operator==(const ServerTlsSpec&) const = default;
};

struct ClientTlsSpec {
  std::string ca_pem{};  // empty: the host's bundle
  std::string certificate_pem{}, key_pem{};
  std::string server_name{};  // SNI, and the name that is verified where no SPIFFE id is
  std::vector<std::string> spiffe_ids{};
  bool verify = true;
  bool resume = true;  // keeps the last session of each endpoint
  PeerSpec peers{};
  bool operator==(const ClientTlsSpec&) const = default;
};

struct SniRoute {
  std::vector<std::string> server_names{};
  std::string cluster{};
  bool operator==(const SniRoute&) const = default;
};

struct LocalRateLimitSpec {
  std::uint32_t tokens = 0;
  Milliseconds interval{1000};
  bool operator==(const LocalRateLimitSpec&) const = default;
};

struct FaultSpec {
  std::uint32_t delay_percent = 0, abort_percent = 0;
  Milliseconds delay{0};
  int abort_status = 503;
  bool operator==(const FaultSpec&) const = default;
};

struct CorsSpec {
  std::vector<StringMatch> allow_origins{};
  std::vector<std::string> allow_methods{}, allow_headers{}, expose_headers{};
  std::uint32_t max_age_s = 0;
  bool allow_credentials = false;
  bool operator==(const CorsSpec&) const = default;
};

struct RbacMatch {
  std::vector<StringMatch> principals{}, paths{};  // each list: any of them; empty: everything
  std::vector<StringMatch> common_names{}, hosts{};
  std::vector<std::string> methods{}, sources{};   // sources: CIDR
  std::vector<NamedMatch> headers{};               // all of them
  bool operator==(const RbacMatch&) const = default;
};

struct RbacRule {
  std::string name{};
  RbacMatch match{};
  std::optional<RbacMatch> except{};  // what it does not match, though match does
  bool operator==(const RbacRule&) const = default;
};

struct RbacSpec {
  bool deny = false;  // what a rule matches is refused; else only what one matches is let through
  bool shadow = false;  // what would be refused is logged and let through
  std::vector<RbacRule> rules{};
  bool operator==(const RbacSpec&) const = default;
};

// What a bucket of the node-wide rate limit is for: all parts together.
struct RateKey {
  enum class Kind : std::uint8_t { kHeader, kSourceAddress, kPrincipal, kPath, kRoute } kind = Kind::kSourceAddress;
  std::string name{};
  bool operator==(const RateKey&) const = default;
};

struct JwtProviderSpec {
  std::string name{};
  std::string issuer{};                  // as it stands in "iss"; empty: any
  std::vector<std::string> audiences{};  // one of them in "aud"; empty: any
  std::string jwks{};                    // the text of a set of keys; or, to be fetched:
  std::string jwks_cluster{}, jwks_host{}, jwks_path{};
  Milliseconds refresh{300'000}, timeout{5'000}, leeway{10'000};
  std::string header = "authorization", prefix = "Bearer ";  // where the token stands
  std::string query{}, cookie{};                             // or there, where these have names
  bool forward = true;                                       // the token goes on to the endpoint
  std::vector<HeaderValue> claims{};                         // header to set, and the claim ("a.b" for one within another)
  bool operator==(const JwtProviderSpec&) const = default;
};

struct JwtRule {
  std::vector<StringMatch> paths{};      // any of them; empty: all
  std::vector<std::string> methods{};
  enum class Need : std::uint8_t { kRequired, kOptional, kNone } need = Need::kRequired;
  std::vector<std::string> providers{};  // any of them; empty: any
  bool operator==(const JwtRule&) const = default;
};

// The first rule that matches decides; where none does a token is required.
struct JwtSpec {
  std::vector<JwtProviderSpec> providers{};
  std::vector<JwtRule> rules{};
  bool operator==(const JwtSpec&) const = default;
};

struct ExtAuthzSpec {
  std::string cluster{};
  bool grpc = false;
  std::string path_prefix{};                   // of what is asked by HTTP
  Milliseconds timeout{200};
  bool failure_allows = false;                 // no answer, or one of 5xx
  int failure_status = 403;
  std::vector<std::string> request_headers{};  // that go to the service; authorization and cookie only where named. gRPC, empty: all
  std::vector<std::string> upstream_headers{}; // of its answer, that go to the endpoint where it allows
  std::vector<std::string> client_headers{};   // of its answer, that go to the client where it does not
  bool operator==(const ExtAuthzSpec&) const = default;
};

// Requests are refused from these shares of memory_mb on; high ones from 100.
struct ShedSpec {
  std::string priority_header{};  // "high" and "low" in it; anything else, and where it is empty all: normal. Lowercase
  std::uint32_t low_percent = 80, normal_percent = 90;
  bool operator==(const ShedSpec&) const = default;
};

// One element of a listener's list of filters: its kind's name and what that kind takes.
struct FilterSpec {
  std::string kind{};
  std::string name{};  // of the table of a rate limit
  HeaderOperations request_headers{}, response_headers{};
  std::vector<RateKey> rate_keys{};
  JwtSpec jwt{};
  ExtAuthzSpec ext_authz{};
  LocalRateLimitSpec rate_limit{};
  ShedSpec shed{};
  FaultSpec fault{};
  CorsSpec cors{};
  RbacSpec rbac{};
  bool operator==(const FilterSpec&) const = default;
};

struct AccessLogSpec {
  std::string path{};    // empty: none; "/dev/stdout" and "/dev/stderr" as well
  std::string format{};  // text with %OPERATORS%; empty: the default one
  std::vector<HeaderValue> json{};  // name and operators; instead of format
  std::uint32_t rotate_mb = 0;      // a file that is larger is put aside; 0: whoever wants that tells us to reopen it
  std::uint32_t old_files_max = 1;
  bool operator==(const AccessLogSpec&) const = default;
};

struct ListenerSpec {
  enum class Protocol : std::uint8_t { kHttp, kTcp };
  std::string name{};
  std::string address{};  // "127.0.0.1:80", "[::]:80"
  std::string netns{};    // file of the network namespace to listen in; empty: the proxy's own
  bool intercepts = false;  // connections are redirected here; one whose original destination is not known is closed
  bool transparent = false; // with intercepts: they come by TPROXY, and their own address is where they were going
  Protocol protocol = Protocol::kHttp;
  std::optional<ServerTlsSpec> tls{};
  bool proxy_protocol = false;  // every connection begins with a PROXY header, v1 or v2
  bool http2 = true;            // beside HTTP/1.1: by ALPN with tls, else by prior knowledge
  bool edge = true;             // clients are strangers: their x-forwarded-* are not believed
  bool merge_slashes = true;
  bool explain_header = false;  // a request with x-monopod-explain gets an answer with it, which says where it went and why
  std::vector<VirtualHostSpec> virtual_hosts{};
  std::vector<FilterSpec> filters{};
  bool sockmap = false;   // kTcp: plain connections are joined inside the kernel, where it can; for peers on this node
  std::vector<std::string> sockmap_peers{};  // CIDRs: only where client and endpoint are of these; empty: any
  std::string cluster{};  // kTcp: where all goes that no SNI route takes
  std::vector<SniRoute> sni{};
  AccessLogSpec access_log{};
  std::uint32_t connections_max = 10'000;
  Milliseconds header_timeout{10'000};  // first byte of a head, or of a handshake, to its end
  Milliseconds idle_timeout{60'000};    // keep-alive without a request; a tunnel without a byte: an hour at least
  bool operator==(const ListenerSpec&) const = default;
};

struct EndpointSpec {
  std::string address{};  // "10.0.0.1:80", "[::1]:80", or a name that is looked up: "api.test:80"
  std::uint32_t weight = 1;
  std::uint32_t priority = 0;  // the lowest takes all while it is well
  std::string zone{};          // another zone than the proxy's comes behind those of its own, or of none, at the same priority
  bool operator==(const EndpointSpec&) const = default;
};

struct HealthCheckSpec {
  std::string path{};  // empty: a connection is enough
  std::string host{};
  Milliseconds interval{5000}, timeout{1000};
  std::uint32_t healthy_threshold = 1, unhealthy_threshold = 3;
  bool operator==(const HealthCheckSpec&) const = default;
};

// Where names are looked up.
struct DnsSpec {
  std::vector<std::string> servers{};  // "ADDRESS:PORT", in order
  std::vector<std::string> search{};
  std::uint32_t ndots = 1;
  std::string hosts{};                 // text as /etc/hosts
  Milliseconds ttl_min{1000}, ttl_max{3'600'000}, timeout{2000};  // timeout: of one question to one server
  bool operator==(const DnsSpec&) const = default;
};

// Endpoints are compared by their requests of an interval.
struct OutlierRateSpec {
  std::uint32_t percent = 0;  // success_rate: of a standard deviation below the mean; failure_rate: of requests that failed
  std::uint32_t endpoints_min = 5, requests_min = 100;  // so many endpoints have had so many requests each; else nobody is judged
  bool operator==(const OutlierRateSpec&) const = default;
};

// In a row, each 0: not looked at. Those gRPC statuses count as 503 that say the server failed.
struct OutlierSpec {
  std::uint32_t consecutive_5xx = 5;
  std::uint32_t consecutive_gateway_errors = 0;  // 502, 503, 504
  std::uint32_t consecutive_local_errors = 0;    // no connection, or one that was lost, or no answer in time; 0: these count as 5xx and as gateway errors
  std::optional<OutlierRateSpec> success_rate{}, failure_rate{};
  Milliseconds interval{10'000};  // of the rates
  Milliseconds base_ejection{30'000};
  Milliseconds ejection_max{300'000};  // base_ejection times how often in a row, and no more than this
  std::uint32_t ejected_percent_max = 50;
  bool operator==(const OutlierSpec&) const = default;
};

// Retries and hedges of a window: no more than percent of its other requests, or min.
struct RetryBudgetSpec {
  std::uint32_t percent = 20, min = 3;
  Milliseconds window{10'000};
  bool operator==(const RetryBudgetSpec&) const = default;
};

struct ClusterSpec {
  bool original_destination = false;  // there are no endpoints: each connection goes where it was going (ListenerSpec::intercepts)
  bool original_source = false;       // each connection comes from its client's address (IP_TRANSPARENT), with network::kTransparentMark
  std::string netns{};                // file of the network namespace to connect from; empty: the proxy's own
  std::uint32_t mark = 0;             // SO_MARK of its sockets; 0: none
  enum class Balancer : std::uint8_t { kRoundRobin, kLeastRequest, kEwma, kRandom, kRingHash, kMaglev };
  std::string name{};
  std::vector<EndpointSpec> endpoints{};
  Balancer balancer = Balancer::kRoundRobin;
  Milliseconds connect_timeout{1000};
  Milliseconds idle_timeout{60'000};  // of a pooled connection
  std::uint32_t connections_max = 1024, pending_max = 1024, requests_max = 1024, retries_max = 3;
  std::optional<RetryBudgetSpec> retry_budget{};
  std::optional<ClientTlsSpec> tls{};
  bool http2 = false;  // endpoints speak HTTP/2 and nothing else: by ALPN with tls, else by prior knowledge
  enum class ProxyProtocol : std::uint8_t { kNone, kV1, kV2 } proxy_protocol = ProxyProtocol::kNone;
  std::optional<HealthCheckSpec> health_check{};
  std::optional<OutlierSpec> outlier{};
  Milliseconds slow_start{0};       // an endpoint that is new or back takes a growing share for so long; 0: all at once
  std::uint32_t panic_percent = 0;  // fewer endpoints of a priority are available: all count as if they were
  std::string zone{};               // the proxy's
  DnsSpec dns{};                    // of clusters with names
  bool operator==(const ClusterSpec&) const = default;
};

struct TracingSpec {
  std::string cluster{};                // takes OTLP over HTTP
  std::string host{}, path = "/v1/traces";
  std::string service = "monopod-proxy";
  std::uint32_t sample_percent = 1;     // of requests that nobody before us decided on
  enum class Context : std::uint8_t { kW3c, kB3, kBoth } context = Context::kW3c;  // what goes on to endpoints; both are understood
  bool operator==(const TracingSpec&) const = default;
};

// Redirect rules in a pod's network namespace, set by whoever runs the proxy (network/intercept.h).
struct InterceptionSpec {
  std::string netns{};
  std::uint16_t inbound_port = 0, outbound_port = 0;  // of listeners there; 0: none
  bool transparent = false, outbound_transparent = false;  // by TPROXY: inbound, outbound
  std::vector<std::uint32_t> inbound_ports_excluded{}, outbound_ports_excluded{}, uids_excluded{};
  std::vector<std::string> cidrs_excluded{};
  std::uint32_t mark_excluded = 0;
  bool operator==(const InterceptionSpec&) const = default;
};

struct Spec {
  std::vector<InterceptionSpec> interceptions{};
  std::vector<ListenerSpec> listeners{};
  std::vector<ClusterSpec> clusters{};
  std::string admin_socket{};  // empty: none
  std::optional<TracingSpec> tracing{};
  std::uint32_t memory_mb = 0;  // of the process: past it no connection is taken; 0: any
  bool operator==(const Spec&) const = default;
};

}  // namespace monopod::proxy
