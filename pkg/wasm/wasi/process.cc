// Arguments, environment, clocks, random numbers, ending.
#include <sched.h>
#include <sys/random.h>
#include <time.h>

#include "wasm/wasi/abi.h"

namespace monopod::wasm {
namespace {

using namespace wasi;

u64 list_bytes(const std::vector<std::string>& list) {
  u64 bytes = 0;
  for (const std::string& s : list) bytes += s.size() + 1;
  return bytes;
}

u32 list_sizes(Caller& caller, const std::vector<std::string>& list, u32 count_at, u32 bytes_at) {
  MONOPOD_WASI_MEMORY(caller);
  MONOPOD_WASI_HOLDS(count_at, 4);
  MONOPOD_WASI_HOLDS(bytes_at, 4);
  memory.write<u32>(count_at, static_cast<u32>(list.size()));
  memory.write<u32>(bytes_at, static_cast<u32>(list_bytes(list)));
  return kSuccess;
}

u32 list_get(Caller& caller, const std::vector<std::string>& list, u32 pointers, u32 bytes) {
  MONOPOD_WASI_MEMORY(caller);
  MONOPOD_WASI_HOLDS(pointers, list.size() * 4);
  MONOPOD_WASI_HOLDS(bytes, list_bytes(list));
  for (const std::string& s : list) {
    memory.write<u32>(pointers, bytes);
    std::memcpy(memory.bytes().data() + bytes, s.c_str(), s.size() + 1);
    pointers += 4;
    bytes += static_cast<u32>(s.size() + 1);
  }
  return kSuccess;
}

u32 args_sizes_get(Wasi& w, Caller& c, u32 count, u32 bytes) { return list_sizes(c, w.options().arguments, count, bytes); }
u32 args_get(Wasi& w, Caller& c, u32 pointers, u32 bytes) { return list_get(c, w.options().arguments, pointers, bytes); }
u32 environ_sizes_get(Wasi& w, Caller& c, u32 count, u32 bytes) { return list_sizes(c, w.options().environment, count, bytes); }
u32 environ_get(Wasi& w, Caller& c, u32 pointers, u32 bytes) { return list_get(c, w.options().environment, pointers, bytes); }

std::optional<clockid_t> clock_of(u32 id) {
  static constexpr clockid_t kClocks[] = {CLOCK_REALTIME, CLOCK_MONOTONIC, CLOCK_PROCESS_CPUTIME_ID, CLOCK_THREAD_CPUTIME_ID};
  if (id >= 4) return std::nullopt;
  return kClocks[id];
}

template <typename F>
u32 clock_call(Caller& caller, u32 id, u32 at, F read_ns) {
  MONOPOD_WASI_MEMORY(caller);
  MONOPOD_WASI_HOLDS(at, 8);
  std::optional<clockid_t> clock = clock_of(id);
  if (!clock) return kInvalid;
  memory.write<u64>(at, read_ns(*clock));
  return kSuccess;
}
u32 clock_res_get(Wasi& w, Caller& c, u32 id, u32 at) {
  return clock_call(c, id, at, [&w](clockid_t clock) -> u64 {
    timespec t{};
    ::clock_getres(clock, &t);
    return w.options().deterministic ? 1'000 : static_cast<u64>(t.tv_sec) * 1'000'000'000 + static_cast<u64>(t.tv_nsec);
  });
}
u32 clock_time_get(Wasi& w, Caller& c, u32 id, u64, u32 at) {
  return clock_call(c, id, at, [&w](clockid_t clock) { return w.now_ns(clock); });
}

u32 random_get(Wasi& w, Caller& caller, u32 at, u32 count) {
  MONOPOD_WASI_MEMORY(caller);
  MONOPOD_WASI_HOLDS(at, count);
  constexpr u32 kAtOnce = 64 << 10;  // between two looks at interruptions
  for (u32 done = 0; done < count;) {
    u32 n = std::min(kAtOnce, count - done);
    if (!w.fill_random(memory.bytes().subspan(at + done, n))) return last_errno();
    done += n;
    if (caller.interrupted()) return kInterrupted;
  }
  return kSuccess;
}

u32 sched_yield_(Wasi&, Caller&) {
  ::sched_yield();
  return kSuccess;
}
void proc_exit(Wasi&, Caller& caller, u32 code) { caller.exit(static_cast<std::int32_t>(code)); }
u32 proc_raise(Wasi&, Caller&, u32) { return kNotSupported; }

constexpr HostFunction kProcessRows[] = {
    host<args_get>("args_get"), host<args_sizes_get>("args_sizes_get"), host<environ_get>("environ_get"), host<environ_sizes_get>("environ_sizes_get"),
    host<clock_res_get>("clock_res_get"), host<clock_time_get>("clock_time_get"), host<random_get>("random_get"), host<sched_yield_>("sched_yield"),
    host<proc_exit>("proc_exit"), host<proc_raise>("proc_raise"),
};

}  // namespace

std::uint64_t Wasi::now_ns(clockid_t clock) {
  if (options_.deterministic) return (virtual_ns_ += 1'000) + (clock == CLOCK_REALTIME ? kWasiVirtualEpochNs : 0);
  timespec t{};
  ::clock_gettime(clock, &t);
  return static_cast<std::uint64_t>(t.tv_sec) * 1'000'000'000 + static_cast<std::uint64_t>(t.tv_nsec);
}

bool Wasi::fill_random(std::span<std::uint8_t> bytes) {
  if (options_.deterministic) {
    if (random_ == nullptr) random_ = std::make_unique<SeededRng>(1);
    for (std::uint8_t& b : bytes) b = static_cast<std::uint8_t>(random_->next());
    return true;
  }
  while (!bytes.empty()) {
    ssize_t n = ::getrandom(bytes.data(), bytes.size(), 0);
    if (n < 0 && errno != EINTR) return false;
    if (n > 0) bytes = bytes.subspan(static_cast<std::size_t>(n));
  }
  return true;
}

std::span<const HostFunction> wasi_process_rows() { return kProcessRows; }

}  // namespace monopod::wasm
