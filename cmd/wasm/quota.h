// A share of a processor for one thread, without a control group and whatever runs on it: it is paused by a signal whose handler sleeps.
#pragma once

#include <condition_variable>
#include <mutex>
#include <thread>

#include "base/error.h"

namespace monopod::cmd {

// "50%" or "0.5": of one processor, at most all of it. Percent.
Result<unsigned> parse_cpu_quota(std::string_view text);

class CpuQuota {
 public:
  // For the calling thread, from now on; 0: no limit.
  explicit CpuQuota(unsigned percent);
  ~CpuQuota();
  CpuQuota(const CpuQuota&) = delete;
  CpuQuota& operator=(const CpuQuota&) = delete;

 private:
  void watch(unsigned percent, pthread_t thread, clockid_t clock);
  std::mutex mutex_;
  std::condition_variable changed_;
  std::thread thread_;
  bool over_ = false;
};

}  // namespace monopod::cmd
