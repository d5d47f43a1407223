// A thread that compiles what is warm, for all modules of an engine; started when there is something. Where there can be none, whoever asks compiles.
#pragma once

#include <condition_variable>
#include <deque>
#include <mutex>
#include <thread>

#include "wasm/jit/tier.h"

namespace monopod::wasm {

class Worker {
 public:
  ~Worker();
  void add(jit::JitTier& tier, jit::NativeCode& code, const jit::Job& job);
  void forget(jit::JitTier& tier);  // afterwards nothing of it is queued or under way

 private:
  struct Item {
    jit::JitTier* tier = nullptr;
    jit::NativeCode* code = nullptr;
    jit::Job job;
  };
  void loop();
  bool start();
  std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<Item> queue_;
  jit::JitTier* busy_with_ = nullptr;
  bool over_ = false;
  std::thread thread_;
};

}  // namespace monopod::wasm
