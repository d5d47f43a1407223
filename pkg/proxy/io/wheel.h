// A hashed timer wheel of two levels: to move a deadline later costs a store, so that a connection keeps one timer for its life and a request
// arms none. Deadlines are met within one tick (8 ms), never early.
//
//   level 0: 256 slots of 8 ms (2 s)      level 1: 256 slots of 2 s (9 min); what lies farther is looked at again there
#pragma once

#include <array>
#include <cstdint>

namespace monopod::proxy {

inline constexpr std::uint64_t kNever = ~std::uint64_t{0};

// What waits for a time. Unlinks itself as it dies.
class Timer {
 public:
  Timer() = default;
  Timer(const Timer&) = delete;
  Timer& operator=(const Timer&) = delete;
  virtual void on_timer() = 0;

 protected:
  ~Timer() { unlink(); }

 private:
  friend class TimerWheel;
  void unlink();
  Timer* next_ = nullptr;
  Timer* previous_ = nullptr;
  std::uint64_t due_ms_ = kNever;
  std::uint64_t placed_tick_ = 0;  // the tick at which the wheel looks at it; at or before due
};

class TimerWheel {
 public:
  explicit TimerWheel(std::uint64_t now_ms);
  ~TimerWheel();
  TimerWheel(const TimerWheel&) = delete;
  TimerWheel& operator=(const TimerWheel&) = delete;

  // Replaces the timer's deadline. What is past fires at the next advance().
  void arm(Timer& timer, std::uint64_t due_ms);
  // It fires no more; costs a store.
  void disarm(Timer& timer) { timer.due_ms_ = kNever; }
  // Fires what is due. A timer may arm itself or others, and destroy any.
  void advance(std::uint64_t now_ms);
  // When advance() has to be called next; kNever where nothing waits. May be early, for timers that moved.
  std::uint64_t next_ms() const;

 private:
  static constexpr std::size_t kSlots = 256;
  struct Slot final : Timer {
    void on_timer() override {}
  };
  static void insert_before(Timer& at, Timer& timer);
  static bool is_empty(const Timer& slot) { return slot.next_ == &slot; }
  void place(Timer& timer, std::uint64_t tick);
  void fire(Slot& slot, std::uint64_t tick);

  std::uint64_t tick_;  // the last one that fired
  std::array<std::array<Slot, kSlots>, 2> levels_;
};

}  // namespace monopod::proxy
