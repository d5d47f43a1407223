// What needs no engine: flags as bodies of requests, values, frames, keys, templates.
#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>

#include "base/strings.h"
#include "docker_client/create_request.h"
#include "docker_client/engine_client.h"
#include "docker_client/session.h"
#include "docker_client/show.h"
#include "docker_client/values.h"
#include "docker_client/verbs.h"

namespace monopod::docker_client {
namespace {

// "env=A=b" pairs, as a command line's parser makes them.
Flags flags_of(std::initializer_list<std::pair<const char*, const char*>> pairs) {
  Flags out;
  for (auto [name, value] : pairs) out.add(name, value);
  return out;
}

// The member of the body, or the error.
std::string member(const Flags& flags, std::initializer_list<std::string_view> path, std::vector<std::string> words = {"image"}) {
  auto body = make_create_request(flags, words);
  if (!body) return body.error().message();
  const json::Value* found = json::find(*body, path);
  return found == nullptr ? "absent" : json::format(*found);
}

struct FlagCase {
  std::initializer_list<std::pair<const char*, const char*>> flags;
  std::initializer_list<std::string_view> path;
  const char* want;
};

TEST(CreateRequest, FlagsBecomeMembers) {
  const FlagCase table[] = {
      {{}, {"AttachStdout"}, "true"},
      {{}, {"AttachStdin"}, "false"},
      {{{"interactive", "true"}}, {"AttachStdin"}, "true"},
      {{{"interactive", "true"}}, {"StdinOnce"}, "true"},
      {{{"interactive", "true"}, {"detach", "true"}}, {"AttachStdin"}, "false"},
      {{{"interactive", "true"}, {"detach", "true"}}, {"OpenStdin"}, "true"},
      {{{"attach", "STDERR"}}, {"AttachStdout"}, "false"},
      {{{"tty", "true"}}, {"Tty"}, "true"},
      {{{"env", "A=b"}, {"env", "C=d=e"}}, {"Env"}, R"(["A=b","C=d=e"])"},
      {{{"label", "a=b"}, {"label", "c"}}, {"Labels"}, R"({"a":"b","c":""})"},
      {{{"hostname", "box"}}, {"Hostname"}, "\"box\""},
      {{{"entrypoint", "/bin/sh"}}, {"Entrypoint"}, R"(["/bin/sh"])"},
      {{{"entrypoint", ""}}, {"Entrypoint"}, R"([""])"},
      {{{"stop-timeout", "3"}}, {"StopTimeout"}, "3"},
      {{{"memory", "64m"}}, {"HostConfig", "Memory"}, "67108864"},
      {{{"memory-swap", "-1"}}, {"HostConfig", "MemorySwap"}, "-1"},
      {{{"cpus", "0.5"}}, {"HostConfig", "NanoCpus"}, "500000000"},
      {{{"cpus", "many"}}, {}, "invalid number of CPUs \"many\""},
      {{{"pids-limit", "x"}}, {}, "--pids-limit x: want a number"},
      {{{"rm", "true"}}, {"HostConfig", "AutoRemove"}, "true"},
      {{{"rm", "false"}}, {"HostConfig", "AutoRemove"}, "absent"},
      {{{"init", "true"}}, {"HostConfig", "Init"}, "true"},
      {{{"restart", "on-failure:3"}}, {"HostConfig", "RestartPolicy"}, R"({"Name":"on-failure","MaximumRetryCount":3})"},
      {{{"publish", "8080:80"}}, {"HostConfig", "PortBindings"}, R"({"80/tcp":[{"HostIp":"","HostPort":"8080"}]})"},
      {{{"publish", "8080:80"}}, {"ExposedPorts"}, R"({"80/tcp":{}})"},
      {{{"volume", "/a:/b:ro"}, {"volume", "data:/d"}}, {"HostConfig", "Binds"}, R"(["/a:/b:ro","data:/d"])"},
      {{{"volume", "/anonymous"}}, {"Volumes"}, R"({"/anonymous":{}})"},
      {{{"tmpfs", "/t:size=1m"}}, {"HostConfig", "Tmpfs"}, R"({"/t":"size=1m"})"},
      {{{"mount", "type=bind,src=/a,dst=/b,ro"}}, {"HostConfig", "Mounts"}, R"([{"Type":"bind","Source":"/a","Target":"/b","ReadOnly":true}])"},
      {{{"mount", "type=tmpfs,target=/t,tmpfs-size=1m,tmpfs-mode=1770"}}, {"HostConfig", "Mounts"}, R"([{"Type":"tmpfs","Target":"/t","TmpfsOptions":{"SizeBytes":1048576,"Mode":1016}}])"},
      {{{"network", "back"}}, {"HostConfig", "NetworkMode"}, "\"back\""},
      {{{"network", "back"}, {"network-alias", "db"}, {"ip", "10.0.0.9"}}, {"NetworkingConfig", "EndpointsConfig", "back"}, R"({"Aliases":["db"],"IPAMConfig":{"IPv4Address":"10.0.0.9"}})"},
      {{{"network", "a"}, {"network", "b"}}, {"NetworkingConfig", "EndpointsConfig"}, R"({"a":{},"b":{}})"},
      {{{"network-alias", "db"}}, {}, "--network-alias: works in a network of one's own: create one and name it with --network"},
      {{{"health-cmd", "test -e /ok"}, {"health-interval", "1s"}, {"health-retries", "2"}}, {"Healthcheck"}, R"({"Test":["CMD-SHELL","test -e /ok"],"Interval":1000000000,"Retries":2})"},
      {{{"no-healthcheck", "true"}}, {"Healthcheck"}, R"({"Test":["NONE"]})"},
      {{{"no-healthcheck", "true"}, {"health-cmd", "x"}}, {}, "--no-healthcheck conflicts with --health-* options"},
      {{{"ulimit", "nofile=10:20"}}, {"HostConfig", "Ulimits"}, R"([{"Name":"nofile","Soft":10,"Hard":20}])"},
      {{{"device", "/dev/null:/dev/x:r"}}, {"HostConfig", "Devices"}, R"([{"PathOnHost":"/dev/null","PathInContainer":"/dev/x","CgroupPermissions":"r"}])"},
      {{{"cap-drop", "ALL"}, {"cap-add", "CHOWN"}}, {"HostConfig", "CapDrop"}, R"(["ALL"])"},
      {{{"gpus", "all"}}, {}, "--gpus: GPUs are not supported"},
      {{{"attach", "stdout"}, {"detach", "true"}}, {}, "--attach and --detach cannot be used together"},
      {{{"attach", "screen"}}, {}, "--attach screen: want stdin, stdout or stderr"},
      {{{"env-file", "/no/such"}}, {}, "open /no/such: No such file or directory"},
  };
  for (const FlagCase& c : table) EXPECT_EQ(member(flags_of(c.flags), c.path), c.want) << c.want;
}

TEST(CreateRequest, WordsAreImageAndCommand) {
  EXPECT_EQ(member({}, {"Image"}, {"web", "sh", "-c", "x"}), "\"web\"");
  EXPECT_EQ(member({}, {"Cmd"}, {"web", "sh", "-c", "x"}), R"(["sh","-c","x"])");
  EXPECT_EQ(member({}, {"Cmd"}, {"web"}), "absent");
  EXPECT_EQ(member({}, {}, {}), "no image is named");
}

TEST(Values, SizesArePowersOf1024) {
  struct {
    const char* text;
    std::int64_t want;  // -2: refused
  } const table[] = {{"0", 0}, {"512", 512}, {"1k", 1024}, {"64m", 64 << 20}, {"64MB", 64 << 20}, {"1.5g", 3LL << 29}, {"2GiB", 2LL << 30}, {"1t", 1LL << 40}, {"-1", -1}, {"", -2}, {"m", -2}, {"-5m", -2}, {"1e3", -2}, {"9999999p", -2}, {"nan", -2}};
  for (const auto& c : table) EXPECT_EQ(parse_size(c.text).value_or(-2), c.want) << c.text;
}

std::string published(const char* text) {
  json::Object exposed, bindings;
  Result<> added = add_published_port(text, exposed, bindings);
  return added ? json::format(bindings) : "refused";
}

TEST(Values, PortsAsDockerWritesThem) {
  EXPECT_EQ(published("80"), R"({"80/tcp":[{"HostIp":"","HostPort":""}]})");
  EXPECT_EQ(published("53:53/udp"), R"({"53/udp":[{"HostIp":"","HostPort":"53"}]})");
  EXPECT_EQ(published("127.0.0.1:8080:80"), R"({"80/tcp":[{"HostIp":"127.0.0.1","HostPort":"8080"}]})");
  EXPECT_EQ(published("127.0.0.1::80"), R"({"80/tcp":[{"HostIp":"127.0.0.1","HostPort":""}]})");
  EXPECT_EQ(published("[::1]:8080:80"), R"({"80/tcp":[{"HostIp":"::1","HostPort":"8080"}]})");
  EXPECT_EQ(published("8000-8001:80-81"), R"({"80/tcp":[{"HostIp":"","HostPort":"8000"}],"81/tcp":[{"HostIp":"","HostPort":"8001"}]})");
  for (const char* wrong : {"", "0", "70000", "80:", "a:80", "8000-8001:80-82", "80/icmp", "81-80", "1-60000"}) EXPECT_EQ(published(wrong), "refused") << wrong;
}

TEST(Values, EnvironmentFilesHaveALineForEach) {
  std::string path = testing::TempDir() + "env-file";
  ::setenv("MONOPOD_TEST_OWN", "mine", 1);
  std::ofstream(path) << "# comment\n\nA=b\n  C= d \nMONOPOD_TEST_OWN\nMONOPOD_TEST_NONE\r\n";
  EXPECT_EQ(*read_env_file(path), (std::vector<std::string>{"A=b", "C= d ", "MONOPOD_TEST_OWN=mine"}));
  std::ofstream(path) << "A=b\nnot a name=x\n";
  EXPECT_EQ(read_env_file(path).error().message(), path + ": line 2: want NAME=value");
  std::filesystem::remove(path);
}

TEST(Session, FramesComeApartHoweverTheyAreCut) {
  std::string bytes("\1\0\0\0\0\0\0\3out\2\0\0\0\0\0\0\3err\1\0\0\0\0\0\0\0\1\0\0\0\0\0\0\1!", 39);
  for (std::size_t piece = 1; piece <= bytes.size(); ++piece) {
    FrameReader frames;
    std::string out, err;
    for (std::size_t at = 0; at < bytes.size(); at += piece)
      ASSERT_TRUE(frames.feed(std::string_view(bytes).substr(at, piece), [&](int stream, std::string_view text) {
        (stream == 2 ? err : out) += text;
        return Result<>();
      }));
    EXPECT_EQ(out + "|" + err, "out!|err") << piece;
  }
  FrameReader frames;
  EXPECT_FALSE(frames.feed("HTTP/1.1 500", [](int, std::string_view) { return Result<>(); }));
}

TEST(Session, DetachKeysAreHeldBackUntilTheyAreNone) {
  EXPECT_EQ(*parse_detach_keys("ctrl-p,ctrl-q"), "\x10\x11");
  EXPECT_EQ(*parse_detach_keys("a,ctrl-[,ctrl-@"), std::string("a\x1b\0", 3));
  for (const char* wrong : {"", "ctrl-", "ctrl-1", "word", "a,,b"}) EXPECT_FALSE(parse_detach_keys(wrong)) << wrong;
  DetachKeys keys("\x10\x11");
  EXPECT_EQ(keys.feed("ab\x10"), "ab");
  EXPECT_EQ(keys.feed("c"), "\x10" "c");
  EXPECT_EQ(keys.feed("\x10\x10"), "\x10");
  EXPECT_EQ(keys.feed("\x11"), std::nullopt);
}

TEST(Show, TemplatesFillMembers) {
  json::Value value = *json::parse(R"({"Name":"web","State":{"Running":true},"Labels":{"a.b":"c"},"List":[1,"two"],"None":null})");
  EXPECT_EQ(*fill_template(R"({{.Name}}\t{{ .State.Running }})", value), "web\ttrue");
  EXPECT_EQ(*fill_template(R"({{json .List}} {{index .Labels "a.b"}} {{index .List 1}} {{.None}}{{println}})", value), "[1,\"two\"] c two <no value>\n");
  EXPECT_EQ(*fill_template("{{json .State}}", value), R"({"Running":true})");
  EXPECT_EQ(fill_template("{{.Nope}}", value).error().message(), "--format .Nope: there is no \"Nope\"");
  EXPECT_FALSE(fill_template("{{range .List}}{{end}}", value));
  EXPECT_FALSE(fill_template("{{.Name", value));
}

TEST(Show, AgesAndSizesAsDockerSaysThem) {
  struct {
    int seconds;
    const char* want;
  } const ages[] = {{0, "Less than a second"}, {1, "1 second"}, {59, "59 seconds"}, {60, "About a minute"}, {150, "2 minutes"}, {3600, "About an hour"}, {7200, "2 hours"}, {86'400, "24 hours"}, {86'400 * 3, "3 days"}, {86'400 * 20, "2 weeks"}, {86'400 * 90, "3 months"}, {86'400 * 800, "2 years"}};
  for (const auto& c : ages) EXPECT_EQ(format_age_words(std::chrono::seconds(c.seconds)), c.want);
  EXPECT_EQ(format_decimal_size(0), "0B");
  EXPECT_EQ(format_decimal_size(1'500'000), "1.5MB");
  EXPECT_EQ(format_binary_size(64 << 20), "64MiB");
  EXPECT_EQ(cut("sleep 100", 20), "sleep 100");
  EXPECT_EQ(cut(std::string(30, 'a'), 20), std::string(19, 'a') + "…");
  EXPECT_EQ(short_id("sha256:0123456789abcdef"), "0123456789ab");
}

TEST(EngineClient, DocumentsAreTakenWholeHoweverTheyCome) {
  std::string buffer = R"({"a":"}{\"[","b":[1,{}]})" "\n\n" R"({"c":2}[3])" "\n{\"d\":";
  auto values = take_documents(buffer);
  ASSERT_TRUE(values);
  ASSERT_EQ(values->size(), 3U);
  EXPECT_EQ(json::format((*values)[2]), "[3]");
  EXPECT_EQ(buffer, "\n{\"d\":");
  buffer += "1}";
  EXPECT_EQ(take_documents(buffer)->size(), 1U);
  buffer = "{nonsense}";
  EXPECT_FALSE(take_documents(buffer));
}

TEST(Verbs, ErrorsOfAStartHaveDockersExitCodes) {
  EXPECT_EQ(exit_code_of_start(Error(Code::kInvalidArgument, "exec: \"x\": executable file not found in $PATH")), 127);
  EXPECT_EQ(exit_code_of_start(Error(Code::kInvalidArgument, "stat /x: no such file or directory")), 127);
  EXPECT_EQ(exit_code_of_start(Error(Code::kInvalidArgument, "exec: \"/etc/passwd\": permission denied")), 126);
  EXPECT_EQ(exit_code_of_start(Error(Code::kFailedPrecondition, "port is already allocated")), 125);
}

TEST(Verbs, AnEngineThatIsNotThereIsSaidInOneLine) {
  EngineClient client("/no/such/docker.sock");
  auto answer = client.get("/_ping");
  ASSERT_FALSE(answer);
  EXPECT_EQ(answer.error().code(), Code::kUnavailable);
  EXPECT_NE(answer.error().message().find("no engine answers at /no/such/docker.sock"), std::string::npos);
  EXPECT_NE(answer.error().message().find("sudo monopod engine"), std::string::npos);
  EXPECT_EQ(answer.error().message().find('\n'), std::string::npos);
}

}  // namespace
}  // namespace monopod::docker_client
