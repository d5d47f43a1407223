// Samples of a guest's own calls, for flame graphs: a line for each stack, "outer;inner 12", as flamegraph.pl and speedscope read them. Compiled code is seen; what
// the interpreter or the host was doing counts as "[not compiled]". Where perf(1) may record it sees more (perf.h).
//
// A timer of the thread's processor time sends it SIGPROF each millisecond; the handler walks the frames of compiled code, whose sizes it was told with the code, and
// notes which functions they are: no lock, no allocation. The text is made at the end.
#pragma once

#include <signal.h>
#include <time.h>

#include <atomic>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "base/error.h"
#include "wasm/profile/code_listener.h"

namespace monopod::wasm {

class GuestProfiler : public CodeListener {
 public:
  static constexpr std::size_t kSampleWordsMax = std::size_t{4} << 20;  // some hundred thousand stacks; what comes later is counted as lost
  static constexpr std::size_t kDepthMax = 128;                         // frames of a sample, from the innermost out
  static constexpr std::size_t kCodeBytesMax = std::size_t{64} << 20;   // from the first code on: one module's

  static Result<std::shared_ptr<GuestProfiler>> make();  // kUnavailable where there is no memory
  ~GuestProfiler() override;
  void on_code(const NativeBlock& block) override;

  Result<> start();      // samples the calling thread
  void stop();           // the same thread
  std::string folded();  // after stop()

 private:
  struct Row {
    std::uint32_t frame_bytes = 0, link_bytes = 0, name = 0;
  };
  GuestProfiler() = default;
  static void on_signal(int, siginfo_t* info, void* context);
  void sample(std::uintptr_t pc, std::uintptr_t sp, std::uintptr_t link);
  const Row* find(std::uintptr_t pc) const;

  std::mutex mutex_;
  std::vector<std::string> names_;
  std::atomic<std::uintptr_t> base_{0};
  std::atomic<std::uint32_t>* granules_ = nullptr;  // which row's code 16 bytes are, plus one
  Row* rows_ = nullptr;
  std::uint32_t row_count_ = 0;
  std::uint32_t* words_ = nullptr;  // samples: how many frames, their names
  std::size_t word_count_ = 0, lost_ = 0;
  std::uintptr_t stack_top_ = 0;
  timer_t timer_{};
  bool running_ = false;
  struct sigaction before_ {};
};

}  // namespace monopod::wasm
