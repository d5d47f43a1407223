// For this package's tests: a proxy in the process, endpoints that answer by a script, and clients that send raw bytes. All sockets are real, on
// loopback; waits end with what they wait for, and a test that hangs is ended by its time limit.
#pragma once

#include <gtest/gtest.h>

#include <atomic>
#include <functional>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "proxy/proxy.h"

namespace monopod::proxy {

// Of HTTP/2, raw.
inline constexpr std::string_view kPreface = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
std::string frame(int type, int flags, std::uint32_t stream, std::string_view payload);

// A blocking client connection.
class TestClient {
 public:
  explicit TestClient(std::uint16_t port);
  explicit TestClient(sys::Fd fd) : fd_(std::move(fd)) {}
  void send(std::string_view bytes);
  // Until what was read since the last call contains text; returns that, up to its end. What there is, where the connection ends before.
  std::string read_until(std::string_view text);
  std::string read_to_end();
  // Exactly n bytes, fewer at the end.
  std::string read(std::size_t n);
  // One answer by its content-length or chunks: head and body.
  std::string read_answer(bool has_body = true);
  void shutdown() ;
  void reset();  // closes with RST
  bool is_open() const { return static_cast<bool>(fd_); }
  int fd() const { return fd_.get(); }
  std::uint16_t local_port() const;

 private:
  bool fill();
  sys::Fd fd_;
  std::string buffer_;
};

// An endpoint: every connection is served on a thread of its own by the script, which gets it as a TestClient. Ends with the object.
class TestEndpoint {
 public:
  using Script = std::function<void(TestClient&, int number)>;  // number: of the connection, from 0
  explicit TestEndpoint(Script script);
  ~TestEndpoint();
  std::string address() const;
  std::uint16_t port() const { return port_; }
  int accepted() const { return accepted_; }

 private:
  void serve();
  Script script_;
  std::uint16_t port_ = 0;  // before what sets it
  sys::Fd listening_;
  std::atomic<int> accepted_{0};
  std::mutex mutex_;
  std::vector<int> open_;
  std::vector<std::thread> threads_;
  std::thread acceptor_;
};

// Reads whole requests (head and body) and answers each with what `answer` makes of it; empty: closes.
TestEndpoint::Script answering(std::function<std::string(const std::string& request)> answer);
// ok("late") to a request, once go is set and notified.
TestEndpoint::Script answering_late(std::atomic<bool>& go);
// "HTTP/1.1 200 OK" with the body.
std::string ok(std::string_view body, std::string_view more_headers = {});

// A proxy with a configuration; "PORT" + digit in it is replaced by a free port each.
class TestProxy {
 public:
  explicit TestProxy(std::string yaml);
  // The same ports.
  Result<> reload(std::string yaml);
  std::uint16_t port(int number = 0) const { return ports_[static_cast<std::size_t>(number)]; }
  // The value of a line of the metrics; -1 where there is none.
  std::int64_t metric(std::string_view name_and_labels);
  // Waits until it is at least value; until it is exactly that.
  bool wait_metric(std::string_view name_and_labels, std::int64_t value);
  bool wait_metric_equals(std::string_view name_and_labels, std::int64_t value);
  Proxy& proxy() { return *proxy_; }

 private:
  std::string fill_in(std::string yaml);
  std::vector<std::uint16_t> ports_;
  std::unique_ptr<Proxy> proxy_;
};

// One listener "web" at PORT0 with routes, and one cluster "backend" with the endpoint. more: further fields, indented as they must be.
std::string simple_config(std::string_view endpoint, std::string_view listener_fields = {}, std::string_view route_fields = {}, std::string_view cluster_fields = {});

}  // namespace monopod::proxy
