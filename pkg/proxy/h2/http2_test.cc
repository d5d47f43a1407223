// HTTP/2 through real sockets: to endpoints of HTTP/1.1 and of HTTP/2, gRPC in shape, and peers that mean harm.
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <nghttp2/nghttp2.h>
#include <poll.h>
#include <sys/epoll.h>
#include <sys/socket.h>

#include <map>

#include "base/strings.h"
#include "proxy/h2/core.h"
#include "proxy/stream/head_edits.h"
#include "proxy/test_support.h"

namespace monopod::proxy {
namespace {

using Fields = std::vector<std::pair<std::string, std::string>>;

struct Message {
  std::map<std::string, std::string> fields{}, trailers{};
  std::string body{}, interim{};
  bool head_done = false, ended = false, closed = false;
  std::uint32_t error = 0;
  // What is to be sent.
  std::string out{};
  bool out_ends = false;
  Fields out_trailers{};
};

// One end of a connection: nghttp2 on a blocking descriptor.
class Http2Peer {
 public:
  enum class Side : std::uint8_t { kClient, kServer };
  Http2Peer(int fd, Side side, bool reads_bodies = true) : fd_(fd) {
    int one = 1;
    ::setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    nghttp2_session_callbacks* callbacks = nullptr;
    nghttp2_session_callbacks_new(&callbacks);
    nghttp2_session_callbacks_set_on_header_callback(callbacks, on_header);
    nghttp2_session_callbacks_set_on_frame_recv_callback(callbacks, on_frame);
    nghttp2_session_callbacks_set_on_data_chunk_recv_callback(callbacks, on_data);
    nghttp2_session_callbacks_set_on_stream_close_callback(callbacks, on_close);
    nghttp2_option* option = nullptr;
    nghttp2_option_new(&option);
    nghttp2_option_set_no_auto_window_update(option, reads_bodies ? 0 : 1);
    if (side == Side::kClient) nghttp2_session_client_new2(&session, callbacks, this, option);
    else nghttp2_session_server_new2(&session, callbacks, this, option);
    nghttp2_option_del(option);
    nghttp2_session_callbacks_del(callbacks);
    nghttp2_submit_settings(session, NGHTTP2_FLAG_NONE, nullptr, 0);
  }
  ~Http2Peer() { nghttp2_session_del(session); }
  Http2Peer(const Http2Peer&) = delete;
  Http2Peer& operator=(const Http2Peer&) = delete;

  std::int32_t request(const Fields& fields, bool ends = true, std::string body = {}) {
    std::vector<nghttp2_nv> nva = to_nva(fields);
    nghttp2_data_provider provider = provide();
    bool with_body = !ends || !body.empty();
    std::int32_t id = nghttp2_submit_request(session, nullptr, nva.data(), nva.size(), with_body ? &provider : nullptr, nullptr);
    messages[id].out = std::move(body);
    messages[id].out_ends = ends;
    return id;
  }
  void answer(std::int32_t id, const Fields& fields, std::string body, bool ends, Fields trailers = {}) {
    Message& m = messages[id];
    m.out = std::move(body);
    m.out_ends = ends;
    m.out_trailers = std::move(trailers);
    std::vector<nghttp2_nv> nva = to_nva(fields);
    nghttp2_data_provider provider = provide();
    nghttp2_submit_response(session, id, nva.data(), nva.size(), ends && m.out.empty() && m.out_trailers.empty() ? nullptr : &provider);
  }
  void send(std::int32_t id, std::string_view bytes, bool ends = false) {
    messages[id].out += bytes;
    messages[id].out_ends = ends;
    nghttp2_session_resume_data(session, id);
  }
  void flush() {
    const std::uint8_t* data = nullptr;
    for (ssize_t n; (n = nghttp2_session_mem_send(session, &data)) > 0;) ::send(fd_, data, static_cast<std::size_t>(n), MSG_NOSIGNAL);
  }
  // Goes on until done() or the connection's end; false at the end, or where nothing comes for long.
  template <typename F>
  bool run(F done) {
    for (;;) {
      flush();
      if (done()) return true;
      pollfd look{fd_, POLLIN, 0};
      if (::poll(&look, 1, 5000) != 1) return false;
      std::uint8_t bytes[16384];
      ssize_t n = ::recv(fd_, bytes, sizeof bytes, 0);
      if (n <= 0 || nghttp2_session_mem_recv(session, bytes, static_cast<std::size_t>(n)) < 0) return done();
    }
  }
  Message& finish(std::int32_t id) {
    run([&] { return messages[id].closed; });
    return messages[id];
  }

  nghttp2_session* session = nullptr;
  std::map<std::int32_t, Message> messages{};
  std::function<void(Http2Peer&, std::int32_t)> on_head{}, on_body{}, on_end{};  // of a request
  std::optional<std::uint32_t> goaway{};

 private:
  static Http2Peer& self(void* user) { return *static_cast<Http2Peer*>(user); }
  static std::vector<nghttp2_nv> to_nva(const Fields& fields) {
    std::vector<nghttp2_nv> out;
    for (const auto& [name, value] : fields)
      out.push_back({reinterpret_cast<std::uint8_t*>(const_cast<char*>(name.data())), reinterpret_cast<std::uint8_t*>(const_cast<char*>(value.data())), name.size(), value.size(), 0});
    return out;
  }
  nghttp2_data_provider provide() {
    nghttp2_data_provider out{};
    out.source.ptr = this;
    out.read_callback = read_data;
    return out;
  }
  static ssize_t read_data(nghttp2_session* session, std::int32_t id, std::uint8_t* into, std::size_t size, std::uint32_t* flags, nghttp2_data_source*, void* user) {
    Message& m = self(user).messages[id];
    std::size_t n = std::min(size, m.out.size());
    if (n == 0 && !m.out_ends) return NGHTTP2_ERR_DEFERRED;
    std::copy_n(m.out.data(), n, into);
    m.out.erase(0, n);
    if (!m.out.empty() || !m.out_ends) return static_cast<ssize_t>(n);
    *flags |= NGHTTP2_DATA_FLAG_EOF;
    if (m.out_trailers.empty()) return static_cast<ssize_t>(n);
    *flags |= NGHTTP2_DATA_FLAG_NO_END_STREAM;
    std::vector<nghttp2_nv> nva = to_nva(m.out_trailers);
    nghttp2_submit_trailer(session, id, nva.data(), nva.size());
    return static_cast<ssize_t>(n);
  }
  static int on_header(nghttp2_session*, const nghttp2_frame* frame, const std::uint8_t* name, std::size_t name_size, const std::uint8_t* value, std::size_t value_size, std::uint8_t, void* user) {
    Message& m = self(user).messages[frame->hd.stream_id];
    auto& to = m.head_done ? m.trailers : m.fields;
    to[std::string(reinterpret_cast<const char*>(name), name_size)] += std::string(reinterpret_cast<const char*>(value), value_size);
    return 0;
  }
  static int on_frame(nghttp2_session*, const nghttp2_frame* frame, void* user) {
    Http2Peer& p = self(user);
    if (frame->hd.type == NGHTTP2_GOAWAY) p.goaway = frame->goaway.error_code;
    if (frame->hd.type != NGHTTP2_HEADERS && frame->hd.type != NGHTTP2_DATA) return 0;
    Message& m = p.messages[frame->hd.stream_id];
    bool interim = m.fields[":status"].starts_with('1');
    if (frame->hd.type == NGHTTP2_HEADERS && interim) m.interim += m.fields[":status"], m.fields.clear();
    else if (frame->hd.type == NGHTTP2_HEADERS && !std::exchange(m.head_done, true) && p.on_head) p.on_head(p, frame->hd.stream_id);
    if ((frame->hd.flags & NGHTTP2_FLAG_END_STREAM) != 0) {
      m.ended = true;
      if (p.on_end) p.on_end(p, frame->hd.stream_id);
    }
    return 0;
  }
  static int on_data(nghttp2_session*, std::uint8_t, std::int32_t id, const std::uint8_t* data, std::size_t size, void* user) {
    self(user).messages[id].body.append(reinterpret_cast<const char*>(data), size);
    if (self(user).on_body) self(user).on_body(self(user), id);
    return 0;
  }
  static int on_close(nghttp2_session*, std::int32_t id, std::uint32_t error, void* user) {
    self(user).messages[id].closed = true;
    self(user).messages[id].error = error;
    return 0;
  }

  int fd_;
};

struct Client {
  explicit Client(std::uint16_t port, bool reads_bodies = true) : socket(port), peer(socket.fd(), Http2Peer::Side::kClient, reads_bodies) {}
  Message& get(const std::string& path, Fields more = {}) {
    Fields fields = head("GET", path);
    fields.insert(fields.end(), more.begin(), more.end());
    return peer.finish(peer.request(fields));
  }
  static Fields head(const std::string& method, const std::string& path) { return {{":method", method}, {":scheme", "http"}, {":authority", "a.test"}, {":path", path}}; }
  TestClient socket;
  Http2Peer peer;
};

// An endpoint of HTTP/2; set() gives the peer its handlers.
TestEndpoint::Script http2_server(std::function<void(Http2Peer&)> set) {
  return [set = std::move(set)](TestClient& client, int) {
    Http2Peer peer(client.fd(), Http2Peer::Side::kServer);
    set(peer);
    while (peer.run([] { return false; })) {
    }
  };
}

TEST(Http2, AStreamIsARequestOfHttp1ToTheEndpoint) {
  TestEndpoint endpoint(answering([](const std::string& request) { return ok(request, "X-Answer: Yes\r\nKeep-Alive: timeout=5\r\nset-cookie: a\r\n"); }));
  TestProxy proxy(simple_config(endpoint.address()));
  Client client(proxy.port());
  for (int i = 0; i < 3; ++i) {
    Message& m = client.get("/x?y=z", {{"accept", "*/*"}, {"cookie", "a=1"}, {"cookie", "b=2"}, {"te", "trailers"}, {"x-forwarded-for", "6.6.6.6"}});
    EXPECT_EQ(m.body, "GET /x?y=z HTTP/1.1\r\nhost: a.test\r\naccept: */*\r\ncookie: a=1; b=2\r\nx-forwarded-for: 127.0.0.1\r\nx-forwarded-proto: http\r\n\r\n");
    EXPECT_EQ(m.fields[":status"], "200");
    EXPECT_EQ(m.fields["x-answer"], "Yes");
    EXPECT_EQ(m.fields.count("keep-alive") + m.fields.count("connection"), 0U);
  }
  EXPECT_EQ(endpoint.accepted(), 1);
  EXPECT_EQ(proxy.metric("monopod_proxy_requests_total{listener=\"web\",code=\"2xx\"}"), 3);
}

TEST(Http2, BodiesAndTrailersPassBothWays) {
  std::string big(1'000'000, 'b');
  TestEndpoint endpoint(answering([&](const std::string& request) {
    std::size_t at = request.find("\r\n\r\n") + 4;
    return cat("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\nx-length: ", request.size() - at, "\r\n\r\n", "f4240;x=\"y:z\"\r\n", big, "\r\n0\r\nX-Sum: 7\r\n\r\n");
  }));
  TestProxy proxy(simple_config(endpoint.address()));
  Client client(proxy.port());
  Fields post = Client::head("POST", "/");
  post.emplace_back("content-length", "1000000");
  Message& m = client.peer.finish(client.peer.request(post, true, big));
  EXPECT_EQ(m.fields["x-length"], "1000000");
  EXPECT_EQ(m.body, big);
  EXPECT_EQ(m.trailers["x-sum"], "7");
  EXPECT_EQ(m.error, 0U);
}

TEST(Http2, ABodyWithoutALengthGoesInChunks) {
  TestEndpoint endpoint(answering([](const std::string& request) { return ok(request.substr(request.find("\r\n\r\n") + 4)); }));
  TestProxy proxy(simple_config(endpoint.address()));
  Client client(proxy.port());
  std::int32_t id = client.peer.request(Client::head("POST", "/"), false, "abc");
  client.peer.flush();
  client.peer.messages[id].out_trailers = {{"x-t", "u"}, {"content-type", "no"}};
  client.peer.send(id, "", true);
  EXPECT_EQ(client.peer.finish(id).body, "3\r\nabc\r\n0\r\nx-t: u\r\n\r\n");
}

TEST(Http2, InformationalAnswersAndAnswersWithoutABodyPass) {
  auto answer = [](const std::string& request) -> std::string {
    if (request.starts_with("GET /early")) return "HTTP/1.1 103 Early Hints\r\nlink: a\r\n\r\n" + ok("late");
    if (request.starts_with("GET /none")) return "HTTP/1.1 204 No Content\r\n\r\n";
    if (request.starts_with("GET /close")) return "HTTP/1.0 200 OK\r\n\r\nold";
    return "HTTP/1.1 200 OK\r\ncontent-length: 7\r\n\r\n";
  };
  TestEndpoint endpoint(answering(answer)), old([&](TestClient& c, int) { c.send(answer(c.read_until("\r\n\r\n"))); });
  TestProxy proxy(simple_config(endpoint.address())), to_old(simple_config(old.address()));
  Client client(proxy.port()), other(to_old.port());
  Message& early = client.get("/early");
  EXPECT_EQ(early.interim + " " + early.fields[":status"] + " " + early.body, "103 200 late");
  EXPECT_EQ(client.get("/none").fields[":status"], "204");
  Message& head = client.peer.finish(client.peer.request(Client::head("HEAD", "/")));
  EXPECT_EQ(head.fields["content-length"] + head.body, "7");
  EXPECT_EQ(other.get("/close").body, "old");  // to the end of the connection
}

TEST(Http2, ManyStreamsRunAtOnceAndASlowOneHoldsNobody) {
  TestEndpoint endpoint(answering([](const std::string& request) { return ok(request.starts_with("GET /big") ? std::string(3'000'000, 'x') : std::string("small")); }));
  TestProxy proxy(simple_config(endpoint.address()));
  Client client(proxy.port(), false);
  nghttp2_session_set_local_window_size(client.peer.session, 0, 0, 10'000'000);  // the connection's; streams have 64 KB
  std::int32_t big = client.peer.request(Client::head("GET", "/big"));
  ASSERT_TRUE(client.peer.run([&] { return client.peer.messages[big].body.size() == 65535; }));
  for (int i = 0; i < 50; ++i) EXPECT_EQ(client.get("/").body, "small");
  EXPECT_EQ(client.peer.messages[big].body.size(), 65535U);  // and what it does not take is not read from the endpoint: the proxy holds 64 KB and a slab
  nghttp2_submit_rst_stream(client.peer.session, 0, big, NGHTTP2_CANCEL);
  client.peer.flush();
  EXPECT_TRUE(proxy.wait_metric_equals("monopod_proxy_upstream_requests_active{cluster=\"backend\"}", 0));
  EXPECT_EQ(client.get("/").body, "small");
}

TEST(Http2, RoutesFiltersAndRefusalsAreThoseOfHttp1) {
  TestEndpoint endpoint(answering([](const std::string&) { return ok("x"); }));
  TestProxy proxy(simple_config(endpoint.address(), "  filters: [{kind: rbac, action: deny, rules: [{paths: [{prefix: /private}]}]}]\n"));
  Client client(proxy.port());
  struct Row {
    const char* path;
    Fields more;
    const char* status;
  };
  const Row rows[] = {{"/", {}, "200"}, {"/private/a", {}, "403"}, {"/a%2fb/%2e%2e/%00", {}, "400"}, {"/", {{"host", "a.test"}}, "200"}, {"/", {{"x-big", std::string(16'000, 'x')}}, "431"}, {"/", {}, "200"}};
  for (const Row& row : rows) EXPECT_EQ(client.get(row.path, row.more).fields[":status"], row.status) << row.path;
  EXPECT_EQ(client.get("/", {{"host", "b.test"}}).error, static_cast<std::uint32_t>(NGHTTP2_PROTOCOL_ERROR));
}

TEST(Http2, AnEndpointThatCutsAnAnswerResetsTheStreamAlone) {
  TestEndpoint cutting([](TestClient& c, int) {
    c.read_until("\r\n\r\n");
    c.send("HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nab");
  });
  TestProxy proxy(simple_config(cutting.address()));
  Client client(proxy.port());
  Message& m = client.get("/");
  EXPECT_EQ(m.fields[":status"], "200");
  EXPECT_NE(m.error, 0U);
  EXPECT_FALSE(client.peer.goaway);
  EXPECT_NE(client.get("/").error, 0U);  // the connection lives on
}

TEST(Http2, TheEndOfAListenerIsAGoaway) {
  std::atomic<bool> asked{false};
  TestEndpoint endpoint([&](TestClient& c, int) {
    c.read_until("\r\n\r\n");
    asked = true;
    asked.notify_all();
    c.read_until("never");
  });
  TestProxy proxy(simple_config(endpoint.address()));
  Client idle(proxy.port()), busy(proxy.port());
  std::int32_t id = busy.peer.request(Client::head("GET", "/"));
  busy.peer.flush();
  idle.peer.run([&] { return nghttp2_session_get_remote_settings(idle.peer.session, NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS) == 100; });
  asked.wait(false);
  ASSERT_TRUE(proxy.reload("clusters: []\n"));
  EXPECT_TRUE(idle.peer.run([&] { return idle.peer.goaway == 0U; }));
  EXPECT_TRUE(busy.peer.run([&] { return busy.peer.goaway == 0U; }));
  EXPECT_FALSE(busy.peer.messages[id].closed);  // goes on to its end
}

// gRPC in shape: length-prefixed messages, the verdict in the trailer.
const Fields kGrpcHead = {{":method", "POST"}, {":scheme", "http"}, {":authority", "a.test"}, {":path", "/pkg.Service/Call"}, {"content-type", "application/grpc"}, {"te", "trailers"}};

TEST(Http2, GrpcPassesWithItsTrailers) {
  TestEndpoint endpoint(http2_server([](Http2Peer& server) {
    server.on_end = [](Http2Peer& p, std::int32_t id) {
      Message& m = p.messages[id];
      Fields head{{":status", "200"}, {"content-type", "application/grpc"}, {"x-te", m.fields["te"]}};
      if (m.body == "fail") p.answer(id, {{":status", "200"}, {"content-type", "application/grpc"}, {"grpc-status", "5"}}, "", true);
      else p.answer(id, head, "answer to " + m.body, true, {{"grpc-status", "0"}, {"grpc-message", "fine"}});
    };
  }));
  TestProxy proxy(simple_config(endpoint.address(), {}, {}, "  http2: true\n"));
  Client client(proxy.port());
  std::vector<std::int32_t> ids;
  for (int i = 0; i < 20; ++i) ids.push_back(client.peer.request(kGrpcHead, true, cat("question ", i)));
  for (int i = 0; i < 20; ++i) {
    Message& m = client.peer.finish(ids[static_cast<std::size_t>(i)]);
    EXPECT_EQ(m.body, cat("answer to question ", i));
    EXPECT_EQ(m.fields["x-te"], "trailers");
    EXPECT_EQ(m.trailers["grpc-status"], "0");
    EXPECT_EQ(m.trailers["grpc-message"], "fine");
  }
  EXPECT_EQ(endpoint.accepted(), 1);  // one connection for all
  Message& failed = client.peer.finish(client.peer.request(kGrpcHead, true, "fail"));
  EXPECT_EQ(failed.fields["grpc-status"], "5");
  EXPECT_EQ(failed.error, 0U);
}

TEST(Http2, GrpcStreamsBothWaysAsTheMessagesCome) {
  TestEndpoint endpoint(http2_server([](Http2Peer& server) {
    server.on_head = [](Http2Peer& p, std::int32_t id) { p.answer(id, {{":status", "200"}, {"content-type", "application/grpc"}}, "", false); };
    server.on_body = [](Http2Peer& p, std::int32_t id) { p.send(id, std::exchange(p.messages[id].body, {})); };
    server.on_end = [](Http2Peer& p, std::int32_t id) {
      p.messages[id].out_trailers = {{"grpc-status", "0"}};
      p.send(id, "", true);
    };
  }));
  TestProxy proxy(simple_config(endpoint.address(), {}, {}, "  http2: true\n"));
  Client client(proxy.port());
  std::int32_t id = client.peer.request(kGrpcHead, false);
  std::string sent;
  for (int i = 0; i < 30; ++i) {
    std::string message(static_cast<std::size_t>(i) * 1000 + 1, static_cast<char>('a' + i % 26));
    client.peer.send(id, message);
    sent += message;
    ASSERT_TRUE(client.peer.run([&] { return client.peer.messages[id].body == sent; })) << i;
  }
  client.peer.send(id, "", true);
  EXPECT_EQ(client.peer.finish(id).trailers["grpc-status"], "0");
}

TEST(Http2, ACallerOfGrpcIsAnsweredWithinItsTimeAndInItsTerms) {
  TestEndpoint endpoint(http2_server([](Http2Peer&) {}));  // says nothing
  TestProxy proxy(simple_config(endpoint.address(), {}, "      timeout: 1h\n", "  http2: true\n"));
  Client client(proxy.port());
  Fields head = kGrpcHead;
  head.emplace_back("grpc-timeout", "50m");
  Message& late = client.peer.finish(client.peer.request(head, true, "question"));
  EXPECT_EQ(late.fields[":status"], "200");
  EXPECT_EQ(late.fields["grpc-status"], "4");
  EXPECT_EQ(late.error, 0U);
}

TEST(Http2, AClientOfHttp1ReachesAnEndpointOfHttp2) {
  TestEndpoint endpoint(http2_server([](Http2Peer& server) {
    server.on_end = [](Http2Peer& p, std::int32_t id) { p.answer(id, {{":status", "200"}, {"x-path", p.messages[id].fields[":path"]}}, p.messages[id].body, true, {{"x-t", "u"}}); };
  }));
  TestProxy proxy(simple_config(endpoint.address(), {}, {}, "  http2: true\n"));
  TestClient client(proxy.port());
  for (int i = 0; i < 3; ++i) {
    client.send("POST /p HTTP/1.1\r\nHost: a.test\r\nContent-Length: 3\r\n\r\nabc");
    EXPECT_EQ(client.read_until("\r\n\r\n"), "HTTP/1.1 200 OK\r\nx-path: /p\r\ntransfer-encoding: chunked\r\n\r\n");
    EXPECT_EQ(client.read_until("\r\n\r\n"), "3\r\nabc\r\n0\r\nx-t: u\r\n\r\n");
  }
  EXPECT_EQ(endpoint.accepted(), 1);
}

TEST(Http2, AStreamThatIsGivenUpIsGivenUpAtTheEndpoint) {
  std::atomic<std::uint32_t> error{0};
  TestEndpoint endpoint([&](TestClient& c, int) {
    Http2Peer server(c.fd(), Http2Peer::Side::kServer);
    server.run([&] { return server.messages[1].closed; });
    error = server.messages[1].error;
    error.notify_all();
  });
  TestProxy proxy(simple_config(endpoint.address(), {}, {}, "  http2: true\n"));
  Client client(proxy.port());
  std::int32_t id = client.peer.request(kGrpcHead, false, "x");
  client.peer.flush();
  ASSERT_TRUE(proxy.wait_metric("monopod_proxy_upstream_connections_active{cluster=\"backend\"}", 1));
  nghttp2_submit_rst_stream(client.peer.session, 0, id, NGHTTP2_CANCEL);
  client.peer.flush();
  // Whether it had reached the endpoint or not, nothing stays behind.
  client.peer.finish(id);
  EXPECT_TRUE(proxy.wait_metric_equals("monopod_proxy_requests_active{listener=\"web\"}", 0));
}

TEST(Http2, ABodyThatTheEndpointDoesNotReadHoldsTheClientBack) {
  std::atomic<bool> go{false};
  TestEndpoint endpoint([&](TestClient& c, int) {
    c.read_until("\r\n\r\n");
    go.wait(false);
    std::size_t got = c.read(20'000'000).size();
    c.send(ok(cat(got)));
    c.read_until("never");
  });
  TestProxy proxy(simple_config(endpoint.address()));
  Client client(proxy.port());
  Fields post = Client::head("POST", "/");
  post.emplace_back("content-length", "20000000");
  std::int32_t id = client.peer.request(post, true, std::string(20'000'000, 'b'));
  // A ping that comes back with the stream's window used up: nothing moves until somebody reads.
  auto window = [&] { return nghttp2_session_get_stream_remote_window_size(client.peer.session, id); };
  client.peer.run([&] { return window() == 0; });
  EXPECT_GT(client.peer.messages[id].out.size(), 1'000'000U);
  go = true;
  go.notify_all();
  EXPECT_EQ(client.peer.finish(id).body, "20000000");
}

TEST(Http2, AnEndpointsLimitOfStreamsOpensAnotherConnection) {
  TestEndpoint endpoint(http2_server([](Http2Peer& server) {
    nghttp2_settings_entry one{NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS, 2};
    nghttp2_submit_settings(server.session, 0, &one, 1);
    server.on_head = [](Http2Peer& p, std::int32_t id) { p.answer(id, {{":status", "200"}}, "", false); };
    server.on_end = [](Http2Peer& p, std::int32_t id) { p.send(id, "done", true); };
  }));
  TestProxy proxy(simple_config(endpoint.address(), {}, {}, "  http2: true\n"));
  Client client(proxy.port());
  std::vector<std::int32_t> ids;
  for (int i = 0; i < 5; ++i) {
    ids.push_back(client.peer.request(kGrpcHead, false));
    ASSERT_TRUE(client.peer.run([&] { return client.peer.messages[ids.back()].head_done; })) << i;
  }
  EXPECT_EQ(endpoint.accepted(), 3);
  for (std::int32_t id : ids) {
    client.peer.send(id, "", true);
    EXPECT_EQ(client.peer.finish(id).body, "done");
  }
}

class ClientCore final : public Pollable, public H2Core {
 public:
  ClientCore(Worker& worker, Socket& socket) : H2Core(worker, socket, *this, Side::kClient) { open(); }
  void on_ready(std::uint32_t) override {}
  void on_request(const std::shared_ptr<H2Stream>&) override {}
  std::shared_ptr<H2Stream> ask() {
    constexpr std::string_view kText = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";
    parse_request_head(kText.data(), kText.size(), head_);
    auto stream = std::make_shared<H2Stream>(static_cast<H2Core&>(*this));
    add_unsent(stream);
    EXPECT_TRUE(stream->send_head(head_, HeadEdits(), "/", true));
    return stream;
  }

 private:
  Head head_;
};

// Slots are given by what is known of the endpoint; it may say less before their heads leave.
TEST(Http2, AHeadWaitsWhereTheEndpointTakesNoMoreStreams) {
  SystemRng rng;
  std::unique_ptr<Worker> worker = std::move(*Worker::make(rng));
  int fds[2];
  ASSERT_EQ(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, fds), 0);
  sys::Fd peer_end(fds[1]);
  Socket socket{sys::Fd(fds[0])};
  auto* core = new ClientCore(*worker, socket);  // the poller, which may still name it, destroys it
  auto turn = [&] {
    socket.note(EPOLLIN | EPOLLOUT);
    return core->turn();
  };
  Http2Peer peer(peer_end.get(), Http2Peer::Side::kServer);
  nghttp2_settings_entry one{NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS, 1};
  nghttp2_submit_settings(peer.session, 0, &one, 1);
  peer.flush();
  ASSERT_TRUE(turn());
  auto first = core->ask(), second = core->ask(), third = core->ask();
  for (std::int32_t id : {1, 3, 5}) {
    ASSERT_TRUE(turn());
    ASSERT_TRUE(peer.run([&] { return peer.messages[id].ended; })) << id;
    EXPECT_FALSE(peer.messages.contains(id + 2));
    peer.answer(id, {{":status", "204"}}, "", true);
    peer.flush();
  }
  ASSERT_TRUE(turn());
  EXPECT_TRUE(first->closed() && second->closed() && third->closed());
  core->fail_all();
  worker->poller().retire(core);
  worker->poller().poll(0);
}

TEST(Http2, WhatIsNeverIndexedStaysSo) {
  std::atomic<int> kept{0};
  TestEndpoint endpoint([&](TestClient& c, int) {
    // Blocks of requests as they stand on the wire: the value is a literal each time.
    c.send(std::string("\0\0\0\4\0\0\0\0\0", 9));
    std::string all;
    while (all.find("opaque-one") == std::string::npos || all.find("opaque-two") == std::string::npos) {
      std::string more = c.read(1);
      if (more.empty()) return;
      all += more;
    }
    auto first_of = [&all](std::string_view value) { return static_cast<unsigned char>(all[all.find(value) - std::string_view("x-secret").size() - 3]); };
    kept = (first_of("opaque-one") == 0x10 ? 1 : 0) + (first_of("opaque-two") == 0x40 ? 2 : 0);
    kept.notify_all();
  });
  TestProxy proxy(simple_config(endpoint.address(), {}, {}, "  http2: true\n"));
  Client client(proxy.port());
  for (auto [value, flags] : {std::pair{"opaque-one", NGHTTP2_NV_FLAG_NO_INDEX}, std::pair{"opaque-two", NGHTTP2_NV_FLAG_NONE}}) {
    std::vector<nghttp2_nv> nva;
    Fields fields = Client::head("GET", "/");
    fields.emplace_back(std::string_view(value) == "opaque-one" ? "x-secret" : "x-public", value);
    for (const auto& [name, text] : fields)
      nva.push_back({reinterpret_cast<std::uint8_t*>(const_cast<char*>(name.data())), reinterpret_cast<std::uint8_t*>(const_cast<char*>(text.data())), name.size(), text.size(), static_cast<std::uint8_t>(flags)});
    nghttp2_submit_request(client.peer.session, nullptr, nva.data(), nva.size(), nullptr, nullptr);
  }
  client.peer.flush();
  kept.wait(0);
  EXPECT_EQ(kept, 3);
}

TEST(Http2, AnEndpointThatGoesAwayIsConnectedToAnew) {
  TestEndpoint endpoint(http2_server([](Http2Peer& server) {
    server.on_end = [](Http2Peer& p, std::int32_t id) {
      p.answer(id, {{":status", "200"}}, "x", true);
      nghttp2_submit_goaway(p.session, 0, id, NGHTTP2_NO_ERROR, nullptr, 0);
    };
  }));
  TestProxy proxy(simple_config(endpoint.address(), {}, {}, "  http2: true\n"));
  Client client(proxy.port());
  for (int i = 0; i < 5; ++i) EXPECT_EQ(client.get("/").body, "x") << i;
  EXPECT_GE(endpoint.accepted(), 4);
}

TEST(Http2, AConnectionWhoseEndpointFellSilentTakesNoMoreRequests) {
  TestEndpoint endpoint([](TestClient& c, int number) {
    Http2Peer server(c.fd(), Http2Peer::Side::kServer);
    bool answered = false;
    server.on_end = [&answered](Http2Peer& p, std::int32_t id) {
      p.answer(id, {{":status", "200"}}, "x", true);
      answered = true;
    };
    while (server.run([&] { return number == 0 && answered; }) && number != 0) {
    }
    if (number == 0) TestClient(sys::Fd(::dup(c.fd()))).read_until("never");
  });
  TestProxy proxy(simple_config(endpoint.address(), {}, "      timeout: 1100ms\n", "  http2: true\n"));
  Client client(proxy.port());
  EXPECT_EQ(client.get("/").body, "x");
  EXPECT_EQ(client.get("/").fields[":status"], "504");
  EXPECT_EQ(client.get("/").body, "x");
  EXPECT_EQ(endpoint.accepted(), 2);
}

// Of the first GOAWAY; none where the connection ends before.
std::optional<std::uint32_t> read_goaway(TestClient& client) {
  for (;;) {
    std::string head = client.read(9);
    if (head.size() < 9) return std::nullopt;
    auto byte = [&head](std::size_t i) { return static_cast<std::size_t>(static_cast<unsigned char>(head[i])); };
    std::string payload = client.read(byte(0) << 16U | byte(1) << 8U | byte(2));
    if (byte(3) == 7 && payload.size() >= 8) return static_cast<unsigned char>(payload[7]);
  }
}

TEST(Http2, FloodsEndTheConnectionWithEnhanceYourCalm) {
  const std::string head("\x82\x86\x84\x41\x01" "a", 6);  // GET http / a
  std::string resets, empties = frame(1, 4, 1, "\x83" + head.substr(1)), continuations = frame(1, 1, 1, head), list = frame(1, 1, 1, head);
  for (std::uint32_t i = 0; i < 3000; ++i) resets += frame(1, 5, 2 * i + 1, head) + frame(3, 0, 2 * i + 1, std::string("\0\0\0\x8", 4));
  for (int i = 0; i < 5000; ++i) empties += frame(0, 0, 1, "");
  for (int i = 0; i < 20000; ++i) continuations += frame(9, 0, 1, "");
  std::string field = std::string("\0\x01x\x7f\x81\x7e", 6) + std::string(16384 - 256, 'v');  // of 16,256 bytes
  field = std::string("\0\x01x\x7f", 4) + "\x81\x7e" + std::string(127 + 1 + 126 * 128, 'v');
  for (int i = 0; i < 10; ++i) list += frame(9, 0, 1, field);
  auto many = [](const std::string& f) {
    std::string out;
    for (int i = 0; i < 5000; ++i) out += f;
    return out;
  };
  struct Row {
    const char* name;
    std::string bytes;
  };
  const Row rows[] = {{"ping", many(frame(6, 0, 0, "12345678"))}, {"settings", many(frame(4, 0, 0, ""))}, {"priority", many(frame(2, 0, 3, std::string("\0\0\0\0\1", 5)))},
                      {"resets", resets}, {"empty data", empties}, {"continuations", continuations}, {"header list", list}};
  TestEndpoint endpoint(answering([](const std::string&) { return ok("x"); }));
  TestProxy proxy(simple_config(endpoint.address(), {}, {}, "  limits: {connections: 10000, requests: 10000}\n"));
  for (const Row& row : rows) {
    TestClient client(proxy.port());
    client.send(cat(kPreface, frame(4, 0, 0, ""), row.bytes));
    EXPECT_EQ(read_goaway(client), static_cast<std::uint32_t>(NGHTTP2_ENHANCE_YOUR_CALM)) << row.name;
  }
  Client after(proxy.port());
  EXPECT_EQ(after.get("/").body, "x");
}

TEST(Http2, ThePrefaceIsTakenOnlyWhereItIsWantedAndFirst) {
  TestEndpoint endpoint(answering([](const std::string&) { return ok("x"); }));
  const std::string preface(kPreface);
  TestProxy off(simple_config(endpoint.address(), "  http2: false\n")), on(simple_config(endpoint.address()));
  TestClient refused(off.port());
  refused.send(preface);
  EXPECT_TRUE(refused.read_until("\r\n").starts_with("HTTP/1.1 505"));
  TestClient late(on.port());
  late.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n" + preface);
  EXPECT_TRUE(late.read_answer().ends_with("x"));
  EXPECT_TRUE(late.read_until("\r\n").starts_with("HTTP/1.1 505"));
  TestClient slow(on.port());
  for (char c : preface + frame(4, 0, 0, "")) slow.send({&c, 1});
  EXPECT_EQ(slow.read(9).substr(3, 1), "\x04");
}

TEST(Http2, WhatDoesNotGoWithItIsRefusedByName) {
  struct Row {
    const char* cluster;
    const char* want;
  };
  for (const Row& row : {Row{"  http2: true\n  proxy_protocol: v1\n", "proxy_protocol"}, Row{"  http2: true\n  health_check: {path: /h}\n", "health_check.path"}}) {
    TestProxy proxy(simple_config("127.0.0.1:1"));
    Result<> loaded = proxy.reload(simple_config("127.0.0.1:1", {}, {}, row.cluster));
    ASSERT_FALSE(loaded);
    EXPECT_NE(loaded.error().message().find(row.want), std::string::npos) << loaded.error().message();
  }
  TestProxy proxy(simple_config("127.0.0.1:1"));
  Result<> tcp = proxy.reload("listeners:\n- {name: t, address: PORT0, protocol: tcp, cluster: c}\nclusters:\n- {name: c, endpoints: [\"127.0.0.1:1\"], http2: true}\n");
  ASSERT_FALSE(tcp);
  EXPECT_NE(tcp.error().message().find("http2"), std::string::npos);
}

}  // namespace
}  // namespace monopod::proxy
