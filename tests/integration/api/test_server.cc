// An API server of its own for tests with real clients: TLS on a free port of 127.0.0.1, the store in a file or in memory, the
// fixtures that controllers would make. Writes an admin kubeconfig, prints "ready" and serves until its stdin closes.
//
//   api_test_server KUBECONFIG [STORE-FILE | etcd:ENDPOINT,ENDPOINT...]
#include <unistd.h>

#include <cstdio>
#include <fstream>

#include "api/server.h"
#include "async/loop.h"
#include "async/scope.h"
#include "base/log.h"
#include "base/strings.h"
#include "etcd/cluster/cluster_backend.h"
#include "http/server.h"
#include "pki/pki.h"
#include "store/sqlite_backend.h"

namespace monopod {
namespace {

struct Fixture {
  std::string_view group, version, plural, ns, body;
};
// What controllers and a node would have made.
constexpr Fixture kFixtures[] = {
    {"", "v1", "serviceaccounts", "default", R"({"apiVersion":"v1","kind":"ServiceAccount","metadata":{"name":"default"}})"},
    {"", "v1", "nodes", "", R"({"apiVersion":"v1","kind":"Node","metadata":{"name":"node1","labels":{"kubernetes.io/hostname":"node1"}},)"
                            R"("status":{"conditions":[{"type":"Ready","status":"True","reason":"KubeletReady"}],"nodeInfo":{"kubeletVersion":"v1.35.0"}}})"},
    {"", "v1", "events", "default", R"({"apiVersion":"v1","kind":"Event","metadata":{"name":"e1"},"involvedObject":{"kind":"Pod","namespace":"default","name":"p"},)"
                                    R"("reason":"Started","message":"Started container c","type":"Normal","count":1,"firstTimestamp":"2026-01-01T00:00:00Z","lastTimestamp":"2026-01-01T00:00:00Z"})"},
};

Result<> write_kubeconfig(const std::string& path, std::uint16_t port, const pki::CertificateAuthority& ca, const pki::KeyPair& admin) {
  std::ofstream file(path);
  file << "apiVersion: v1\nkind: Config\ncurrent-context: test\nclusters:\n- name: test\n  cluster:\n    server: https://127.0.0.1:" << port
       << "\n    certificate-authority-data: " << format_base64(ca.certificate_pem())
       << "\ncontexts:\n- name: test\n  context:\n    cluster: test\n    user: admin\nusers:\n- name: admin\n  user:\n    client-certificate-data: "
       << format_base64(admin.certificate_pem) << "\n    client-key-data: " << format_base64(admin.key_pem) << '\n';
  if (!file.flush()) return fail(Code::kInternal, "write kubeconfig");
  return {};
}

async::Task<Result<>> until_stdin_closes(async::Pool& pool) {
  auto wait = [] {
    char byte;
    while (read(0, &byte, 1) > 0) {
    }
  };
  co_await pool.run(wait);
  co_return Result<>();
}

async::Task<Result<>> serve_on(async::Executor executor, std::string kubeconfig, store::Backend& store, async::Time& time, Rng& rng, async::Pool& pool) {
  async::Pool stdin_pool(1);
  CO_TRY_ASSIGN(pki::CertificateAuthority ca, pki::CertificateAuthority::make(time));
  CO_TRY_ASSIGN(pki::KeyPair serving, ca.issue(time, {.common_name = "kube-apiserver", .dns_names = {"localhost"}, .ip_addresses = {"127.0.0.1"}, .server = true}));
  CO_TRY_ASSIGN(pki::KeyPair admin, ca.issue(time, {.common_name = "admin", .organizations = {"system:masters"}, .client = true}));
  api::NoNodeHandlers nodes;
  api::ApiServer server({executor, store, time, rng, pool, nodes}, {.advertise_address = "192.0.2.1"});
  CO_TRY(co_await server.start());
  CO_TRY_ASSIGN(auto tls, http::TlsServer::make({.certificate_pem = serving.certificate_pem, .key_pem = serving.key_pem,
                                                 .client_ca_pem = ca.certificate_pem(), .client_certificate = http::ClientCertificate::kOptional}));
  CO_TRY_ASSIGN(sys::Fd listener, http::listen_tcp("127.0.0.1", 0));
  CO_TRY_ASSIGN(std::uint16_t port, http::local_port(listener));
  CO_TRY(write_kubeconfig(kubeconfig, port, ca, admin));
  http::Server front(executor, time, server, {.tls = tls.get()});
  async::Scope scope(executor);
  scope.spawn(server.run());
  scope.spawn(front.serve(std::move(listener)));
  auto local = server.local(api::system_user("fixtures"));
  for (const Fixture& f : kFixtures) {
    auto made = co_await local->create({{std::string(f.group), std::string(f.version), std::string(f.plural)}, std::string(f.ns), "", ""}, std::string(f.body), {});
    if (!made && made.error().code() != Code::kAlreadyExists) log::warn("fixture", {{"plural", f.plural}, {"error", made.error()}});
  }
  std::puts("ready");
  std::fflush(stdout);
  CO_TRY(co_await until_stdin_closes(stdin_pool));
  scope.cancel();
  Result<> ended = co_await scope.join();
  if (!ended && ended.error().code() != Code::kCancelled) log::error("server ended", {{"error", ended.error()}});
  co_return Result<>();
}

async::Task<Result<>> serve(async::Executor executor, std::string kubeconfig, std::string where) {
  async::RealTime time;
  SystemRng rng;
  async::Pool pool(2);
  if (where.starts_with("etcd:")) {
    etcd::ClusterOptions options{.open_timeout = std::chrono::seconds(20)};
    for (std::string_view endpoint : split(std::string_view(where).substr(5), ',')) options.client.endpoints.emplace_back(endpoint);
    CO_TRY_ASSIGN(auto cluster, co_await etcd::ClusterBackend::open(std::move(options), time));
    Result<> served = co_await serve_on(executor, std::move(kubeconfig), *cluster, time, rng, pool);
    CO_TRY(co_await cluster->close());
    co_return served;
  }
  CO_TRY_ASSIGN(auto store, co_await store::SqliteBackend::open({.path = std::move(where)}, pool, time, rng));
  Result<> served = co_await serve_on(executor, std::move(kubeconfig), *store, time, rng, pool);
  CO_TRY(co_await store->close());
  co_return served;
}

}  // namespace
}  // namespace monopod

int main(int argc, char** argv) {
  if (argc < 2) return 64;
  monopod::pki::initialise();
  monopod::async::Loop loop;
  auto result = loop.run(monopod::serve(loop.executor(), argv[1], argc > 2 ? argv[2] : ":memory:"));
  if (result) return 0;
  monopod::log::error("test server failed", {{"error", result.error()}});
  return 1;
}
