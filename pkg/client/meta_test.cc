#include "client/meta.h"

#include <gtest/gtest.h>

namespace monopod::client {
namespace {

TEST(Meta, AConditionIsSetOnceHoweverLongItsType) {
  for (const char* type : {"Ready", "PodReadyToStartContainersAndMore"}) {
    json::Value status;
    auto set = [&](const char* value, std::int64_t second) {
      return set_condition(status, {{"type", type}, {"status", value}, {"reason", "R"}, {"message", ""}}, WallTime(std::chrono::seconds(second)));
    };
    EXPECT_TRUE(set("False", 0));
    EXPECT_FALSE(set("False", 1)) << "nothing new";
    EXPECT_TRUE(set("True", 2));
    const json::Array& list = status.get_object()["conditions"].get_array();
    ASSERT_EQ(list.size(), 1U) << type;
    EXPECT_EQ(json::get_string(list[0], {"status"}), "True");
    EXPECT_EQ(json::get_string(list[0], {"lastTransitionTime"}), "1970-01-01T00:00:02Z");
  }
}

}  // namespace
}  // namespace monopod::client
