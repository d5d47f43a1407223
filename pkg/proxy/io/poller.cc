#include "proxy/io/poller.h"

namespace monopod::proxy {
Result<Poller> Poller::make() {
  sys::Fd epoll(::epoll_create1(EPOLL_CLOEXEC));
  if (!epoll) return fail_errno("create epoll");
  return Poller(std::move(epoll));
}

Poller::~Poller() {
  for (Pollable* p : retired_) delete p;
}

Result<> Poller::add(int fd, Pollable& pollable) {
  epoll_event event{.events = EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET, .data = {.ptr = &pollable}};
  if (::epoll_ctl(epoll_.get(), EPOLL_CTL_ADD, fd, &event) != 0) return fail_errno("watch socket");
  return {};
}

Result<> Poller::move(int fd, Pollable& pollable) {
  epoll_event event{.events = EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET, .data = {.ptr = &pollable}};
  if (::epoll_ctl(epoll_.get(), EPOLL_CTL_MOD, fd, &event) != 0) return fail_errno("watch socket");
  return {};
}

Result<> Poller::watch_end(int fd, Pollable& pollable) {
  epoll_event event{.events = EPOLLRDHUP | EPOLLET, .data = {.ptr = &pollable}};
  if (::epoll_ctl(epoll_.get(), EPOLL_CTL_MOD, fd, &event) != 0) return fail_errno("watch socket");
  return {};
}

Result<> Poller::watch_readable(int fd, Pollable& pollable) {
  epoll_event event{.events = EPOLLIN, .data = {.ptr = &pollable}};
  if (::epoll_ctl(epoll_.get(), EPOLL_CTL_ADD, fd, &event) != 0) return fail_errno("watch listening socket");
  return {};
}

void Poller::unwatch(int fd) { ::epoll_ctl(epoll_.get(), EPOLL_CTL_DEL, fd, nullptr); }

void Poller::again(Pollable& pollable) {
  if (pollable.queued_ || pollable.retired_) return;
  pollable.queued_ = true;
  again_.push_back(&pollable);
}

int Poller::wait(int timeout_ms) {
  return ::epoll_wait(epoll_.get(), events_.data(), static_cast<int>(events_.size()), again_.empty() && retired_.empty() ? timeout_ms : 0);
}

void Poller::dispatch(int count) {
  for (int i = 0; i < count; ++i) {
    const epoll_event& event = events_[static_cast<std::size_t>(i)];
    auto* pollable = static_cast<Pollable*>(event.data.ptr);
    if (!pollable->retired_) pollable->on_ready(event.events);
  }
  running_.swap(again_);
  for (Pollable* pollable : running_) {
    pollable->queued_ = false;
    if (!pollable->retired_) pollable->on_ready(0);
  }
  running_.clear();
  while (!retired_.empty()) {  // a destructor may retire others
    dying_.swap(retired_);
    std::erase_if(again_, [](Pollable* p) { return p->retired_; });
    for (Pollable* p : dying_) delete p;
    dying_.clear();
  }
}

void Poller::retire(Pollable* pollable) {
  if (pollable->retired_) return;
  pollable->retired_ = true;
  retired_.push_back(pollable);
}

}  // namespace monopod::proxy
