#include "proxy/config/last_good.h"

#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/strings.h"
#include "sys/files.h"

namespace monopod::proxy {
namespace {

class LastGood : public testing::Test {
 protected:
  LastGood() : directory_(cat("/tmp/monopod-proxy-last-good-", ::getpid())) { EXPECT_TRUE(sys::make_directories(directory_)); }
  ~LastGood() override { [[maybe_unused]] Result<> removed = sys::remove_tree(directory_); }
  std::string file(std::string_view name) const { return cat(directory_, "/", name); }
  std::string directory_;
};

TEST_F(LastGood, AConfigurationComesBackWithTheFilesItNames) {
  EXPECT_TRUE(sys::replace_file(file("keys.json"), R"({"keys":[{"kty":"OKP","crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}]})"));
  EXPECT_TRUE(sys::replace_file(file("proxy.yaml"), R"(listeners:
- {name: web, address: "127.0.0.1:0", filters: [{kind: jwt, providers: [{name: idp, jwks_file: keys.json}]}], virtual_hosts: [{routes: [{prefix: /, direct_response: {status: 204}}]}]}
)"));
  Result<Loaded> loaded = load_config(file("proxy.yaml"), nullptr);
  ASSERT_TRUE(loaded) << loaded.error().message();
  EXPECT_EQ(loaded->files, (std::vector<std::string>{file("proxy.yaml"), file("keys.json")}));
  ASSERT_TRUE(save_last_good(file("good"), loaded->sources));
  struct stat at{};
  ASSERT_EQ(::stat(file("good").c_str(), &at), 0);
  EXPECT_EQ(at.st_mode & 0777U, 0600U) << "it holds keys";
  ::unlink(file("keys.json").c_str());
  EXPECT_FALSE(load_config(file("proxy.yaml"), nullptr));
  Result<Loaded> again = load_last_good(file("good"), nullptr);
  ASSERT_TRUE(again) << again.error().message();
  EXPECT_EQ(again->sources, loaded->sources);
  EXPECT_EQ(again->snapshot->listeners.size(), 1U);
}

TEST_F(LastGood, WhatIsBrokenIsRefusedWithAReason) {
  EXPECT_EQ(load_last_good(file("none"), nullptr).error().code(), Code::kNotFound);
  for (const char* text : {"", "{}", "[]", R"({"version":2,"config":"","files":{}})", R"({"version":1,"config":"","files":[]})", R"({"version":1,"config":"","files":{"a":"%"}})", R"({"version":1,"config":5,"files":{}})"})
    EXPECT_FALSE(parse_last_good(text)) << text;
}

}  // namespace
}  // namespace monopod::proxy
