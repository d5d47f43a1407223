#include "proxy/stream/duplex.h"

#include <algorithm>
#include <cstring>

#include "proxy/limits.h"

namespace monopod::proxy {

Lane::~Lane() {
  slabs_.give(slab_);
  pipes_.give(std::move(pipe_));
}

void Lane::preload(std::string_view bytes) {
  if (bytes.empty()) return;
  slab_ = slabs_.take();
  end_ = std::min(bytes.size(), kSlabBytes);
  std::memcpy(slab_, bytes.data(), end_);
}

Moved::Kind Lane::write_out(Socket& to) {
  while (at_ < end_) {
    iovec part{slab_ + at_, end_ - at_};
    Moved moved = to.write({&part, 1});
    if (moved.kind != Moved::kBytes) return moved.kind;
    at_ += moved.bytes;
    moved_ += moved.bytes;
  }
  if (pipe_ && pipe_->held > 0) {
    Moved moved = splice_out(*pipe_, to, false);
    moved_ += moved.bytes;
    if (moved.kind != Moved::kBytes) return moved.kind;
  }
  return Moved::kBytes;
}

Moved::Kind Lane::read_in(Socket& from, Socket& to) {
  if (pipe_) return splice_in(from, *pipe_, kPipeBytes).kind;
  if (slab_ == nullptr) slab_ = slabs_.take();
  Moved moved = from.read(slab_, kSlabBytes);
  at_ = 0;
  end_ = moved.bytes;
  if (moved.kind == Moved::kBytes && moved.bytes == kSlabBytes && from.can_splice() && to.can_splice()) pipe_ = pipes_.take();
  return moved.kind;
}

Lane::Outcome Lane::pump(Socket& from, Socket& to) {
  if (ended_) return Outcome::kEnded;
  for (int step = 0; step < kStepsPerTurn; ++step) {
    Moved::Kind written = write_out(to);
    if (written == Moved::kBlocked) return Outcome::kWaiting;
    if (written != Moved::kBytes) return Outcome::kFailed;
    if (source_ended_) {
      to.shutdown_write();
      ended_ = true;
      return Outcome::kEnded;
    }
    Moved::Kind read = from.can_read() ? read_in(from, to) : Moved::kBlocked;
    if (read == Moved::kFailed) return Outcome::kFailed;
    if (read == Moved::kEnd) source_ended_ = true;
    if (read != Moved::kBlocked) continue;
    slabs_.give(std::exchange(slab_, nullptr));
    at_ = end_ = 0;
    if (pipe_) pipes_.give(std::move(pipe_));
    return Outcome::kWaiting;
  }
  return Outcome::kBusy;
}

Duplex::Outcome Duplex::pump(Socket& client, Socket& endpoint) {
  Lane::Outcome u = up.pump(client, endpoint), d = down.pump(endpoint, client);
  auto either = [u, d](Lane::Outcome what) { return u == what || d == what; };
  if (either(Lane::Outcome::kFailed)) return Outcome::kFailed;
  if (up.ended() && down.ended()) return Outcome::kEnded;
  // A lane with nothing to write does not see that who it would write to is gone.
  if (up.ended() && client.peer_lost()) return Outcome::kCut;
  if (down.ended() && endpoint.peer_lost()) return Outcome::kFailed;
  return either(Lane::Outcome::kBusy) ? Outcome::kBusy : Outcome::kWaiting;
}

}  // namespace monopod::proxy
