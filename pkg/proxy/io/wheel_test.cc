#include "proxy/io/wheel.h"

#include <gtest/gtest.h>

#include <memory>
#include <vector>

#include "base/rng.h"

namespace monopod::proxy {
namespace {

struct Note final : Timer {
  void on_timer() override {
    ++fired;
    fired_at = *now;
  }
  const std::uint64_t* now = nullptr;
  int fired = 0;
  std::uint64_t fired_at = 0;
};

TEST(TimerWheel, FiresWithinATickAndNeverEarly) {
  SeededRng rng(7);
  std::uint64_t now = 12'345;
  TimerWheel wheel(now);
  std::vector<std::unique_ptr<Note>> notes;
  std::vector<std::uint64_t> due;
  for (int i = 0; i < 500; ++i) {
    notes.push_back(std::make_unique<Note>());
    notes.back()->now = &now;
    due.push_back(now + rng.below(i % 3 == 0 ? 100 : i % 3 == 1 ? 5'000 : 1'200'000));
    wheel.arm(*notes.back(), now + 3);  // moved later: found again at its new time
    wheel.arm(*notes.back(), due.back());
  }
  while (now < 1'300'000) {
    std::uint64_t next = wheel.next_ms();
    if (next == kNever) break;
    ASSERT_GT(next, now);
    now = next;
    wheel.advance(now);
  }
  for (std::size_t i = 0; i < notes.size(); ++i) {
    EXPECT_EQ(notes[i]->fired, 1);
    EXPECT_GE(notes[i]->fired_at, due[i]);
    EXPECT_LE(notes[i]->fired_at, std::max<std::uint64_t>(due[i], 12'345) + 16) << i;
  }
}

TEST(TimerWheel, EarlierLaterAndNever) {
  std::uint64_t now = 0;
  TimerWheel wheel(now);
  Note early, never;
  early.now = never.now = &now;
  wheel.arm(early, 100'000);
  wheel.arm(early, 50);
  wheel.arm(never, 60);
  wheel.disarm(never);
  now = 56;
  wheel.advance(now);
  EXPECT_EQ(early.fired, 1);
  now = 200'000;
  wheel.advance(now);
  EXPECT_EQ(early.fired, 1);
  EXPECT_EQ(never.fired, 0);
  {
    Note dies;
    dies.now = &now;
    wheel.arm(dies, 200'100);
  }
  now = 300'000;
  wheel.advance(now);
  EXPECT_EQ(wheel.next_ms(), kNever);
}

}  // namespace
}  // namespace monopod::proxy
