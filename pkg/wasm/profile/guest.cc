#include "wasm/profile/guest.h"

#include <pthread.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <ucontext.h>
#include <unistd.h>

#include <algorithm>
#include <map>

#include "base/strings.h"
#include "wasm/module.h"

namespace monopod::wasm {
namespace {

constexpr std::size_t kGranuleBytes = 16;  // blocks of code begin at multiples of it
constexpr std::size_t kGranules = GuestProfiler::kCodeBytesMax / kGranuleBytes;
constexpr std::uint32_t kRowsMax = 1 << 20;
constexpr std::uint32_t kLinkKept = ~0u;
constexpr long kPeriodNs = 1'000'000;

// Pages that are there when they are touched.
template <typename T>
T* reserve(std::size_t count) {
  void* at = ::mmap(nullptr, count * sizeof(T), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  return at == MAP_FAILED ? nullptr : static_cast<T*>(at);
}
template <typename T>
void release(T* at, std::size_t count) {
  if (at != nullptr) ::munmap(at, count * sizeof(T));
}

}  // namespace

Result<std::shared_ptr<GuestProfiler>> GuestProfiler::make() {
  std::shared_ptr<GuestProfiler> out(new GuestProfiler);
  out->granules_ = reserve<std::atomic<std::uint32_t>>(kGranules);
  out->rows_ = reserve<Row>(kRowsMax);
  out->words_ = reserve<std::uint32_t>(kSampleWordsMax);
  if (out->granules_ == nullptr || out->rows_ == nullptr || out->words_ == nullptr) return fail_errno("memory for samples");
  return out;
}

GuestProfiler::~GuestProfiler() {
  stop();
  release(granules_, kGranules);
  release(rows_, kRowsMax);
  release(words_, kSampleWordsMax);
}

void GuestProfiler::on_code(const NativeBlock& block) {
  auto from = reinterpret_cast<std::uintptr_t>(block.code.data());
  std::lock_guard lock(mutex_);
  if (base_.load(std::memory_order_relaxed) == 0) base_.store(from & ~(kGranuleBytes - 1), std::memory_order_release);
  std::uintptr_t base = base_.load(std::memory_order_relaxed);
  if (block.function == NativeBlock::kStub || from < base || from - base + block.code.size() > kCodeBytesMax || row_count_ == kRowsMax) return;
  std::string name = block.module->describe_function(block.function);
  std::ranges::replace_if(name, [](char c) { return static_cast<unsigned char>(c) < 0x20 || c == ';'; }, '?');
  rows_[row_count_] = {block.frame_bytes, block.link_bytes, static_cast<std::uint32_t>(names_.size())};
  names_.push_back(std::move(name));
  ++row_count_;
  for (std::size_t g = (from - base) / kGranuleBytes; g <= (from - base + block.code.size() - 1) / kGranuleBytes; ++g) granules_[g].store(row_count_, std::memory_order_release);
}

const GuestProfiler::Row* GuestProfiler::find(std::uintptr_t pc) const {
  std::uintptr_t base = base_.load(std::memory_order_acquire);
  if (base == 0 || pc < base || pc - base >= kCodeBytesMax) return nullptr;
  std::uint32_t row = granules_[(pc - base) / kGranuleBytes].load(std::memory_order_acquire);
  return row == 0 ? nullptr : &rows_[row - 1];
}

// In the signal's handler. A sample in a function's first or last instructions, whose frame is not whole, may end early.
void GuestProfiler::sample(std::uintptr_t pc, std::uintptr_t sp, std::uintptr_t link) {
  if (word_count_ + kDepthMax + 1 > kSampleWordsMax) {
    ++lost_;
    return;
  }
  std::uint32_t* frames = words_ + word_count_ + 1;
  std::uint32_t depth = 0;
  for (const Row* row = find(pc); row != nullptr && depth < kDepthMax; row = find(pc - 1)) {
    frames[depth++] = row->name;
    std::uintptr_t at = sp + row->link_bytes;
    if (row->link_bytes == kLinkKept) {
      if (link == 0) break;
      pc = link;
    } else {
      if (at % sizeof at != 0 || at < sp || at > stack_top_ - sizeof at) break;
      pc = *reinterpret_cast<const std::uintptr_t*>(at);
    }
    sp += row->frame_bytes;
    link = 0;
  }
  words_[word_count_] = depth;
  word_count_ += depth + 1;
}

void GuestProfiler::on_signal(int, siginfo_t* info, void* context) {
  if (info->si_code != SI_TIMER || info->si_value.sival_ptr == nullptr) return;
  const auto& machine = static_cast<ucontext_t*>(context)->uc_mcontext;
  auto& self = *static_cast<GuestProfiler*>(info->si_value.sival_ptr);
#if defined(__x86_64__)
  self.sample(static_cast<std::uintptr_t>(machine.gregs[REG_RIP]), static_cast<std::uintptr_t>(machine.gregs[REG_RSP]), 0);
#else
  self.sample(machine.pc, machine.sp, machine.regs[30]);
#endif
}

Result<> GuestProfiler::start() {
  pthread_attr_t attributes;
  void* from = nullptr;
  std::size_t bytes = 0;
  if (::pthread_getattr_np(::pthread_self(), &attributes) != 0) return fail_errno("stack of the guest");
  ::pthread_attr_getstack(&attributes, &from, &bytes);
  ::pthread_attr_destroy(&attributes);
  stack_top_ = reinterpret_cast<std::uintptr_t>(from) + bytes;
  struct sigaction action {};
  action.sa_sigaction = on_signal;
  action.sa_flags = SA_SIGINFO | SA_RESTART;
  if (::sigaction(SIGPROF, &action, &before_) != 0) return fail_errno("SIGPROF");
  sigevent event{};
  event.sigev_notify = SIGEV_THREAD_ID;
  event.sigev_signo = SIGPROF;
  event.sigev_value.sival_ptr = this;
  event._sigev_un._tid = static_cast<pid_t>(::syscall(SYS_gettid));
  if (::timer_create(CLOCK_THREAD_CPUTIME_ID, &event, &timer_) != 0) return fail_errno("timer of a profile");
  running_ = true;
  itimerspec each{{0, kPeriodNs}, {0, kPeriodNs}};
  return ::timer_settime(timer_, 0, &each, nullptr) == 0 ? Result<>() : Result<>(fail_errno("timer of a profile"));
}

void GuestProfiler::stop() {
  if (!running_) return;
  running_ = false;
  ::timer_delete(timer_);
  // A signal that was under way finds a handler that knows what to do with it, or none.
  sigset_t prof, old;
  sigemptyset(&prof);
  sigaddset(&prof, SIGPROF);
  ::pthread_sigmask(SIG_BLOCK, &prof, &old);
  timespec none{};
  while (::sigtimedwait(&prof, nullptr, &none) == SIGPROF) {
  }
  ::sigaction(SIGPROF, &before_, nullptr);
  ::pthread_sigmask(SIG_SETMASK, &old, nullptr);
}

std::string GuestProfiler::folded() {
  std::lock_guard lock(mutex_);
  std::map<std::string, std::size_t> counts;
  for (std::size_t at = 0; at < word_count_;) {
    std::string stack;
    std::uint32_t depth = words_[at];
    for (std::uint32_t i = depth; i > 0; --i) stack += cat(stack.empty() ? "" : ";", names_[words_[at + i]]);
    ++counts[depth == 0 ? "[not compiled]" : stack];
    at += depth + 1;
  }
  if (lost_ != 0) counts["[lost]"] = lost_;
  std::string out;
  for (const auto& [stack, count] : counts) out += cat(stack, " ", count, "\n");
  return out;
}

}  // namespace monopod::wasm
