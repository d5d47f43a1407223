#include "http/closed_streams.h"

#include <gtest/gtest.h>

namespace monopod::http {
namespace {

using Verdict = ClosedStreams::Verdict;

TEST(ClosedStreams, AStreamIsNewOverLateOrPassedOver) {
  ClosedStreams streams;
  streams.note_opened(5);
  EXPECT_EQ(streams.judge(7), Verdict::kNew);
  streams.note_closed(5);
  EXPECT_EQ(streams.judge(5), Verdict::kClosed);
  EXPECT_EQ(streams.judge(3), Verdict::kPassedOver);
  streams.note_opened(9);
  streams.note_reset(9);
  streams.note_closed(9);
  EXPECT_EQ(streams.judge(9), Verdict::kLate);
}

TEST(ClosedStreams, ResetsAreRememberedForLongerThanAPeerCanHaveFramesUnderWay) {
  ClosedStreams streams;
  for (std::int32_t id = 1; id < 2 * 256; id += 2) {
    streams.note_opened(id);
    streams.note_reset(id);
    streams.note_closed(id);
  }
  EXPECT_EQ(streams.judge(1), Verdict::kLate);
  streams.note_opened(513);
  streams.note_reset(513);
  EXPECT_EQ(streams.judge(1), Verdict::kPassedOver) << "257 resets later";
  EXPECT_EQ(streams.judge(513), Verdict::kLate);
}

}  // namespace
}  // namespace monopod::http
