#include "proxy/h2/core.h"

#include <sys/epoll.h>

#include <algorithm>

#include "base/log.h"
#include "http/limits.h"
#include "proxy/h2/downstream.h"
#include "proxy/limits.h"

namespace monopod::proxy {
namespace {

const http::Limits kLimits;  // what the servers of this program judge by, too

}  // namespace

H2Core::H2Core(Worker& worker, Socket& socket, Pollable& wakes, Side side)
    : host_(worker), wire_(socket), wakes_(wakes), side_(side), reader_(side == Side::kServer ? kHttp2Preface : std::string_view()),
      resets_(kLimits.reset_budget, kLimits.reset_refill_per_second), controls_(kLimits.control_budget, kLimits.control_refill_per_second), moved_ms_(worker.now_ms()) {}

H2Core::~H2Core() {
  for (auto& stream : streams_) stream->detach();
  for (auto& stream : unsent_) stream->detach();
}

void H2Core::open() {
  if (side_ == Side::kClient) out_.tail().append(kHttp2Preface);
  std::string settings;
  auto say = [&settings](Setting id, std::uint32_t value) {
    settings += '\0';
    settings += static_cast<char>(id);
    append_u32(settings, value);
  };
  say(Setting::kInitialWindowSize, kLimits.stream_window_bytes);
  say(Setting::kMaxHeaderListSize, kHeadBytesMax);
  if (side_ == Side::kServer) {
    say(Setting::kMaxConcurrentStreams, kStreamsMax);
    say(Setting::kEnableConnectProtocol, 1);
  } else {
    say(Setting::kEnablePush, 0);
  }
  append_frame(FrameType::kSettings, 0, 0, settings);
  append_window_update(0, kConnectionWindowBytes - kWindowInitial);
  window_in_ = kConnectionWindowBytes;
}

H2Stream* H2Core::find(std::int32_t id) const {
  H2Stream* stream = slots_[static_cast<std::uint32_t>(id) / 2 % slots_.size()];
  while (stream != nullptr && stream->id != id) stream = stream->next_in_slot;
  return stream;
}

void H2Core::add(std::shared_ptr<H2Stream> stream) {
  H2Stream*& slot = slots_[static_cast<std::uint32_t>(stream->id) / 2 % slots_.size()];
  stream->next_in_slot = std::exchange(slot, stream.get());
  stream->window_out = initial_window_out_;
  stream->window_in = kLimits.stream_window_bytes;
  stream->position = streams_.size();
  streams_.push_back(std::move(stream));
  if (side_ == Side::kServer) ++host_.stream_load().open;
}

// Both ends are done with it, or one gave it up.
void H2Core::close_stream(H2Stream& stream, H2Error error) {
  if (stream.closed()) return;
  H2Stream** place = &slots_[static_cast<std::uint32_t>(stream.id) / 2 % slots_.size()];
  while (*place != &stream) place = &(*place)->next_in_slot;
  *place = stream.next_in_slot;
  closed_streams_.push_back(std::move(streams_[stream.position]));
  if (stream.position + 1 != streams_.size()) {
    streams_[stream.position] = std::move(streams_.back());
    streams_[stream.position]->position = stream.position;
  }
  streams_.pop_back();
  if (side_ == Side::kServer) --host_.stream_load().open;
  if (std::exchange(stream.waits, false)) std::erase(waiting_, &stream);
  closed_.note_closed(stream.id);
  stream.mark_closed();
  bool answered = side_ == Side::kClient && stream.input_ended();
  note(stream, answered ? EPOLLIN : EPOLLIN | EPOLLHUP);
  stream.detach();
  // Resets the peer sent, or provoked (CVE-2023-44487, CVE-2025-8671).
  if (side_ == Side::kServer && error != H2Error::kNone && !stream.reset_by_us && !stream.lingers && !resets_.spend(MonoTime(std::chrono::milliseconds(host_.now_ms())))) calm_down("resets");
  on_stream_gone();
  if (side_ == Side::kClient) send_parked();
  schedule();  // who is closed is forgotten at a turn's end
}

bool H2Core::has_users() const {
  return std::ranges::any_of(streams_, [](const auto& stream) { return stream->user() != nullptr; });
}

void H2Core::schedule() {
  if (!in_turn_) host_.poller().again(wakes_);
}

void H2Core::note(H2Stream& stream, std::uint32_t events) {
  if (stream.user() == nullptr) return;  // who comes later looks for itself
  stream.events |= events;
  if (std::exchange(stream.queued, true)) return;
  ready_.push_back(&stream);
  schedule();
}

void H2Core::forget(H2Stream& stream) {
  if (!stream.queued) return;
  std::erase(ready_, &stream);
  std::ranges::replace(running_, &stream, static_cast<H2Stream*>(nullptr));
}

std::shared_ptr<H2Stream> H2Core::take_unsent(H2Stream& stream) {
  auto place = std::ranges::find_if(unsent_, [&stream](const auto& other) { return other.get() == &stream; });
  if (place == unsent_.end()) return nullptr;
  std::shared_ptr<H2Stream> out = std::move(*place);
  unsent_.erase(place);
  return out;
}

void H2Core::note_unsent() {
  for (const auto& stream : unsent_) note(*stream, EPOLLOUT);
}

void H2Core::reset(H2Stream& stream, H2Error error) {
  if (stream.closed() || stream.id == 0) return;
  stream.reset_by_us = true;
  append_reset(stream.id, error);
  close_stream(stream, error);
}

void H2Core::linger(H2Stream& stream) {
  stream.lingers = true;
  lingering_.push_back({stream.id, host_.now_ms()});
  if (lingering_.size() == 1) on_lingering();
}

bool H2Core::end_lingering() {
  std::size_t over = 0;
  while (over < lingering_.size() && host_.now_ms() - lingering_[over].since_ms >= kLateRequestMs)
    if (H2Stream* stream = find(lingering_[over++].id)) reset(*stream, H2Error::kNone);
  lingering_.erase(lingering_.begin(), lingering_.begin() + static_cast<std::ptrdiff_t>(over));
  return lingering_.empty();
}

void H2Core::user_gone(H2Stream& stream) {
  if (stream.closed() || stream.id == 0) {
    take_unsent(stream);
    schedule();
    return on_stream_gone();
  }
  bool server = side_ == Side::kServer;
  if (server && !stream.ended()) return reset(stream, H2Error::kInternal);
  if (server || (stream.input_ended() && stream.ended())) return;
  reset(stream, H2Error::kCancel);
  // An endpoint that fell silent would hold every request that shares the connection.
  if (host_.now_ms() - std::max(heard_ms_, stream.opened_ms) >= kSilenceMs) go_away();
}

void H2Core::go_away() {
  if (std::exchange(leaving_, true)) return;
  append_goaway(H2Error::kNone);
  went_away_ = true;
  schedule();
}

void H2Core::terminate(H2Error error) {
  if (std::exchange(terminated_, true)) return;
  leaving_ = true;
  append_goaway(error);
  schedule();
}

void H2Core::calm_down(std::string_view why) {
  if (terminated_) return;
  log::debug("http2 peer is told to calm down", {{"why", why}});
  terminate(H2Error::kEnhanceYourCalm);
}

void H2Core::deliver() {
  while (!requests_.empty() || !ready_.empty()) {
    running_.swap(requests_);
    host_.stream_load().told += running_.size();
    for (H2Stream* stream : running_)
      if (!stream->closed()) on_request(streams_[stream->position]);
    running_.clear();
    running_.swap(ready_);
    host_.stream_load().told += running_.size();
    for (std::size_t i = 0; i < running_.size(); ++i) {
      H2Stream* stream = running_[i];
      if (stream == nullptr) continue;  // destroyed by one before it
      stream->queued = false;
      std::uint32_t events = std::exchange(stream->events, 0);
      if (stream->user() != nullptr) stream->user()->on_ready(events);
    }
    running_.clear();
  }
  closed_streams_.clear();
}

bool H2Core::turn() {
  in_turn_ = true;
  bool alive = true;
  for (int step = 0; alive; ++step) {
    if (step == kStepsPerTurn) {
      host_.poller().again(wakes_);
      break;
    }
    bool came = false;
    if (wire_.can_read() && !done()) {
      char* slab = host_.slabs().take();
      Moved moved = wire_.read(slab, kSlabBytes);
      if (moved.kind == Moved::kBytes) feed({slab, moved.bytes});
      host_.slabs().give(slab);
      came = moved.kind == Moved::kBytes;
      if (came) heard_ms_ = host_.now_ms();
      alive = came || moved.kind == Moved::kBlocked;
    }
    deliver();
    alive = flush() && alive;
    if (!came && !wake_waiting() && ready_.empty()) break;
  }
  in_turn_ = false;
  return alive && (out_.size() > 0 || !done());
}

void H2Core::fail_all() {
  leaving_ = true;
  terminated_ = true;
  std::vector<std::shared_ptr<H2Stream>> all = std::exchange(streams_, {});
  if (side_ == Side::kServer) host_.stream_load().open -= all.size();
  slots_ = {};
  waiting_.clear();
  requests_.clear();
  in_turn_ = true;
  auto fail = [this](H2Stream& stream) {
    stream.mark_closed();
    note(stream, EPOLLIN | EPOLLHUP);
  };
  for (auto& stream : all) fail(*stream);
  for (auto& stream : unsent_) fail(*stream);
  deliver();
  in_turn_ = false;
  for (auto& stream : all) stream->detach();
  for (auto& stream : std::exchange(unsent_, {})) stream->detach();
}

}  // namespace monopod::proxy
