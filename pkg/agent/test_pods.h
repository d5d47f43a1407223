// Pods for tests, from short JSON.
#pragma once

#include <gtest/gtest.h>

#include "agent/pod.h"

namespace monopod::agent {

inline Pod make_pod(std::string_view spec, std::string_view metadata = "") {
  std::string text = "{\"metadata\":{\"name\":\"web\",\"namespace\":\"default\",\"uid\":\"u1\"" + std::string(metadata.empty() ? "" : ",") + std::string(metadata) +
                     "},\"spec\":" + std::string(spec) + "}";
  auto tree = json::parse(text);
  EXPECT_TRUE(tree) << text << (tree ? "" : tree.error().message());
  auto pod = parse_pod(std::make_shared<const json::Value>(tree ? *tree : json::Value()));
  EXPECT_TRUE(pod) << (pod ? "" : pod.error().message());
  return pod ? *pod : Pod();
}

}  // namespace monopod::agent
