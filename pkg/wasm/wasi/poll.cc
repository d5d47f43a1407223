// poll_oneoff: waiting for files and clocks.
#include <poll.h>
#include <sys/ioctl.h>
#include <time.h>

#include <algorithm>

#include "wasm/wasi/abi.h"

namespace monopod::wasm {
namespace {

using namespace wasi;

constexpr u32 kEventBytes = 32;

u32 poll(Wasi& w, Caller& caller, u32 in, u32 out, u32 count, u32 events_at, Snapshot snapshot) {
  // Of a clock there is a name before the rest in the unstable snapshot, which says nothing.
  const u32 shift = snapshot == Snapshot::kUnstable ? 8 : 0, subscription_bytes = 48 + shift;
  MONOPOD_WASI_MEMORY(caller);
  if (count == 0 || count > kWasiSubscriptionsMax) return kInvalid;
  MONOPOD_WASI_HOLDS(in, u64{count} * subscription_bytes);
  MONOPOD_WASI_HOLDS(out, u64{count} * kEventBytes);
  MONOPOD_WASI_HOLDS(events_at, 4);
  struct Subscription {
    u64 userdata = 0;
    u8 tag = 0;
    u16 error = kSuccess;
    clockid_t clock = CLOCK_MONOTONIC;
    u64 due = 0;          // by its clock
    std::size_t slot = 0; // in the set, of files
    bool ready = false;
  };
  std::vector<Subscription> list(count);
  std::vector<pollfd> set{{w.wake_fd(), POLLIN, 0}};
  bool any_ready = false;
  for (u32 i = 0; i < count; ++i) {
    u32 at = in + i * subscription_bytes;
    Subscription& s = list[i];
    s.userdata = memory.read<u64>(at);
    s.tag = memory.read<u8>(at + 8);
    if (s.tag == 0) {
      u32 id = memory.read<u32>(at + shift + 16);
      u64 timeout = memory.read<u64>(at + shift + 24);
      if (id > 1) s.error = id > 3 ? u16{kInvalid} : u16{kNotSupported};
      s.clock = id == 0 ? CLOCK_REALTIME : CLOCK_MONOTONIC;
      u64 t = w.now_ns(s.clock);
      s.due = (memory.read<u16>(at + shift + 40) & 1) != 0 ? timeout : timeout > ~u64{0} - t ? ~u64{0} : t + timeout;
    } else if (s.tag <= 2) {
      u16 error = kSuccess;
      // The right to read or write is one to wait for it, too.
      u32 fd = memory.read<u32>(at + 16);
      Wasi::File* f = w.file(fd, s.tag == 1 ? u64{kFdRead} : u64{kFdWrite}, error);
      if (f == nullptr && error != kBadFile) f = w.file(fd, kPollFd, error);
      s.error = f == nullptr ? error : u16{kSuccess};
      if (f != nullptr) {
        s.slot = set.size();
        set.push_back({f->fd.get(), static_cast<short>(s.tag == 1 ? POLLIN : POLLOUT), 0});
      }
    } else {
      return kInvalid;
    }
    any_ready = any_ready || s.error != kSuccess;
  }
  // Nothing that could be waited for: the call itself fails then, as in other implementations.
  if (std::ranges::all_of(list, [](const Subscription& s) { return s.error == kBadFile; })) return kBadFile;
  for (bool first = true;; first = false) {
    i64 wait_ns = -1;
    for (Subscription& s : list) {
      if (s.tag != 0 || s.error != kSuccess) continue;
      u64 t = w.now_ns(s.clock);
      s.ready = t >= s.due;
      any_ready = any_ready || s.ready;
      i64 left = s.ready ? 0 : static_cast<i64>(std::min<u64>(s.due - t, u64{1} << 60));
      wait_ns = wait_ns < 0 ? left : std::min(wait_ns, left);
    }
    const bool looks = any_ready || wait_ns < 0 || w.options().deterministic;
    timespec limit{looks ? 0 : wait_ns / 1'000'000'000, looks ? 0 : wait_ns % 1'000'000'000};
    int n = ::ppoll(set.data(), set.size(), any_ready || wait_ns >= 0 ? &limit : nullptr, nullptr);
    if (n < 0 && errno != EINTR) return last_errno();
    if (n > 0 && set[0].revents != 0) return kInterrupted;
    if (n > 0 || (any_ready && !first)) break;
    if (any_ready) break;
    if (w.options().deterministic && n == 0) w.sleep_virtually(static_cast<u64>(std::max<i64>(wait_ns, 0)));
  }
  u32 events = 0;
  for (Subscription& s : list) {
    if (s.tag != 0 && s.error == kSuccess) s.ready = set[s.slot].revents != 0;
    if (!s.ready && s.error == kSuccess) continue;
    u32 at = out + events++ * kEventBytes;
    std::memset(memory.bytes().data() + at, 0, kEventBytes);
    memory.write<u64>(at, s.userdata);
    memory.write<u16>(at + 8, s.error);
    memory.write<u8>(at + 10, s.tag);
    if (s.tag == 0 || s.error != kSuccess) continue;
    const pollfd& p = set[s.slot];
    if ((p.revents & POLLNVAL) != 0) memory.write<u16>(at + 8, kBadFile);
    int waiting = 0;
    if (s.tag == 1 && ::ioctl(p.fd, FIONREAD, &waiting) == 0) memory.write<u64>(at + 16, static_cast<u64>(std::max(waiting, 0)));
    else if (s.tag == 2) memory.write<u64>(at + 16, 1);
    if ((p.revents & POLLHUP) != 0) memory.write<u16>(at + 24, 1);
  }
  memory.write<u32>(events_at, events);
  return kSuccess;
}

template <Snapshot S>
u32 poll_oneoff(Wasi& w, Caller& caller, u32 in, u32 out, u32 count, u32 events_at) {
  return poll(w, caller, in, out, count, events_at, S);
}

constexpr HostFunction kPollRows[] = {host<poll_oneoff<Snapshot::kPreview1>>("poll_oneoff")}, kUnstablePollRows[] = {host<poll_oneoff<Snapshot::kUnstable>>("poll_oneoff")};

}  // namespace

std::span<const HostFunction> wasi_poll_rows() { return kPollRows; }
std::span<const HostFunction> wasi_unstable_poll_rows() { return kUnstablePollRows; }

}  // namespace monopod::wasm
