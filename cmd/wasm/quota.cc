#include "cmd/wasm/quota.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <time.h>

#include <algorithm>
#include <atomic>
#include <charconv>
#include <chrono>

#include "base/strings.h"

namespace monopod::cmd {
namespace {

using std::chrono::nanoseconds;
constexpr auto kLook = std::chrono::milliseconds(10);         // how often
constexpr nanoseconds kPauseMax = std::chrono::milliseconds(500);
constexpr nanoseconds kBurst = std::chrono::milliseconds(20);  // of its share, saved up while it did nothing

std::atomic<std::int64_t> pause_ns{0};  // what the handler is to sleep: a signal carries no more than its number

void sleep_in_handler(int) {
  int before = errno;
  std::int64_t ns = pause_ns.exchange(0);
  timespec left{ns / 1'000'000'000, ns % 1'000'000'000};
  while (::nanosleep(&left, &left) != 0 && errno == EINTR) {
  }
  errno = before;
}
int pause_signal() { return SIGRTMIN + 1; }

nanoseconds now(clockid_t clock) {
  timespec t{};
  ::clock_gettime(clock, &t);
  return std::chrono::seconds(t.tv_sec) + nanoseconds(t.tv_nsec);
}

}  // namespace

Result<unsigned> parse_cpu_quota(std::string_view text) {
  bool percent = text.ends_with('%');
  double number = 0;
  auto [end, ec] = std::from_chars(text.data(), text.data() + text.size() - (percent ? 1 : 0), number);
  if (ec != std::errc() || end != text.data() + text.size() - (percent ? 1 : 0) || !(number > 0)) return fail(Code::kInvalidArgument, cat("--cpu-quota ", text, ": want 50% or 0.5"));
  double share = percent ? number : number * 100;
  if (share < 1 || share > 100) return fail(Code::kInvalidArgument, cat("--cpu-quota ", text, ": a guest has one thread: from 1% to 100%"));
  return static_cast<unsigned>(share);
}

CpuQuota::CpuQuota(unsigned percent) {
  clockid_t clock{};
  if (percent == 0 || percent >= 100 || ::pthread_getcpuclockid(::pthread_self(), &clock) != 0) return;
  struct sigaction action {};
  action.sa_handler = sleep_in_handler;
  action.sa_flags = SA_RESTART;
  ::sigemptyset(&action.sa_mask);
  ::sigaction(pause_signal(), &action, nullptr);
  thread_ = std::thread([this, percent, guest = ::pthread_self(), clock] { watch(percent, guest, clock); });
}

CpuQuota::~CpuQuota() {
  {
    std::lock_guard lock(mutex_);
    over_ = true;
  }
  changed_.notify_all();
  if (thread_.joinable()) thread_.join();
}

void CpuQuota::watch(unsigned percent, pthread_t guest, clockid_t clock) {
  nanoseconds wall = now(CLOCK_MONOTONIC), used = now(clock);  // since when, and what it had used then
  std::unique_lock lock(mutex_);
  while (!changed_.wait_for(lock, kLook, [this] { return over_; })) {
    nanoseconds allowed = (now(CLOCK_MONOTONIC) - wall) * percent / 100, spent = now(clock) - used;
    if (allowed > spent + kBurst) wall += (allowed - spent - kBurst) * 100 / percent;  // what is not used is lost
    if (spent <= allowed) continue;
    pause_ns.store(std::min(kPauseMax, (spent - allowed) * 100 / percent).count());
    ::pthread_kill(guest, pause_signal());
  }
}

}  // namespace monopod::cmd
