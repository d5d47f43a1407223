#include "proxy/io/wheel.h"

#include <algorithm>

namespace monopod::proxy {
namespace {

constexpr unsigned kTickBits = 3;   // 8 ms
constexpr unsigned kLevelBits = 8;  // 256 slots

std::uint64_t tick_of(std::uint64_t due_ms) { return (due_ms + (1U << kTickBits) - 1) >> kTickBits; }

}  // namespace

void Timer::unlink() {
  if (next_ == nullptr) return;
  next_->previous_ = previous_;
  previous_->next_ = next_;
  next_ = previous_ = nullptr;
}

TimerWheel::TimerWheel(std::uint64_t now_ms) : tick_(now_ms >> kTickBits) {
  for (auto& level : levels_)
    for (Slot& slot : level) slot.next_ = slot.previous_ = &slot;
}

TimerWheel::~TimerWheel() {
  for (auto& level : levels_)
    for (Slot& slot : level) {
      while (!is_empty(slot)) slot.next_->unlink();
      slot.next_ = slot.previous_ = nullptr;
    }
}

void TimerWheel::insert_before(Timer& at, Timer& timer) {
  timer.next_ = &at;
  timer.previous_ = at.previous_;
  at.previous_->next_ = &timer;
  at.previous_ = &timer;
}

void TimerWheel::place(Timer& timer, std::uint64_t tick) {
  timer.unlink();
  tick = std::max(tick, tick_ + 1);
  if (tick - tick_ <= kSlots) {
    timer.placed_tick_ = tick;
    insert_before(levels_[0][tick % kSlots], timer);
    return;
  }
  // A slot of level 1 is looked at when its first tick comes: not after any that it holds.
  std::uint64_t coarse = std::min(tick >> kLevelBits, (tick_ >> kLevelBits) + kSlots - 1);
  timer.placed_tick_ = coarse << kLevelBits;
  insert_before(levels_[1][coarse % kSlots], timer);
}

void TimerWheel::arm(Timer& timer, std::uint64_t due_ms) {
  timer.due_ms_ = due_ms;
  if (due_ms == kNever) return;
  std::uint64_t tick = tick_of(due_ms);
  if (timer.next_ != nullptr && timer.placed_tick_ <= tick) return;  // the wheel looks early enough, and then places it anew
  place(timer, tick);
}

void TimerWheel::fire(Slot& slot, std::uint64_t tick) {
  Slot due;  // what fires may put others into the slot itself
  due.next_ = due.previous_ = &due;
  if (!is_empty(slot)) {
    due.next_ = slot.next_;
    due.previous_ = slot.previous_;
    due.next_->previous_ = &due;
    due.previous_->next_ = &due;
    slot.next_ = slot.previous_ = &slot;
  }
  while (!is_empty(due)) {
    Timer& timer = *due.next_;
    timer.unlink();
    if (timer.due_ms_ == kNever) continue;
    if (tick_of(timer.due_ms_) > tick) {
      place(timer, tick_of(timer.due_ms_));
      continue;
    }
    timer.due_ms_ = kNever;
    timer.on_timer();
  }
  due.next_ = due.previous_ = nullptr;
}

void TimerWheel::advance(std::uint64_t now_ms) {
  for (std::uint64_t now = now_ms >> kTickBits; tick_ < now;) {
    std::uint64_t tick = tick_ + 1;
    if (tick % kSlots == 0) fire(levels_[1][(tick >> kLevelBits) % kSlots], tick - 1);  // only moves them: none of these is due before this tick
    tick_ = tick;
    fire(levels_[0][tick % kSlots], tick);
  }
}

std::uint64_t TimerWheel::next_ms() const {
  std::uint64_t boundary = ((tick_ >> kLevelBits) + 1) << kLevelBits;
  for (std::uint64_t tick = tick_ + 1; tick <= tick_ + kSlots; ++tick) {
    if (!is_empty(levels_[0][tick % kSlots])) return tick << kTickBits;
    if (tick == boundary && !is_empty(levels_[1][(tick >> kLevelBits) % kSlots])) return tick << kTickBits;
  }
  for (std::uint64_t coarse = (boundary >> kLevelBits) + 1; coarse < (boundary >> kLevelBits) + kSlots; ++coarse)
    if (!is_empty(levels_[1][coarse % kSlots])) return coarse << (kLevelBits + kTickBits);
  return kNever;
}

}  // namespace monopod::proxy
