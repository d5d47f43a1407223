#include "image/hosts.h"

#include <gtest/gtest.h>

#include "image/docker_config.h"

namespace monopod::image {
namespace {

TEST(Hosts, TheFileIsReadInOrder) {
  auto hosts = parse_hosts(R"(# who
server = "https://registry-1.docker.io/"   # itself

[host."https://mirror.local:5000"]
  capabilities = ["pull", "resolve"]
  ca = "/a.pem"
[host.'http://10.0.0.1']
  ca = [ "/a.pem",  # two
         "/b.pem", ]
  skip_verify = true
)");
  ASSERT_TRUE(hosts) << hosts.error().message();
  EXPECT_EQ(hosts->server.url, "https://registry-1.docker.io");
  ASSERT_EQ(hosts->hosts.size(), 2U);
  EXPECT_EQ(hosts->hosts[0].url, "https://mirror.local:5000");
  EXPECT_TRUE(hosts->hosts[0].pull);
  EXPECT_FALSE(hosts->hosts[0].push);
  EXPECT_EQ(hosts->hosts[1].ca_files, (std::vector<std::string>{"/a.pem", "/b.pem"}));
  EXPECT_TRUE(hosts->hosts[1].skip_verify);
  EXPECT_TRUE(parse_hosts(""));
}

TEST(Hosts, WhatIsNotUnderstoodIsNamedWithItsLine) {
  struct Case {
    const char *text, *error;
  };
  for (const Case& c : std::initializer_list<Case>{{"\nserver = 1", "line 2: want a string"},
                                                   {"server = \"x\"", "line 1: \"x\" is no http:// or https:// address"},
                                                   {"[host.\"https://a/v2\"]", "line 1: \"https://a/v2\": an address with a path is not supported"},
                                                   {"[hosts]", "line 1: only [host.\"https://...\"] tables are supported"},
                                                   {"[host.\"https://a\"]\n[host.\"https://a/\"]", "line 2: \"https://a\" stands twice"},
                                                   {"[host.\"https://a\"]\nserver = \"https://b\"", "line 2: key \"server\" is not supported"},
                                                   {"override_path = true", "line 1: key \"override_path\" is not supported"},
                                                   {"skip_verify = yes", "line 1: want true or false"},
                                                   {"skip_verify = true x", "line 1: unexpected text after a value"},
                                                   {"ca = [\"a\"", "line 1: a list without its end"},
                                                   {"ca = [\"a\" \"b\"]", "line 1: want ',' or ']'"},
                                                   {"ca = \"a", "line 1: a string without its end"},
                                                   {"ca = \"\\n\"", "line 1: this escape is not supported"},
                                                   {"capabilities = [\"delete\"]", "line 1: capability \"delete\" is not pull, resolve or push"},
                                                   {"=", "line 1: want key = value"}}) {
    auto hosts = parse_hosts(c.text);
    ASSERT_FALSE(hosts) << c.text;
    EXPECT_EQ(hosts.error().message(), c.error);
  }
}

TEST(DockerConfig, TheClosestKeyWins) {
  constexpr std::string_view kConfig = R"({"auths":{
    "https://index.docker.io/v1/":{"auth":"aHViOnNlY3JldA=="},
    "reg.example:5000":{"username":"all","password":"p:w"},
    "reg.example:5000/team":{"auth":"dGVhbTp4"},
    "token.example":{"registrytoken":"t"}},"credHelpers":{"helped.example":"pass"}})";
  auto auth_of = [&](std::string_view reference) { return find_docker_auth(kConfig, *parse_reference(reference)); };
  EXPECT_EQ(auth_of("busybox")->username, "hub");
  EXPECT_EQ(auth_of("busybox")->password, "secret");
  EXPECT_EQ(auth_of("reg.example:5000/other")->password, "p:w");
  EXPECT_EQ(auth_of("reg.example:5000/team/app")->username, "team");
  EXPECT_EQ(auth_of("reg.example:5000/teams")->username, "all");
  EXPECT_EQ(auth_of("token.example/a")->token, "t");
  EXPECT_EQ(auth_of("other.example/a")->username, "");
  auto helped = auth_of("helped.example/a");
  ASSERT_FALSE(helped);
  EXPECT_EQ(helped.error().message(), "credentials of helped.example are kept by docker-credential-pass, which is not run; give --creds");
}

TEST(DockerConfig, BrokenFilesAreNamed) {
  Reference reference = *parse_reference("a.example/b");
  EXPECT_FALSE(find_docker_auth("{", reference));
  EXPECT_EQ(find_docker_auth(R"({"auths":{"a.example":{"auth":"!"}}})", reference).error().message(), "credentials of a.example: auth is not base64");
  EXPECT_EQ(find_docker_auth(R"({"auths":{"a.example":{"auth":"YQ=="}}})", reference).error().message(), "credentials of a.example: auth is not user:password");
  EXPECT_EQ(find_docker_auth(R"({"auths":{"a.example":{"identitytoken":"x"}}})", reference).error().code(), Code::kUnimplemented);
  EXPECT_EQ(find_docker_auth(R"({"auths":{"a.example":{}},"credsStore":"desktop"})", reference).error().code(), Code::kUnimplemented);
  EXPECT_TRUE(find_docker_auth("{}", reference));
}

}  // namespace
}  // namespace monopod::image
