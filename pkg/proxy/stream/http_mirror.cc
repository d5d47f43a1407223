// A mirror's copy of a request. It is sent once the answer is out, and holds nobody back: what the slab has no room for is kept as it passes, up to the
// route's body_kb_max and the worker's kMirrorBytesMax; past either there is no copy of that request. (A mirror that could slow the request down would
// be a part of what it is to watch.) Bodies that are copied are not spliced.
#include <charconv>

#include "base/strings.h"
#include "proxy/stream/http_session.h"

namespace monopod::proxy {

void HttpSession::plan_mirror() {
  Exchange& e = *exchange_;
  const RouteSpec& spec = e.route->spec;
  if (worker_.rng().below(100) >= spec.mirror_percent) return;
  bool fits = e.request.framing != Framing::kLength || e.request.length <= std::uint64_t{spec.mirror_body_kb_max} << 10;
  bool copies = fits && !e.request.wants_upgrade && !e.grpc_web.text_request;  // the last is not sent on as it came
  if (copies) e.mirror = std::make_unique<MirrorCopy>(worker_.mirror_bytes());
  else runtime_->clusters[e.route->mirror_cluster]->stats().mirrors_skipped.add();
}

void HttpSession::keep_for_mirror() {
  Exchange& e = *exchange_;
  e.mirror->add({input_ + e.request.size, e.body_at - e.request.size});
  if (e.mirror->bytes.size() <= std::size_t{e.route->spec.mirror_body_kb_max} << 10 && worker_.mirror_bytes() <= kMirrorBytesMax) return;
  e.mirror = nullptr;
  runtime_->clusters[e.route->mirror_cluster]->stats().mirrors_skipped.add();
}

void HttpSession::send_mirror() {
  Exchange& e = *exchange_;
  const std::shared_ptr<Cluster>& cluster = runtime_->clusters[e.route->mirror_cluster];
  if (!e.request_body.done || !e.request_sent || e.tunnel || e.attempts == 0) return;
  e.mirror->add({input_ + e.request.size, e.body_at - e.request.size});
  std::string body = std::move(e.mirror->bytes);
  worker_.mirror_bytes() -= body.size();
  e.mirror->bytes.clear();
  if (body.size() > std::size_t{e.route->spec.mirror_body_kb_max} << 10) return cluster->stats().mirrors_skipped.add();
  if (e.request.framing == Framing::kStream) {  // frames said where it ends
    char size[16];
    char* end = std::to_chars(size, size + sizeof size, body.size(), 16).ptr;
    e.request_edits.set(e.request, e.arena, "transfer-encoding", "chunked");
    body = body.empty() ? "0\r\n\r\n" : cat(std::string_view(size, static_cast<std::size_t>(end - size)), "\r\n", body, "\r\n0\r\n\r\n");
  }
  e.up.clear();
  e.up.add(e.arena.join({e.request.method, " ", e.target, " HTTP/1.1\r\n"}));
  e.request_edits.write(e.request, e.up);
  SideCall::send(cluster, e.up.text() + body, std::max(e.route->spec.timeout, Milliseconds(1000)));
  cluster->stats().mirrors.add();
  e.up.clear();
}

}  // namespace monopod::proxy
