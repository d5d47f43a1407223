#include "wasm/jit/worker.h"

#include <algorithm>
#include <system_error>

namespace monopod::wasm {

Worker::~Worker() {
  {
    std::lock_guard lock(mutex_);
    over_ = true;
  }
  changed_.notify_all();
  if (thread_.joinable()) thread_.join();
}

void Worker::add(jit::JitTier& tier, jit::NativeCode& code, const jit::Job& job) {
  std::unique_lock lock(mutex_);
  if (!thread_.joinable() && !start()) {
    lock.unlock();
    return tier.work(code, job);
  }
  queue_.push_back({&tier, &code, job});
  changed_.notify_all();
}

// False: no thread is to be had, for lack of memory or by a limit.
bool Worker::start() {
  try {
    thread_ = std::thread([this] { loop(); });
    return true;
  } catch (const std::system_error&) {
    return false;
  }
}

void Worker::forget(jit::JitTier& tier) {
  std::unique_lock lock(mutex_);
  std::erase_if(queue_, [&tier](const Item& i) { return i.tier == &tier; });
  changed_.wait(lock, [this, &tier] { return busy_with_ != &tier; });  // forever: one function, which is limited in size
}

void Worker::loop() {
  std::unique_lock lock(mutex_);
  while (true) {
    changed_.wait(lock, [this] { return over_ || !queue_.empty(); });  // forever: until there is work
    if (over_) return;
    Item item = queue_.front();
    queue_.pop_front();
    busy_with_ = item.tier;
    lock.unlock();
    item.tier->work(*item.code, item.job);
    lock.lock();
    busy_with_ = nullptr;
    changed_.notify_all();
  }
}

}  // namespace monopod::wasm
