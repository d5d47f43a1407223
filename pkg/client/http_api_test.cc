#include "client/http_api.h"

#include <gtest/gtest.h>

#include <cstring>

#include "api/testing.h"
#include "base/bytes.h"
#include "base/strings.h"
#include "client/informer.h"
#include "http/server.h"
#include "http/tls.h"
#include "pki/authority.h"

namespace monopod::client {
namespace {

using api::Reply;
using api::TestCluster;
using namespace std::chrono_literals;

// The API server, but as its guests find it: busy, slow, gone.
class Moody final : public http::Handler {
 public:
  explicit Moody(async::Executor executor) : never_(executor) {}
  async::Task<Result<>> handle(http::Exchange& exchange) override {
    ++requests;
    last_agent = exchange.request().headers.find("user-agent").value_or("");
    if (refuse > 0) {
      --refuse;
      http::Headers headers{{"content-type", "application/json"}};
      if (!retry_after.empty()) headers.set("retry-after", retry_after);
      co_return co_await exchange.respond(refuse_with, std::move(headers), share(R"({"kind":"Status","apiVersion":"v1","status":"Failure","reason":"TooManyRequests","message":"too busy","code":429})"));
    }
    if (hang) co_return co_await never_.wait();
    co_return co_await server->handle(exchange);
  }
  http::Handler* server = nullptr;
  int requests = 0, refuse = 0, refuse_with = 429;
  std::string retry_after = "0", last_agent;
  bool hang = false;

 private:
  async::Event never_;
};

// A cluster behind TLS on a port of its own, with a kubeconfig of an admin.
struct Rig {
  explicit Rig(TestCluster& on) : cluster(on), moody(on.executor), serving(std::make_unique<async::Scope>(on.executor)), connections(on.executor) { moody.server = on.server.get(); }

  async::Task<Result<>> start() {
    CO_TRY_ASSIGN(pki::CertificateAuthority made, pki::CertificateAuthority::make(real));
    ca.emplace(std::move(made));
    CO_TRY_ASSIGN(pki::KeyPair pair, ca->issue(real, {.common_name = "kube-apiserver", .dns_names = {"localhost"}, .ip_addresses = {"127.0.0.1"}, .server = true}));
    CO_TRY_ASSIGN(tls, http::TlsServer::make({.certificate_pem = pair.certificate_pem, .key_pem = pair.key_pem, .client_ca_pem = ca->certificate_pem(), .client_certificate = http::ClientCertificate::kOptional}));
    co_return serve();
  }
  Result<> serve() {
    server = std::make_unique<http::Server>(cluster.executor, real, moody, http::ServerOptions{.tls = tls.get()});
    TRY_ASSIGN(sys::Fd socket, http::listen_tcp("127.0.0.1", port));
    port = *http::local_port(socket);
    serving->spawn(server->serve(std::move(socket)));
    return {};
  }
  async::Task<> stop_serving() {
    serving->cancel();
    (void)co_await serving->join();
    server.reset();
    serving = std::make_unique<async::Scope>(cluster.executor);
  }
  Result<std::string> kubeconfig() {
    // The certificate's times are the server's clock: it stands still in the past of this machine's.
    TRY_ASSIGN(pki::KeyPair admin, ca->issue(cluster.time, {.common_name = "admin", .organizations = {"system:masters"}, .client = true}));
    return cat("apiVersion: v1\nkind: Config\ncurrent-context: here\ncontexts:\n- {name: here, context: {cluster: c, user: u, namespace: ours}}\n- {name: token, context: {cluster: c, user: t}}\nclusters:\n- name: c\n  cluster: {server: 'https://127.0.0.1:",
               port, "', certificate-authority-data: ", format_base64(ca->certificate_pem()), "}\nusers:\n- name: u\n  user: {client-certificate-data: ", format_base64(admin.certificate_pem), ", client-key-data: ", format_base64(admin.key_pem),
               "}\n- name: t\n  user: {tokenFile: token}\n");
  }
  Result<std::unique_ptr<HttpApi>> connect(std::string_view context = {}, Duration timeout = 30s) {
    TRY_ASSIGN(std::string text, kubeconfig());
    auto read = [this](const std::string& path) -> Result<std::string> {
      ++files_read;
      if (path != "/etc/x/token") return fail(Code::kNotFound, path);
      return token;
    };
    TRY_ASSIGN(ClusterConfig config, parse_kubeconfig(text, context, "/etc/x", read));
    return HttpApi::make({.background = connections, .executor = cluster.executor, .time = real, .rng = cluster.rng, .read_file = read, .user_agent = "test/1", .response_timeout = timeout}, std::move(config));
  }
  async::Task<> stop() {
    connections.cancel();
    (void)co_await connections.join();
    co_await stop_serving();
  }

  TestCluster& cluster;
  async::RealTime real;
  Moody moody;
  std::optional<pki::CertificateAuthority> ca;
  std::unique_ptr<http::TlsServer> tls;
  std::unique_ptr<http::Server> server;
  std::unique_ptr<async::Scope> serving;
  async::Scope connections;
  std::uint16_t port = 0;
  std::string token = "admin-token\n";
  int files_read = 0;
};

using Body = async::Task<Result<>> (*)(TestCluster&, Rig&);
template <Body body>
async::Task<Result<>> with_rig(TestCluster& cluster) {
  Rig rig(cluster);
  Result<> out = co_await rig.start();
  if (out) out = co_await body(cluster, rig);
  co_await rig.stop();
  co_return out;
}

json::Value config_map(std::string_view name, std::string_view value) {
  return json::Object{{"apiVersion", "v1"}, {"kind", "ConfigMap"}, {"metadata", json::Object{{"name", name}}}, {"data", json::Object{{"k", value}}}};
}

async::Task<Result<>> verbs(TestCluster&, Rig& rig) {
  CO_TRY_ASSIGN(std::unique_ptr<HttpApi> api, rig.connect());
  CO_TRY_ASSIGN(Object made, co_await api->create(resources::kConfigMaps, "default", config_map("a", "1"), {.field_manager = "me"}));
  EXPECT_EQ(made.key(), "default/a");
  EXPECT_EQ(rig.moody.last_agent, "test/1");
  EXPECT_EQ((co_await api->create(resources::kConfigMaps, "default", config_map("a", "1"), {})).error().code(), Code::kAlreadyExists);
  CO_TRY_ASSIGN(Object patched, co_await api->patch(resources::kConfigMaps, "default", "a", PatchType::kMerge, json::Object{{"data", json::Object{{"k", "2"}}}}, {}));
  EXPECT_EQ(json::get_string(patched.tree(), {"data", "k"}), "2");
  Result<Object> stale = co_await api->update(resources::kConfigMaps, "default", "a", made.tree(), {});
  EXPECT_EQ(stale.error().code(), Code::kAborted);
  EXPECT_NE(stale.error().message().find("the object has been modified"), std::string::npos);
  CO_TRY_ASSIGN(Object applied, co_await api->patch(resources::kConfigMaps, "default", "b", PatchType::kApply, config_map("b", "x"), {.field_manager = "me", .force = true}));
  EXPECT_EQ(applied.name, "b");
  CO_TRY_ASSIGN(ObjectList first, co_await api->list(resources::kConfigMaps, {.ns = "default", .limit = 1}));
  CO_TRY_ASSIGN(ObjectList second, co_await api->list(resources::kConfigMaps, {.ns = "default", .continue_token = first.continue_token}));
  EXPECT_EQ(first.items.size() + second.items.size(), 2U);
  EXPECT_EQ(json::get_string(second.items.at(0).tree(), {"kind"}), "ConfigMap");
  EXPECT_EQ((co_await api->get(resources::kConfigMaps, "default", "none")).error().code(), Code::kNotFound);
  EXPECT_EQ((co_await api->get(resources::kConfigMaps, "default", "../a")).error().code(), Code::kInvalidArgument);
  EXPECT_EQ((co_await api->list(resources::kConfigMaps, {.label_selector = "a in ("})).error().code(), Code::kInvalidArgument);
  CO_TRY_ASSIGN(Object account, co_await api->create(resources::kServiceAccounts, "default", json::Object{{"metadata", json::Object{{"name", "sa"}}}}, {}));
  CO_TRY_ASSIGN(json::Value issued, co_await api->post(resources::kServiceAccounts, "default", "sa", "token", json::parse(R"({"apiVersion":"authentication.k8s.io/v1","kind":"TokenRequest","spec":{}})").value()));
  EXPECT_FALSE(json::get_string(issued, {"status", "token"}).empty());
  EXPECT_EQ((co_await api->remove(resources::kConfigMaps, "default", "a", {.precondition_uid = "another"})).error().code(), Code::kAborted);
  CO_TRY(co_await api->remove(resources::kConfigMaps, "default", "a", {.precondition_uid = made.uid}));
  EXPECT_EQ((co_await api->get(resources::kConfigMaps, "default", "a")).error().code(), Code::kNotFound);
  co_return Result<>();
}
TEST(HttpApi, SpeaksToAServerAsLocalApiDoes) { api::with_cluster(with_rig<verbs>); }

async::Task<Result<>> tokens(TestCluster&, Rig& rig) {
  CO_TRY_ASSIGN(std::unique_ptr<HttpApi> api, rig.connect("token"));
  CO_TRY_ASSIGN(ObjectList some, co_await api->list(resources::kNamespaces, {}));
  EXPECT_FALSE(some.items.empty());
  CO_TRY_ASSIGN(some, co_await api->list(resources::kNamespaces, {}));
  EXPECT_EQ(rig.files_read, 1) << "not for each request";
  rig.token = "nonsense";
  CO_TRY_ASSIGN(std::unique_ptr<HttpApi> other, rig.connect("token"));
  EXPECT_EQ((co_await other->list(resources::kNamespaces, {})).error().code(), Code::kUnauthenticated);
  co_return Result<>();
}
TEST(HttpApi, TokensComeFromAFile) { api::with_cluster(with_rig<tokens>); }

async::Task<Result<>> busy(TestCluster&, Rig& rig) {
  CO_TRY_ASSIGN(std::unique_ptr<HttpApi> api, rig.connect());
  rig.moody.refuse = 3;
  CO_TRY_ASSIGN(Object made, co_await api->create(resources::kConfigMaps, "default", config_map("a", "1"), {}));
  EXPECT_EQ(rig.moody.requests, 4) << "sent again, with its body";
  rig.moody.refuse = 1;
  rig.moody.refuse_with = 503;
  CO_TRY_ASSIGN(Object read, co_await api->get(resources::kConfigMaps, "default", "a"));
  rig.moody.refuse = 1;
  rig.moody.retry_after = "";
  EXPECT_FALSE(co_await api->get(resources::kConfigMaps, "default", "a")) << "503 without a word on when";
  rig.moody.requests = 0;
  rig.moody.refuse = 100;
  rig.moody.refuse_with = 429;
  rig.moody.retry_after = "0";
  Result<Object> refused = co_await api->get(resources::kConfigMaps, "default", "a");
  EXPECT_EQ(refused.error().code(), Code::kResourceExhausted);
  EXPECT_EQ(refused.error().message(), "too busy");
  EXPECT_EQ(rig.moody.requests, kRetriesMax + 1);
  rig.moody.refuse = 0;
  co_return Result<>();
}
TEST(HttpApi, ABusyServerIsAskedAgain) { api::with_cluster(with_rig<busy>); }

async::Task<Result<>> slow(TestCluster&, Rig& rig) {
  CO_TRY_ASSIGN(std::unique_ptr<HttpApi> api, rig.connect("here", 200ms));
  rig.moody.hang = true;
  EXPECT_EQ((co_await api->get(resources::kConfigMaps, "default", "a")).error().code(), Code::kDeadlineExceeded);
  rig.moody.hang = false;
  EXPECT_EQ((co_await api->get(resources::kConfigMaps, "default", "a")).error().code(), Code::kNotFound) << "the connection is still good";
  co_await rig.stop_serving();
  EXPECT_EQ((co_await api->get(resources::kConfigMaps, "default", "a")).error().code(), Code::kUnavailable);
  CO_TRY(rig.serve());
  EXPECT_EQ((co_await api->get(resources::kConfigMaps, "default", "a")).error().code(), Code::kNotFound) << "and a new one is made";
  co_return Result<>();
}
TEST(HttpApi, ASlowOrAbsentServerIsAnErrorAndNoEnd) { api::with_cluster(with_rig<slow>); }

async::Task<Result<bool>> seen(TestCluster& cluster, Informer& informer, std::string key, std::string value) {
  for (auto end = std::chrono::steady_clock::now() + 10s; std::chrono::steady_clock::now() < end;) {
    ObjectPtr object = informer.indexer().find(key);
    if (object && json::get_string(object->tree(), {"data", "k"}) == value) co_return true;
    if (!object && value.empty()) co_return true;
    co_await async::asio::post(cluster.executor, async::use_task);
  }
  co_return false;
}

async::Task<Result<>> restarts(TestCluster& cluster, Rig& rig) {
  CO_TRY_ASSIGN(std::unique_ptr<HttpApi> api, rig.connect());
  const std::string maps = "/api/v1/namespaces/default/configmaps";
  CO_CALL(a, "POST", maps, R"({"metadata":{"name":"a"},"data":{"k":"1"}})");
  CO_CALL(b, "POST", maps, R"({"metadata":{"name":"b"},"data":{"k":"1"}})");
  // Its back-off is on the clock that stands still in tests: nudged below.
  InformerFactory informers(cluster.executor, *api, rig.real, cluster.rng);
  Informer& informer = informers.informer(resources::kConfigMaps, {.ns = "default"});
  int added = 0, gone = 0;
  informer.add_handler([&](const ObjectPtr& old, const ObjectPtr& now) {
    added += !old && now;
    gone += old && !now;
  });
  async::Scope scope(cluster.executor);
  scope.spawn(informers.run());
  CO_TRY_ASSIGN(bool first, co_await seen(cluster, informer, "default/a", "1"));
  EXPECT_TRUE(first);
  CO_CALL(changed, "PATCH", maps + "/a", R"({"data":{"k":"2"}})", {{"content-type", "application/merge-patch+json"}});
  CO_TRY_ASSIGN(bool second, co_await seen(cluster, informer, "default/a", "2"));
  EXPECT_TRUE(second) << "by the watch";
  co_await rig.stop_serving();
  CO_CALL(meanwhile, "PATCH", maps + "/a", R"({"data":{"k":"3"}})", {{"content-type", "application/merge-patch+json"}});
  CO_CALL(removed, "DELETE", maps + "/b");
  CO_CALL(c, "POST", maps, R"({"metadata":{"name":"c"},"data":{"k":"1"}})");
  CO_TRY(rig.serve());
  CO_TRY_ASSIGN(bool third, co_await seen(cluster, informer, "default/a", "3"));
  CO_TRY_ASSIGN(bool without, co_await seen(cluster, informer, "default/b", ""));
  CO_TRY_ASSIGN(bool with, co_await seen(cluster, informer, "default/c", "1"));
  EXPECT_TRUE(third && without && with) << "what happened while nobody served";
  EXPECT_EQ(added, 3) << "nothing twice";
  EXPECT_EQ(gone, 1);
  scope.cancel();
  (void)co_await scope.join();
  co_return Result<>();
}
TEST(HttpApi, InformersOutliveTheServer) { api::with_cluster(with_rig<restarts>); }

TEST(ClusterConfig, SaysWhatIsMissingOrNotSupported) {
  auto none = [](const std::string& path) -> Result<std::string> { return fail(Code::kNotFound, path); };
  auto config = [&](std::string_view user, std::string_view cluster = "server: https://x") {
    std::string text = cat("current-context: a\ncontexts: [{name: a, context: {cluster: c, user: u}}]\nclusters: [{name: c, cluster: {", cluster, "}}]\nusers: [{name: u, user: {", user, "}}]");
    return parse_kubeconfig(text, "", "/f", none);
  };
  EXPECT_TRUE(config("token: t"));
  EXPECT_EQ(config("exec: {command: x}").error().message(), "kubeconfig: user u: exec is not supported");
  EXPECT_EQ(config("username: x").error().message(), "kubeconfig: user u: username is not supported");
  EXPECT_EQ(config("client-key-data: '%'").error().message(), "kubeconfig: client-key-data is not base64");
  EXPECT_EQ(config("client-certificate: x.pem").error().message(), "kubeconfig: client-certificate: /f/x.pem");
  EXPECT_EQ(config("token: t", "proxy-url: http://p, server: https://x").error().message(), "kubeconfig: proxy-url is not supported");
  EXPECT_EQ(config("token: t", "insecure-skip-tls-verify: true").error().message(), "kubeconfig: cluster c: no server");
  EXPECT_EQ(parse_kubeconfig("{}", "", "/f", none).error().message(), "kubeconfig: no current-context, and none was chosen");
  EXPECT_EQ(parse_kubeconfig("{}", "b", "/f", none).error().message(), "kubeconfig: no context \"b\"");
  EXPECT_FALSE(parse_kubeconfig("[", "", "/f", none));
  auto account = [](const std::string& path) -> Result<std::string> { return path.ends_with("namespace") ? std::string("ours\n") : std::string("PEM"); };
  auto inside = in_cluster_config("fd00::1", "443", account);
  ASSERT_TRUE(inside);
  EXPECT_EQ(inside->server, "https://[fd00::1]:443");
  EXPECT_EQ(inside->ns, "ours");
  EXPECT_EQ(inside->token_file, "/var/run/secrets/kubernetes.io/serviceaccount/token");
  EXPECT_EQ(in_cluster_config("", "", account).error().code(), Code::kFailedPrecondition);
}

}  // namespace
}  // namespace monopod::client
