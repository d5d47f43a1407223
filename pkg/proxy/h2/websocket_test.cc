// WebSockets over HTTP/2 (RFC 8441), whose endpoints speak HTTP/1.1: nghttp2's client on a real socket.
#include <nghttp2/nghttp2.h>
#include <poll.h>
#include <sys/socket.h>

#include "base/bytes.h"
#include "base/strings.h"
#include "pki/digest.h"
#include "proxy/test_support.h"

namespace monopod::proxy {
namespace {

// One stream of a connection.
class Caller {
 public:
  explicit Caller(std::uint16_t port) : socket_(port) {
    nghttp2_session_callbacks* callbacks = nullptr;
    nghttp2_session_callbacks_new(&callbacks);
    nghttp2_session_callbacks_set_on_header_callback(callbacks, [](nghttp2_session*, const nghttp2_frame*, const std::uint8_t* name, std::size_t name_size, const std::uint8_t* value, std::size_t value_size, std::uint8_t, void* user) {
      static_cast<Caller*>(user)->fields += cat(text(name, name_size), "=", text(value, value_size), "\n");
      return 0;
    });
    nghttp2_session_callbacks_set_on_data_chunk_recv_callback(callbacks, [](nghttp2_session*, std::uint8_t, std::int32_t, const std::uint8_t* data, std::size_t size, void* user) {
      static_cast<Caller*>(user)->body += text(data, size);
      return 0;
    });
    nghttp2_session_callbacks_set_on_frame_recv_callback(callbacks, [](nghttp2_session* session, const nghttp2_frame* frame, void* user) {
      auto* self = static_cast<Caller*>(user);
      if (frame->hd.type == NGHTTP2_SETTINGS) self->offered = nghttp2_session_get_remote_settings(session, NGHTTP2_SETTINGS_ENABLE_CONNECT_PROTOCOL) == 1;
      if (frame->hd.stream_id != 0 && (frame->hd.flags & NGHTTP2_FLAG_END_STREAM) != 0 && frame->hd.type <= NGHTTP2_HEADERS) self->ended = true;
      return 0;
    });
    nghttp2_session_callbacks_set_on_stream_close_callback(callbacks, [](nghttp2_session*, std::int32_t, std::uint32_t error, void* user) {
      static_cast<Caller*>(user)->closed = static_cast<int>(error);
      return 0;
    });
    nghttp2_session_client_new(&session_, callbacks, this);
    nghttp2_session_callbacks_del(callbacks);
    nghttp2_submit_settings(session_, NGHTTP2_FLAG_NONE, nullptr, 0);
  }
  ~Caller() { nghttp2_session_del(session_); }
  Caller(const Caller&) = delete;
  Caller& operator=(const Caller&) = delete;

  void connect(std::string_view path, std::string_view protocol = "websocket") {
    std::vector<std::pair<std::string_view, std::string_view>> all{{":method", "CONNECT"}, {":protocol", protocol}, {":scheme", "http"}, {":path", path}, {":authority", "a.test"}, {"sec-websocket-version", "13"}, {"origin", "http://a.test"}};
    std::vector<nghttp2_nv> nva;
    for (auto& [name, value] : all) nva.push_back({const_cast<std::uint8_t*>(bytes(name)), const_cast<std::uint8_t*>(bytes(value)), name.size(), value.size(), 0});
    nghttp2_data_provider provider{};
    provider.source.ptr = this;
    provider.read_callback = [](nghttp2_session*, std::int32_t, std::uint8_t* into, std::size_t size, std::uint32_t* flags, nghttp2_data_source* source, void*) -> ssize_t {
      auto* self = static_cast<Caller*>(source->ptr);
      std::size_t n = std::min(size, self->out.size());
      std::copy_n(self->out.data(), n, into);
      self->out.erase(0, n);
      if (self->out.empty() && self->out_ends) *flags |= NGHTTP2_DATA_FLAG_EOF;
      return n == 0 && !self->out_ends ? NGHTTP2_ERR_DEFERRED : static_cast<ssize_t>(n);
    };
    id = nghttp2_submit_request(session_, nullptr, nva.data(), nva.size(), &provider, nullptr);
  }
  void send(std::string_view more, bool ends = false) {
    out += more;
    out_ends = ends;
    nghttp2_session_resume_data(session_, id);
  }
  void reset() { nghttp2_submit_rst_stream(session_, NGHTTP2_FLAG_NONE, id, NGHTTP2_CANCEL); }
  template <typename F>
  bool run(F done) {
    for (;;) {
      const std::uint8_t* data = nullptr;
      for (ssize_t n; (n = nghttp2_session_mem_send(session_, &data)) > 0;) ::send(socket_.fd(), data, static_cast<std::size_t>(n), MSG_NOSIGNAL);
      if (done()) return true;
      pollfd look{socket_.fd(), POLLIN, 0};
      if (::poll(&look, 1, 5000) != 1) return false;
      std::uint8_t in[16384];
      ssize_t n = ::recv(socket_.fd(), in, sizeof in, 0);
      if (n <= 0 || nghttp2_session_mem_recv(session_, in, static_cast<std::size_t>(n)) < 0) return done();
    }
  }
  std::string fields, body, out;
  std::int32_t id = 0;
  bool offered = false, ended = false, out_ends = false;
  int closed = -1;

 private:
  static std::string_view text(const std::uint8_t* data, std::size_t size) { return {reinterpret_cast<const char*>(data), size}; }
  static const std::uint8_t* bytes(std::string_view text) { return reinterpret_cast<const std::uint8_t*>(text.data()); }
  TestClient socket_;
  nghttp2_session* session_ = nullptr;
};

std::string field(const std::string& head, std::string_view name) {
  std::size_t at = head.find(cat(name, ": "));
  return at == std::string::npos ? "" : head.substr(at + name.size() + 2, head.find('\r', at) - at - name.size() - 2);
}

// Takes upgrades, answers lines, and says at the end that it saw it. With another accept where the path is /wrong; a 403 where it is /no.
void serve(TestClient& client, int) {
  std::string head = client.read_until("\r\n\r\n");
  if (!head.ends_with("\r\n\r\n")) return;
  if (head.starts_with("GET /no")) return client.send("HTTP/1.1 403 Forbidden\r\ncontent-length: 2\r\n\r\nno");
  EXPECT_TRUE(head.starts_with("GET /") && field(head, "upgrade") == "websocket" && field(head, "connection") == "upgrade" && field(head, "sec-websocket-version") == "13" && field(head, "host") == "a.test") << head;
  EXPECT_EQ(head.find("ransfer-"), std::string::npos) << head;
  std::string key = field(head, "sec-websocket-key");
  EXPECT_EQ(parse_base64(key).value_or("").size(), 16U);
  std::string accept = format_base64(pki::sha1(cat(key, "258EAFA5-E914-47DA-95CA-C5AB0DC85B11")));
  client.send(cat("HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Protocol: chat\r\nSec-WebSocket-Accept: ", head.starts_with("GET /wrong") ? "x" : accept, "\r\n\r\nfirst\n"));
  for (std::string line; (line = client.read_until("\n")).ends_with("\n");) client.send("> " + line);
  client.send("bye");
}

TEST(WebSocketOverHttp2, IsAnUpgradeToTheEndpoint) {
  TestEndpoint endpoint(serve);
  TestProxy proxy(simple_config(endpoint.address()));
  Caller caller(proxy.port());
  ASSERT_TRUE(caller.run([&] { return caller.offered; }));
  caller.connect("/chat");
  ASSERT_TRUE(caller.run([&] { return caller.body == "first\n"; })) << caller.body;
  EXPECT_EQ(caller.fields, ":status=200\nsec-websocket-protocol=chat\n");
  std::string want = "first\n";
  for (int i = 0; i < 20; ++i) {
    std::string line(static_cast<std::size_t>(i) * 3000, 'x');
    caller.send(line + "\n");
    want += cat("> ", line, "\n");
    ASSERT_TRUE(caller.run([&] { return caller.body.size() >= want.size(); })) << i;
  }
  EXPECT_EQ(caller.body, want);
  caller.send("", true);
  ASSERT_TRUE(caller.run([&] { return caller.closed >= 0; }));
  EXPECT_TRUE(caller.body.ends_with("bye"));
  EXPECT_TRUE(caller.ended);
  EXPECT_EQ(caller.closed, 0);
}

TEST(WebSocketOverHttp2, AResetEndsTheEndpointsConnection) {
  std::atomic<bool> over{false};
  TestEndpoint endpoint([&](TestClient& client, int number) {
    serve(client, number);
    over = true;
    over.notify_all();
  });
  TestProxy proxy(simple_config(endpoint.address()));
  Caller caller(proxy.port());
  caller.connect("/chat");
  ASSERT_TRUE(caller.run([&] { return !caller.body.empty(); }));
  caller.reset();
  caller.run([&] { return caller.closed >= 0; });
  over.wait(false);
}

TEST(WebSocketOverHttp2, WhatIsNotToBeIsAnsweredInWords) {
  TestEndpoint endpoint(serve);
  TestProxy proxy(cat("listeners:\n- name: web\n  address: PORT0\n  virtual_hosts: [{routes: [{prefix: /plain, cluster: a, allow_upgrade: false}, {prefix: /two, cluster: two}, {prefix: /, cluster: a}]}]\nclusters:\n- {name: a, endpoints: [\"",
                      endpoint.address(), "\"]}\n- {name: two, http2: true, endpoints: [\"", endpoint.address(), "\"]}\n"));
  struct Row {
    const char* path;
    const char* protocol;
    const char* status;
  };
  for (const Row& row : {Row{"/no", "websocket", "403"}, Row{"/wrong", "websocket", "502"}, Row{"/plain", "websocket", "501"}, Row{"/two", "websocket", "501"}, Row{"/chat", "connect-udp", "501"}}) {
    Caller caller(proxy.port());
    caller.connect(row.path, row.protocol);
    EXPECT_TRUE(caller.run([&] { return caller.closed >= 0; })) << row.path;
    EXPECT_TRUE(caller.fields.starts_with(cat(":status=", row.status))) << row.path << " " << caller.fields;
  }
}

}  // namespace
}  // namespace monopod::proxy
