#include "proxy/h2/downstream.h"

#include <openssl/ssl.h>

#include "proxy/limits.h"
#include "proxy/stream/http_session.h"

namespace monopod::proxy {

bool is_http2(const ssl_st* ssl) {
  const unsigned char* name = nullptr;
  unsigned size = 0;
  SSL_get0_alpn_selected(ssl, &name, &size);
  return size == 2 && name[0] == 'h' && name[1] == '2';
}

void H2Downstream::begin(std::string_view initial) {
  if (closed()) return close();
  open();
  client_text();  // for all its streams
  feed(initial);
  worker_.poller().again(*this);
  arm(worker_.now_ms() + static_cast<std::uint64_t>(runtime_->config->spec.idle_timeout.count()));
}

void H2Downstream::on_drain() {
  if (!closed()) go_away();
}

void H2Downstream::drive() {
  if (linger_) {
    char* slab = worker_.slabs().take();
    Moved moved{Moved::kBlocked};
    for (int i = 0; i < kStepsPerTurn && socket_.can_read(); ++i)
      if ((moved = socket_.read(slab, kSlabBytes)).kind != Moved::kBytes) break;
    worker_.slabs().give(slab);
    if (moved.kind == Moved::kBytes) worker_.poller().again(*this);
    else if (moved.kind != Moved::kBlocked) close();
    return;
  }
  if (!turn()) end();
}

// The last frame says why; a close with bytes unread would take it back (RFC 9112 section 9.6 says it of HTTP/1).
void H2Downstream::end() {
  fail_all();
  if (socket_.peer_ended()) return close();
  socket_.shutdown_write();
  linger_ = true;
  arm(worker_.now_ms() + kLingerMs);
  worker_.poller().again(*this);
}

// Idle, or nobody takes what is left to be sent.
void H2Downstream::on_deadline() {
  if (linger_) return close();
  std::uint64_t now = worker_.now_ms();
  if (!end_lingering()) return arm(now + kLateRequestMs);
  std::uint64_t due = moved_ms() + static_cast<std::uint64_t>(runtime_->config->spec.idle_timeout.count());
  if (has_users()) return arm(now + static_cast<std::uint64_t>(runtime_->config->spec.idle_timeout.count()));
  if (now < due) return arm(due);
  go_away();
  if (H2Core::idle()) return drive();
  end();
}

void H2Downstream::on_lingering() { arm(worker_.now_ms() + kLateRequestMs); }

void H2Downstream::on_request(const std::shared_ptr<H2Stream>& stream) {
  if (!slot_->current || !slot_->current->config->routes) return reset(*stream, H2Error::kRefusedStream);
  if (runtime_ != slot_->current) runtime_ = slot_->current;
  auto* session = new (worker_.blocks()) HttpSession(*this, stream);  // closes itself, by retire()
  stream->set_user(session);
  session->begin_stream();
}

}  // namespace monopod::proxy
