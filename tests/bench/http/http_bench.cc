// The HTTP/1.1 server's own cost, asked by a blocking client in a process of its own: CPU and wall time of a GET over a
// keep-alive connection, plain and TLS, of a POST in chunks, and the heap of an idle TLS connection. "name value unit", one a line.
//   http_bench [REQUESTS]
#include <arpa/inet.h>
#include <malloc.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <openssl/ssl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <ctime>

#include "async/loop.h"
#include "async/scope.h"
#include "base/strings.h"
#include "http/server.h"
#include "pki/pki.h"

namespace monopod {
namespace {

constexpr std::size_t kAnswerBytes = 1000;
constexpr std::size_t kIdle = 1000;

double now_us(clockid_t clock) {
  timespec t{};
  clock_gettime(clock, &t);
  return static_cast<double>(t.tv_sec) * 1e6 + static_cast<double>(t.tv_nsec) / 1e3;
}
void print(const std::string& name, double value, const char* unit) { std::printf("%-36s %12.3f %s\n", name.c_str(), value, unit); }

// /cpu and /heap: the server process's own numbers; /quit ends it; anything else is 1,000 bytes after the body is read.
class Answers final : public http::Handler {
 public:
  explicit Answers(async::Scope& scope) : scope_(scope) {}
  async::Task<Result<>> handle(http::Exchange& exchange) override {
    std::string target = exchange.request().target;
    std::string text(kAnswerBytes, 'x');
    if (target == "/cpu") text = std::to_string(now_us(CLOCK_PROCESS_CPUTIME_ID));
    if (target == "/heap") text = std::to_string(mallinfo2().uordblks);
    if (target == "/quit") scope_.cancel();
    CO_TRY_ASSIGN(std::string body, co_await exchange.read_body(1U << 20));
    co_return co_await exchange.respond(200, {{"Content-Type", "application/json"}}, std::move(text));
  }

 private:
  async::Scope& scope_;
};

[[noreturn]] void die(const char* what) {
  std::perror(what);
  std::_Exit(1);
}

// One blocking connection.
class Connection {
 public:
  Connection(std::uint16_t port, SSL_CTX* tls) : socket_(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
    sockaddr_in to{};
    to.sin_family = AF_INET;
    to.sin_port = htons(port);
    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    if (::connect(socket_, reinterpret_cast<sockaddr*>(&to), sizeof to) != 0) die("connect");
    int on = 1;
    ::setsockopt(socket_, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    if (tls == nullptr) return;
    ssl_ = SSL_new(tls);
    SSL_set_fd(ssl_, socket_);
    if (SSL_connect(ssl_) != 1) die("tls");
  }

  std::string ask(const std::string& request) {
    int sent = ssl_ != nullptr ? SSL_write(ssl_, request.data(), static_cast<int>(request.size())) : static_cast<int>(::send(socket_, request.data(), request.size(), 0));
    if (sent != static_cast<int>(request.size())) die("write");
    std::string answer;
    for (std::size_t whole = std::string::npos; answer.size() < whole;) {
      char buffer[4096];
      int n = ssl_ != nullptr ? SSL_read(ssl_, buffer, sizeof buffer) : static_cast<int>(::recv(socket_, buffer, sizeof buffer, 0));
      if (n <= 0) die("read");
      answer.append(buffer, static_cast<std::size_t>(n));
      std::size_t end = answer.find("\r\n\r\n");
      std::size_t length = answer.find("Content-Length: ");
      if (end != std::string::npos && length != std::string::npos) whole = end + 4 + std::strtoul(answer.c_str() + length + 16, nullptr, 10);
    }
    if (!answer.starts_with("HTTP/1.1 200")) die(answer.c_str());
    return answer.substr(answer.find("\r\n\r\n") + 4);
  }
  double number(const char* target) { return std::strtod(ask(cat("GET ", target, " HTTP/1.1\r\nHost: a\r\n\r\n")).c_str(), nullptr); }

 private:
  int socket_;
  SSL* ssl_ = nullptr;
};

// What kubectl sends.
std::string kubectl(std::string_view method, std::string_view fields) {
  return cat(method, " /api/v1/namespaces/default/pods/web-5d4f8c7b9-x2x7q HTTP/1.1\r\nHost: 127.0.0.1:6443\r\n"
             "User-Agent: kubectl/v1.31.0 (linux/amd64) kubernetes/9edcffc\r\nAccept: application/json;as=Table;v=v1;g=meta.k8s.io,application/json\r\n"
             "Authorization: Bearer 0123456789abcdef0123456789abcdef0123456789abcdef\r\nKubectl-Command: kubectl get\r\n"
             "Kubectl-Session: 6b7a4c7f-4f6c-4f57-8b53-2d5a8d2b7c11\r\nAccept-Encoding: gzip\r\n", fields, "\r\n");
}

void measure(Connection& connection, const std::string& name, const std::string& request, int requests) {
  for (int i = 0; i < requests / 10; ++i) connection.ask(request);
  double cpu = connection.number("/cpu");
  double wall = now_us(CLOCK_MONOTONIC);
  for (int i = 0; i < requests; ++i) connection.ask(request);
  wall = now_us(CLOCK_MONOTONIC) - wall;
  print(name + " wall", wall / requests, "us");
  print(name + " server CPU", (connection.number("/cpu") - cpu) / requests, "us");
}

void run_client(std::uint16_t plain, std::uint16_t secure, int requests) {
  SSL_CTX* tls = SSL_CTX_new(TLS_client_method());
  SSL_CTX_set_verify(tls, SSL_VERIFY_NONE, nullptr);
  Connection one(plain, nullptr);
  measure(one, "h1 GET", kubectl("GET", ""), requests);
  std::string chunks;
  for (int i = 0; i < 4; ++i) chunks += cat("100\r\n", std::string(256, 'j'), "\r\n");
  measure(one, "h1 POST chunked", cat(kubectl("POST", "Transfer-Encoding: chunked\r\n"), chunks, "0\r\n\r\n"), requests);
  measure(one, "h1 POST sized", cat(kubectl("POST", "Content-Length: 1024\r\n"), std::string(1024, 'j')), requests);
  Connection two(secure, tls);
  measure(two, "h1 TLS GET", kubectl("GET", ""), requests);
  double heap = one.number("/heap");
  std::vector<std::unique_ptr<Connection>> idle;
  for (std::size_t i = 0; i < kIdle; ++i) {
    idle.push_back(std::make_unique<Connection>(secure, tls));
    idle.back()->ask(kubectl("GET", ""));
  }
  print("heap per idle h1 TLS connection", (one.number("/heap") - heap) / static_cast<double>(kIdle) / 1e3, "KB");
  one.ask("GET /quit HTTP/1.1\r\nHost: a\r\n\r\n");
}

async::Task<Result<>> run(async::Executor executor, int requests) {
  async::RealTime time;
  RealClock clock;
  CO_TRY_ASSIGN(auto ca, pki::CertificateAuthority::make(clock));
  CO_TRY_ASSIGN(pki::KeyPair pair, ca.issue(clock, {.common_name = "server", .ip_addresses = {"127.0.0.1"}, .server = true}));
  CO_TRY_ASSIGN(auto tls, http::TlsServer::make({.certificate_pem = pair.certificate_pem, .key_pem = pair.key_pem}));
  async::Scope scope(executor);
  Answers answers(scope);
  http::Server plain(executor, time, answers, {}), secure(executor, time, answers, {.tls = tls.get()});
  CO_TRY_ASSIGN(sys::Fd plain_socket, http::listen_tcp("127.0.0.1", 0));
  CO_TRY_ASSIGN(sys::Fd secure_socket, http::listen_tcp("127.0.0.1", 0));
  CO_TRY_ASSIGN(std::uint16_t plain_port, http::local_port(plain_socket));
  CO_TRY_ASSIGN(std::uint16_t secure_port, http::local_port(secure_socket));
  pid_t client = ::fork();
  if (client == 0) {
    run_client(plain_port, secure_port, requests);
    std::_Exit(0);
  }
  scope.spawn(plain.serve(std::move(plain_socket)));
  scope.spawn(secure.serve(std::move(secure_socket)));
  Result<> served = co_await scope.join();
  ::waitpid(client, nullptr, 0);
  co_return served;
}

}  // namespace
}  // namespace monopod

int main(int argc, char** argv) {
  std::setvbuf(stdout, nullptr, _IOLBF, 0);
  std::signal(SIGPIPE, SIG_IGN);
  ::alarm(300);  // a client that died never asks it to quit
  monopod::async::Loop loop;
  auto result = loop.run(monopod::run(loop.executor(), argc > 1 ? std::atoi(argv[1]) : 20000));
  if (result) return 0;
  std::fprintf(stderr, "%s\n", result.error().message().c_str());
  return 1;
}
