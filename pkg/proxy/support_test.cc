#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>

#include "base/strings.h"
#include "proxy/config/parse.h"
#include "proxy/test_support.h"

namespace monopod::proxy {
namespace {

constexpr int kPatienceMs = 5'000;

sys::Fd listen_anywhere(std::uint16_t& port) {
  Result<sys::Fd> fd = listen_on(*Address::parse("127.0.0.1:0"), false);
  sockaddr_in name{};
  socklen_t size = sizeof name;
  ::getsockname(fd->get(), reinterpret_cast<sockaddr*>(&name), &size);
  port = ntohs(name.sin_port);
  return std::move(*fd);
}

std::size_t length_of(std::string_view head) {
  std::string lower = to_lower(head);
  std::size_t at = lower.find("\r\ncontent-length:");
  if (at == std::string::npos) return 0;
  std::size_t end = lower.find('\r', at + 2);
  return parse_int<std::size_t>(trim(std::string_view(lower).substr(at + 17, end - at - 17))).value_or(0);
}

bool is_chunked(std::string_view head) { return to_lower(head).find("\r\ntransfer-encoding: chunked") != std::string::npos; }

}  // namespace

std::string frame(int type, int flags, std::uint32_t stream, std::string_view payload) {
  std::string out;
  for (std::size_t shift : {16U, 8U, 0U}) out += static_cast<char>(payload.size() >> shift & 0xffU);
  out += static_cast<char>(type);
  out += static_cast<char>(flags);
  for (unsigned shift : {24U, 16U, 8U, 0U}) out += static_cast<char>(stream >> shift & 0xffU);
  return out.append(payload);
}

TestClient::TestClient(std::uint16_t port) : fd_(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
  sockaddr_in to{.sin_family = AF_INET, .sin_port = htons(port)};
  to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  if (::connect(fd_.get(), reinterpret_cast<sockaddr*>(&to), sizeof to) != 0) fd_.reset();
}

void TestClient::send(std::string_view bytes) {
  while (!bytes.empty()) {
    ssize_t n = ::send(fd_.get(), bytes.data(), bytes.size(), MSG_NOSIGNAL);
    if (n <= 0) return;
    bytes.remove_prefix(static_cast<std::size_t>(n));
  }
}

bool TestClient::fill() {
  pollfd look{fd_.get(), POLLIN, 0};
  if (::poll(&look, 1, kPatienceMs) != 1) {
    ADD_FAILURE() << "nothing came within " << kPatienceMs << " ms; so far: " << buffer_;
    return false;
  }
  char bytes[16384];
  ssize_t n = ::recv(fd_.get(), bytes, sizeof bytes, 0);
  if (n > 0) buffer_.append(bytes, static_cast<std::size_t>(n));
  return n > 0;
}

std::string TestClient::read_until(std::string_view text) {
  std::size_t at = 0;
  while ((at = buffer_.find(text)) == std::string::npos)
    if (!fill()) return std::exchange(buffer_, {});
  std::string out = buffer_.substr(0, at + text.size());
  buffer_.erase(0, out.size());
  return out;
}

std::string TestClient::read_to_end() {
  while (fill()) {
  }
  return std::exchange(buffer_, {});
}

std::string TestClient::read(std::size_t n) {
  while (buffer_.size() < n && fill()) {
  }
  std::string out = buffer_.substr(0, n);
  buffer_.erase(0, out.size());
  return out;
}

std::string TestClient::read_answer(bool has_body) {
  std::string out = read_until("\r\n\r\n");
  if (!has_body) return out;
  if (is_chunked(out)) {
    out += read_until("0\r\n");
    return out + read_until("\r\n");
  }
  return out + read(length_of(out));
}

void TestClient::shutdown() { ::shutdown(fd_.get(), SHUT_WR); }

void TestClient::reset() {
  sockaddr nobody{.sa_family = AF_UNSPEC, .sa_data = {}};
  ::connect(fd_.get(), &nobody, sizeof nobody);  // disconnects at once, other descriptors of it or not
  fd_.reset();
}

std::uint16_t TestClient::local_port() const {
  sockaddr_in name{};
  socklen_t size = sizeof name;
  ::getsockname(fd_.get(), reinterpret_cast<sockaddr*>(&name), &size);
  return ntohs(name.sin_port);
}

TestEndpoint::TestEndpoint(Script script) : script_(std::move(script)), listening_(listen_anywhere(port_)) {
  acceptor_ = std::thread([this] { serve(); });
}

void TestEndpoint::serve() {
  for (;;) {
    pollfd look{listening_.get(), POLLIN, 0};
    ::poll(&look, 1, -1);
    int fd = ::accept4(listening_.get(), nullptr, nullptr, SOCK_CLOEXEC);
    if (fd < 0 && errno == EAGAIN) continue;
    if (fd < 0) return;
    std::lock_guard lock(mutex_);
    open_.push_back(::dup(fd));
    int number = accepted_++;
    threads_.emplace_back([this, fd, number] {
      TestClient client{sys::Fd(fd)};
      script_(client, number);
      if (client.is_open()) ::shutdown(client.fd(), SHUT_RDWR);
    });
  }
}

TestEndpoint::~TestEndpoint() {
  ::shutdown(listening_.get(), SHUT_RDWR);
  acceptor_.join();
  for (int fd : open_) ::shutdown(fd, SHUT_RDWR);
  for (std::thread& thread : threads_) thread.join();
  for (int fd : open_) ::close(fd);
}

std::string TestEndpoint::address() const { return cat("127.0.0.1:", port_); }

TestEndpoint::Script answering_late(std::atomic<bool>& go) {
  return [&go](TestClient& client, int) {
    client.read_until("\r\n\r\n");
    go.wait(false);
    client.send(ok("late"));
    client.read_to_end();
  };
}

TestEndpoint::Script answering(std::function<std::string(const std::string&)> answer) {
  return [answer = std::move(answer)](TestClient& client, int) {
    for (;;) {
      pollfd look{client.fd(), POLLIN, 0};
      ::poll(&look, 1, -1);
      std::string request = client.read_until("\r\n\r\n");
      if (!request.ends_with("\r\n\r\n")) return;
      if (is_chunked(request)) {
        request += client.read_until("0\r\n");
        std::string line = "x";
        for (; line != "\r\n" && !line.empty(); request += line) line = client.read_until("\r\n");
        if (line.empty()) return;  // cut short: no request
      } else {
        std::size_t length = length_of(request);
        std::string body = client.read(length);
        if (body.size() < length) return;
        request += body;
      }
      std::string out = answer(request);
      if (out.empty()) return;
      client.send(out);
    }
  };
}

std::string ok(std::string_view body, std::string_view more_headers) {
  return cat("HTTP/1.1 200 OK\r\ncontent-length: ", body.size(), "\r\n", more_headers, "\r\n", body);
}

TestProxy::TestProxy(std::string yaml) {
  for (int i = 0; i < 4; ++i) {
    std::uint16_t port = 0;
    sys::Fd fd = listen_anywhere(port);
    ports_.push_back(port);
  }
  auto started = Proxy::start({});
  EXPECT_TRUE(started);
  proxy_ = std::move(*started);
  Result<> applied = reload(std::move(yaml));
  EXPECT_TRUE(applied) << (applied ? std::string() : applied.error().message());
}

std::string TestProxy::fill_in(std::string yaml) {
  for (std::size_t i = 0; i < ports_.size(); ++i)
    for (std::string name = cat("PORT", i); yaml.find(name) != std::string::npos;) yaml.replace(yaml.find(name), name.size(), cat("127.0.0.1:", ports_[i]));
  return yaml;
}

Result<> TestProxy::reload(std::string yaml) {
  yaml = fill_in(std::move(yaml));
  TRY_ASSIGN(ParsedFile parsed, parse_config(yaml, [](const std::string& path) -> Result<std::string> {
    std::FILE* file = std::fopen(path.c_str(), "re");
    if (file == nullptr) return fail_errno(path);
    std::string out(65536, '\0');
    out.resize(std::fread(out.data(), 1, out.size(), file));
    std::fclose(file);
    return out;
  }));
  ConfigError error;
  auto snapshot = compile(parsed.spec, proxy_->snapshot().get(), error);
  if (!snapshot) return fail(Code::kInvalidArgument, locate(yaml, error.path, error.why));
  return proxy_->apply(std::move(snapshot));
}

std::int64_t TestProxy::metric(std::string_view name) {
  std::string text;
  std::atomic<bool> done{false};
  proxy_->on_workers([&text](Worker& worker) { worker.append_metrics(text); }, [&done] {
    done = true;
    done.notify_all();
  });
  done.wait(false);
  std::size_t at = text.find(cat("\n", name, " "));
  if (at == std::string::npos) return -1;
  at += name.size() + 2;
  return parse_int<std::int64_t>(std::string_view(text).substr(at, text.find('\n', at) - at)).value_or(-1);
}

bool TestProxy::wait_metric(std::string_view name, std::int64_t value) {
  auto until = std::chrono::steady_clock::now() + std::chrono::milliseconds(kPatienceMs);
  while (std::chrono::steady_clock::now() < until)
    if (metric(name) >= value) return true;
  return false;
}

bool TestProxy::wait_metric_equals(std::string_view name, std::int64_t value) {
  auto until = std::chrono::steady_clock::now() + std::chrono::milliseconds(kPatienceMs);
  while (std::chrono::steady_clock::now() < until)
    if (metric(name) == value) return true;
  return false;
}

std::string simple_config(std::string_view endpoint, std::string_view listener, std::string_view route, std::string_view cluster) {
  return cat("listeners:\n- name: web\n  address: PORT0\n", listener, "  virtual_hosts:\n  - name: all\n    routes:\n    - name: main\n      prefix: /\n      cluster: backend\n", route,
             "clusters:\n- name: backend\n  endpoints: [\"", endpoint, "\"]\n", cluster);
}

}  // namespace monopod::proxy
