#include "etcd/methods.h"

#include <gtest/gtest.h>

#include <set>

namespace monopod::etcd {
namespace {

TEST(EtcdMethods, EveryMethodAndStreamDeclaresWhatItNeeds) {
  std::set<std::string_view> paths;
  for (const Method& method : all_methods()) {
    EXPECT_TRUE(method.needs) << method.path;
    EXPECT_TRUE(method.call) << method.path;
    EXPECT_TRUE(paths.insert(method.path).second) << method.path << " is listed twice";
  }
  for (const StreamMethod& stream : all_streams()) {
    EXPECT_TRUE(stream.needs) << stream.path;
    EXPECT_TRUE(stream.call) << stream.path;
    EXPECT_TRUE(paths.insert(stream.path).second) << stream.path << " is listed twice";
  }
}

// What is open to callers who have not said who they are is a decision, so each such method is named here.
TEST(EtcdMethods, OnlyNamedMethodsAreOpenToAnyone) {
  const std::set<std::string_view> open{"/etcdserverpb.Auth/Authenticate", "/etcdserverpb.Watch/Watch",  // an empty message creates no watch
                                        "/grpc.health.v1.Health/Check", "/grpc.health.v1.Health/Watch"};
  auto check = [&open](std::string_view path, Needs needs) {
    ASSERT_TRUE(needs) << path;
    Result<Access> access = needs("");
    if (access && access->caller == Access::Caller::kAnyone) EXPECT_TRUE(open.contains(path)) << path;
  };
  for (const Method& method : all_methods()) check(method.path, method.needs);
  for (const StreamMethod& stream : all_streams()) check(stream.path, stream.needs);
}

// A handler that tells a refusal in its own way must ask by itself: a decision as well.
TEST(EtcdMethods, OnlyWatchAuthorisesItsMessagesItself) {
  for (const StreamMethod& stream : all_streams())
    EXPECT_EQ(stream.refusal == StreamMethod::Refusal::kByHandler, stream.path == "/etcdserverpb.Watch/Watch") << stream.path;
}

}  // namespace
}  // namespace monopod::etcd
