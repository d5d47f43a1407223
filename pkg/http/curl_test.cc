// Another implementation's opinion: curl against the server. Skipped where there is no curl.
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cstdio>

#include "async/pool.h"
#include "http/test_support.h"
#include "pki/pki.h"

namespace monopod::http {
namespace {

using async::Loop;
using async::RealTime;
using async::Scope;
using async::Task;

// Output and then, on its own line, the exit status.
std::string run_curl(const std::string& arguments) {
  std::string out;
  FILE* pipe = ::popen(cat("curl --silent --max-time 10 ", arguments, " 2>&1").c_str(), "r");
  if (pipe == nullptr) return "popen failed";
  std::array<char, 4096> buffer;
  while (std::size_t n = std::fread(buffer.data(), 1, buffer.size(), pipe)) out.append(buffer.data(), n);
  int status = ::pclose(pipe);
  return cat(out, "exit ", WEXITSTATUS(status));
}

Task<Result<>> curl(Loop& loop) {
  RealTime time;
  RealClock clock;
  async::Pool pool(1);
  Scope scope(loop.executor());
  auto ca = pki::CertificateAuthority::make(clock);
  auto pair = ca->issue(clock, {.common_name = "server", .ip_addresses = {"127.0.0.1"}, .server = true});
  auto tls = TlsServer::make({.certificate_pem = pair->certificate_pem, .key_pem = pair->key_pem});
  std::string ca_path = testing::TempDir() + "monopod_curl_ca.pem";
  FILE* file = std::fopen(ca_path.c_str(), "w");
  std::fputs(ca->certificate_pem().c_str(), file);
  std::fclose(file);
  TestServer plain(loop.executor(), scope, time);
  TestServer secure(loop.executor(), scope, time, {.tls = tls->get()});
  std::string http = cat("http://127.0.0.1:", plain.port);
  std::string https = cat("https://127.0.0.1:", secure.port);
  std::string format = " -w '%{http_version} %{http_code} '";
  struct Row {
    std::string arguments;
    std::string expected;
  };
  std::vector<Row> rows = {
      {cat("--http1.1", format, " ", http), "hello\n1.1 200 exit 0"},
      {cat("--http2-prior-knowledge", format, " ", http), "hello\n2 200 exit 0"},
      {cat("--http1.1 --cacert ", ca_path, format, " ", https), "hello\n1.1 200 exit 0"},
      {cat("--http2 --cacert ", ca_path, format, " ", https), "hello\n2 200 exit 0"},
      {cat("--tls-max 1.2 --http2 --cacert ", ca_path, format, " ", https), "hello\n2 200 exit 0"},
      {cat("--http2 --cacert ", ca_path, " -d body ", https, "/echo"), "bodyexit 0"},
      {cat("--http1.1 --cacert ", ca_path, " -H 'Transfer-Encoding: chunked' -d body ", https, "/echo"), "bodyexit 0"},
      {cat("--http2 --cacert ", ca_path, format, " -I -o /dev/null ", https), "2 200 exit 0"},
      {cat("--http2 --cacert ", ca_path, " -o /dev/null -w '%{size_download} ' '", https, "/stream?n=3000'"), "3000000 exit 0"},
      {cat("--http1.1 -o /dev/null -w '%{size_download} ' '", http, "/stream?n=3000' '", http, "/stream?n=1'"), "3000000 "},
      {cat("--http2 --cacert ", ca_path, format, " ", https, "/error"), "pods \"x\" not found\n2 404 exit 0"},
      {cat("--http2 ", https), "exit 60"},  // unknown authority
  };
  for (const Row& row : rows) {
    std::string arguments = row.arguments;
    std::string out = co_await pool.run([&arguments] { return run_curl(arguments); });
    EXPECT_TRUE(out.starts_with(row.expected)) << row.arguments << "\n" << out;
  }
  scope.cancel();
  Result<> joined = co_await scope.join();
  ::unlink(ca_path.c_str());
  co_return Result<>();
}
TEST(Curl, AgreesOverEveryProtocol) {
  if (run_curl("--version").find("HTTP2") == std::string::npos) GTEST_SKIP() << "needs curl with HTTP/2";
  async::run_test(curl);
}

}  // namespace
}  // namespace monopod::http
