// WebSockets over HTTP/2 (RFC 8441), of the client's side, of the endpoint's, and of both: nghttp2 on real sockets.
#include <nghttp2/nghttp2.h>
#include <poll.h>
#include <sys/socket.h>

#include <map>

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
  TestProxy proxy(cat("listeners:\n- name: web\n  address: PORT0\n  virtual_hosts: [{routes: [{prefix: /plain, cluster: a, allow_upgrade: false}, {prefix: /, cluster: a}]}]\nclusters:\n- {name: a, endpoints: [\"",
                      endpoint.address(), "\"]}\n"));
  struct Row {
    const char* path;
    const char* protocol;
    const char* status;
  };
  for (const Row& row : {Row{"/no", "websocket", "403"}, Row{"/wrong", "websocket", "502"}, Row{"/plain", "websocket", "501"}, Row{"/chat", "connect-udp", "501"}}) {
    Caller caller(proxy.port());
    caller.connect(row.path, row.protocol);
    EXPECT_TRUE(caller.run([&] { return caller.closed >= 0; })) << row.path;
    EXPECT_TRUE(caller.fields.starts_with(cat(":status=", row.status))) << row.path << " " << caller.fields;
  }
}

// An endpoint of HTTP/2, nghttp2's server: takes WebSockets and does what serve() does; a plain GET gets "plain". Where go is given, nothing leaves before
// a request came, and *go.
class Chatter {
 public:
  struct Options {
    bool announces = true;
    std::atomic<bool>* go = nullptr;
  };
  Chatter(TestClient& client, Options options) : client_(client), options_(options) {
    nghttp2_session_callbacks* callbacks = nullptr;
    nghttp2_session_callbacks_new(&callbacks);
    nghttp2_session_callbacks_set_on_header_callback(callbacks, [](nghttp2_session*, const nghttp2_frame* frame, const std::uint8_t* name, std::size_t name_size, const std::uint8_t* value, std::size_t value_size, std::uint8_t, void* user) {
      static_cast<Chatter*>(user)->talks_[frame->hd.stream_id].fields += cat(text(name, name_size), "=", text(value, value_size), "\n");
      return 0;
    });
    nghttp2_session_callbacks_set_on_data_chunk_recv_callback(callbacks, [](nghttp2_session* session, std::uint8_t, std::int32_t id, const std::uint8_t* data, std::size_t size, void* user) {
      static_cast<Chatter*>(user)->talks_[id].take(text(data, size));
      return nghttp2_session_resume_data(session, id), 0;
    });
    nghttp2_session_callbacks_set_on_frame_recv_callback(callbacks, [](nghttp2_session*, const nghttp2_frame* frame, void* user) { return static_cast<Chatter*>(user)->on_frame(*frame), 0; });
    nghttp2_session_callbacks_set_on_stream_close_callback(callbacks, [](nghttp2_session*, std::int32_t id, std::uint32_t error, void* user) {
      static_cast<Chatter*>(user)->closed += cat(id, ":", error, " ");
      return 0;
    });
    nghttp2_session_server_new(&session_, callbacks, this);
    nghttp2_session_callbacks_del(callbacks);
  }
  ~Chatter() { nghttp2_session_del(session_); }
  Chatter(const Chatter&) = delete;
  Chatter& operator=(const Chatter&) = delete;

  void run() {
    nghttp2_settings_entry entry{NGHTTP2_SETTINGS_ENABLE_CONNECT_PROTOCOL, 1};
    nghttp2_submit_settings(session_, NGHTTP2_FLAG_NONE, &entry, options_.announces ? 1 : 0);
    for (std::uint8_t in[16384];;) {
      const std::uint8_t* data = nullptr;
      for (ssize_t n; speaks_ && (n = nghttp2_session_mem_send(session_, &data)) > 0;) client_.send(text(data, static_cast<std::size_t>(n)));
      ssize_t n = ::recv(client_.fd(), in, sizeof in, 0);
      if (n <= 0 || nghttp2_session_mem_recv(session_, in, static_cast<std::size_t>(n)) < 0) return;
    }
  }
  std::string requests, closed;  // heads in their order; "id:error "

 private:
  struct Talk {
    std::string fields, line, out;
    bool ends = false;
    void take(std::string_view more) {
      line += more;
      for (std::size_t at; (at = line.find('\n')) != std::string::npos; line.erase(0, at + 1)) out += cat("> ", line.substr(0, at + 1));
    }
  };
  static std::string_view text(const std::uint8_t* data, std::size_t size) { return {reinterpret_cast<const char*>(data), size}; }
  void answer(std::int32_t id, const char* status, std::string_view out, bool ends) {
    Talk& talk = talks_[id];
    talk.out = out;
    talk.ends = ends;
    auto field = [](std::string_view name, std::string_view value) { return nghttp2_nv{reinterpret_cast<std::uint8_t*>(const_cast<char*>(name.data())), reinterpret_cast<std::uint8_t*>(const_cast<char*>(value.data())), name.size(), value.size(), 0}; };
    nghttp2_nv fields[] = {field(":status", status), field("sec-websocket-protocol", "chat")};
    nghttp2_data_provider provider{};
    provider.source.ptr = this;
    provider.read_callback = [](nghttp2_session*, std::int32_t of, std::uint8_t* into, std::size_t size, std::uint32_t* flags, nghttp2_data_source* source, void*) -> ssize_t {
      Talk& from = static_cast<Chatter*>(source->ptr)->talks_[of];
      std::size_t n = std::min(size, from.out.size());
      std::copy_n(from.out.data(), n, into);
      from.out.erase(0, n);
      if (from.out.empty() && from.ends) *flags |= NGHTTP2_DATA_FLAG_EOF;
      return n == 0 && !from.ends ? NGHTTP2_ERR_DEFERRED : static_cast<ssize_t>(n);
    };
    nghttp2_submit_response(session_, id, fields, 2, &provider);
  }
  void on_frame(const nghttp2_frame& frame) {
    std::int32_t id = frame.hd.stream_id;
    Talk& talk = talks_[id];
    bool ends = (frame.hd.flags & NGHTTP2_FLAG_END_STREAM) != 0;
    if (frame.hd.type == NGHTTP2_HEADERS) {
      requests += talk.fields;
      bool connects = talk.fields.starts_with(":method=CONNECT\n");
      EXPECT_EQ(connects && ends, false);
      if (!speaks_) options_.go->wait(false);
      speaks_ = true;
      if (talk.fields.find(":path=/no") != std::string::npos) answer(id, "403", "no", true);
      else answer(id, "200", connects ? "first\n" : "plain", !connects);
    } else if (frame.hd.type == NGHTTP2_DATA && ends) {
      talk.out += "bye";
      talk.ends = true;
      nghttp2_session_resume_data(session_, id);
    }
  }

  TestClient& client_;
  Options options_;
  nghttp2_session* session_ = nullptr;
  std::map<std::int32_t, Talk> talks_;
  bool speaks_ = options_.go == nullptr;
};

constexpr std::string_view kUpgrade = "GET /chat HTTP/1.1\r\nHost: a.test\r\nConnection: Upgrade, close\r\nUpgrade: WebSocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
constexpr std::string_view kAccept = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";  // RFC 6455 section 1.3

TEST(WebSocketToHttp2, AnUpgradeOfHttp1IsAnExtendedConnect) {
  std::string seen, closed;
  {
    TestEndpoint endpoint([&](TestClient& client, int) {
      Chatter chatter(client, {});
      chatter.run();
      seen = chatter.requests;
      closed = chatter.closed;
    });
    TestProxy proxy(simple_config(endpoint.address(), {}, {}, "  http2: true\n"));
    TestClient client(proxy.port());
    client.send(cat(kUpgrade, "early\n"));
    std::string head = client.read_until("\r\n\r\n");
    EXPECT_TRUE(head.starts_with("HTTP/1.1 101 ") && field(head, "upgrade") == "websocket" && field(head, "connection") == "upgrade" && field(head, "sec-websocket-accept") == kAccept && field(head, "sec-websocket-protocol") == "chat") << head;
    EXPECT_EQ(head.find("ontent-length"), std::string::npos);
    EXPECT_EQ(client.read(14), "first\n> early\n");
    for (int i = 1; i < 20; ++i) {
      std::string line(static_cast<std::size_t>(i) * 5000, 'x');
      client.send(line + "\n");
      ASSERT_EQ(client.read(line.size() + 3), cat("> ", line, "\n"));
    }
    client.shutdown();
    EXPECT_EQ(client.read_to_end(), "bye");
    EXPECT_TRUE(proxy.wait_metric_equals("monopod_proxy_upstream_requests_active{cluster=\"backend\"}", 0));
  }
  EXPECT_TRUE(seen.starts_with(":method=CONNECT\n:protocol=websocket\n:scheme=http\n:path=/chat\n:authority=a.test\nsec-websocket-version=13\n")) << seen;
  for (const char* none : {"sec-websocket-key", "upgrade=", "connection="}) EXPECT_EQ(seen.find(none), std::string::npos) << seen;
  EXPECT_EQ(closed, "1:0 ");
}

TEST(WebSocketToHttp2, AnExtendedConnectGoesOnAsOne) {
  TestEndpoint endpoint([&](TestClient& client, int) { Chatter(client, {}).run(); });
  TestProxy proxy(simple_config(endpoint.address(), {}, {}, "  http2: true\n"));
  Caller caller(proxy.port());
  caller.connect("/chat");
  ASSERT_TRUE(caller.run([&] { return caller.body == "first\n"; })) << caller.body << caller.fields;
  EXPECT_EQ(caller.fields, ":status=200\nsec-websocket-protocol=chat\n");
  std::string line(100'000, 'y');
  caller.send(line + "\n", true);
  ASSERT_TRUE(caller.run([&] { return caller.closed >= 0; }));
  EXPECT_EQ(caller.body, cat("first\n> ", line, "\nbye"));
  EXPECT_EQ(caller.closed, 0);
}

TEST(WebSocketToHttp2, WaitsForTheEndpointsSettings) {
  std::atomic<bool> go{false};
  std::string seen;
  {
    TestEndpoint endpoint([&](TestClient& client, int) {
      Chatter chatter(client, {.go = &go});
      chatter.run();
      seen = chatter.requests;
    });
    TestProxy proxy(simple_config(endpoint.address(), {}, {}, "  http2: true\n"));
    TestClient client(proxy.port()), plain(proxy.port());
    client.send(kUpgrade);
    ASSERT_TRUE(proxy.wait_metric("monopod_proxy_upstream_requests_active{cluster=\"backend\"}", 1));
    plain.send("GET /plain HTTP/1.1\r\nHost: a.test\r\n\r\n");  // needs nothing of the settings: overtakes
    ASSERT_TRUE(proxy.wait_metric("monopod_proxy_upstream_requests_active{cluster=\"backend\"}", 2));
    go = true;
    go.notify_all();
    EXPECT_TRUE(client.read_until("\r\n\r\n").starts_with("HTTP/1.1 101 "));
    EXPECT_EQ(client.read(6), "first\n");
    EXPECT_TRUE(plain.read_until("plain").ends_with("plain"));
  }
  EXPECT_LT(seen.find(":path=/plain"), seen.find(":method=CONNECT")) << seen;
}

TEST(WebSocketToHttp2, WhatCannotBeIsAnsweredInWords) {
  TestEndpoint takes([](TestClient& client, int) { Chatter(client, {}).run(); }), lacks([](TestClient& client, int) { Chatter(client, {.announces = false}).run(); });
  TestProxy proxy(cat("listeners:\n- name: web\n  address: PORT0\n  explain_header: true\n  virtual_hosts: [{routes: [{prefix: /lacks, cluster: lacks, retry: {attempts: 3, conditions: [connect_failure]}}, {prefix: /, cluster: takes}]}]\nclusters:\n- {name: takes, http2: true, endpoints: [\"", takes.address(),
                      "\"]}\n- {name: lacks, http2: true, outlier: {}, endpoints: [\"", lacks.address(), "\"]}\n"));
  struct Row {
    const char* path;
    const char* changed;  // of the upgrade's lines
    const char* to;
    const char* want;
  };
  constexpr const char* kKey = "dGhlIHNhbXBsZSBub25jZQ==";
  for (const Row& row : {Row{"/lacks", "", "", "HTTP/1.1 502 "}, Row{"/no", "", "", "HTTP/1.1 403 "}, Row{"/chat", kKey, "eA==", "HTTP/1.1 400 "}, Row{"/chat", "Upgrade: WebSocket", "Upgrade: other", "HTTP/1.1 200 "}}) {
    std::string text(kUpgrade);
    text.replace(4, 5, row.path);
    if (*row.changed != 0) text.replace(text.find(row.changed), std::string_view(row.changed).size(), row.to);
    TestClient client(proxy.port());
    client.send(text.insert(text.size() - 2, "x-monopod-explain: 1\r\n"));
    std::string answer = client.read_to_end();
    EXPECT_TRUE(answer.starts_with(row.want)) << row.path << answer;
    bool lacking = std::string_view(row.path) == "/lacks";
    EXPECT_EQ(answer.find("attempts=1; details=no_extended_connect") != std::string::npos, lacking) << answer;
    EXPECT_EQ(answer.find("do not announce extended CONNECT") != std::string::npos, lacking) << answer;
  }
  Caller caller(proxy.port());
  caller.connect("/lacks");
  EXPECT_TRUE(caller.run([&] { return caller.closed >= 0; }));
  EXPECT_TRUE(caller.fields.starts_with(":status=502")) << caller.fields;
}

TEST(WebSocketToHttp2, AnEndpointThatTakesItBackIsLeft) {
  TestEndpoint endpoint([](TestClient& client, int) {
    client.send(std::string_view("\0\0\6\4\0\0\0\0\0\0\x8\0\0\0\1\0\0\6\4\0\0\0\0\0\0\x8\0\0\0\0", 30));
    std::string all = client.read_to_end();
    EXPECT_TRUE(all.ends_with(std::string_view("\0\0\x8\7\0\0\0\0\0\0\0\0\0\0\0\0\1", 17)));  // GOAWAY: PROTOCOL_ERROR
  });
  TestProxy proxy(simple_config(endpoint.address(), {}, {}, "  http2: true\n"));
  TestClient client(proxy.port());
  client.send(kUpgrade);
  EXPECT_TRUE(client.read_to_end().starts_with("HTTP/1.1 50"));
}

}  // namespace
}  // namespace monopod::proxy
