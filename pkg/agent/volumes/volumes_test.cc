#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>

#include "agent/test_pods.h"
#include "agent/volumes/projection.h"

namespace monopod::agent {
namespace {

namespace fs = std::filesystem;

struct TemporaryDirectory {
  TemporaryDirectory() {
    char name[] = "/tmp/monopod-agent.XXXXXX";
    path = ::mkdtemp(name);
  }
  ~TemporaryDirectory() { fs::remove_all(path); }
  std::string read(const std::string& name) const {
    std::ifstream in(path + "/" + name);
    return {std::istreambuf_iterator<char>(in), {}};
  }
  std::string path;
};

TEST(AtomicWriter, SwapsAllFilesAtOnceAndForgetsStaleOnes) {
  TemporaryDirectory dir;
  WallTime t{std::chrono::seconds(1'767'225'600)};
  auto first = write_payload(dir.path, {{"a", {"1", 0644}}, {"sub/b", {"2", 0600}}}, {}, t);
  ASSERT_TRUE(first) << first.error().message();
  EXPECT_TRUE(*first);
  EXPECT_EQ(dir.read("a"), "1");
  EXPECT_EQ(dir.read("sub/b"), "2");
  EXPECT_EQ(fs::read_symlink(dir.path + "/a"), "..data/a");
  EXPECT_EQ(fs::read_symlink(dir.path + "/sub"), "..data/sub");
  EXPECT_EQ(fs::read_symlink(dir.path + "/..data"), "..2026_01_01_00_00_00.000000000");
  EXPECT_EQ(fs::status(dir.path + "/sub/b").permissions(), fs::perms(0600));
  auto same = write_payload(dir.path, {{"a", {"1", 0644}}, {"sub/b", {"2", 0600}}}, {}, t);
  ASSERT_TRUE(same);
  EXPECT_FALSE(*same) << "nothing changes when nothing changed";
  auto second = write_payload(dir.path, {{"a", {"new", 0644}}}, {}, t + std::chrono::seconds(1));
  ASSERT_TRUE(second && *second);
  EXPECT_EQ(dir.read("a"), "new");
  EXPECT_FALSE(fs::exists(fs::symlink_status(dir.path + "/sub")));
  EXPECT_EQ(std::distance(fs::directory_iterator(dir.path), fs::directory_iterator()), 3) << "..data, its directory, a";
}

TEST(AtomicWriter, PathsThatLeaveTheVolumeAreRefused) {
  TemporaryDirectory dir;
  for (const char* bad : {"/etc/passwd", "../x", "a/../../x", "", "..data", "a//b"}) EXPECT_FALSE(write_payload(dir.path, {{bad, {"x", 0644}}}, {}, WallTime{})) << bad;
}

TEST(Projection, ItemsModesAndMissingKeys) {
  Pod pod = make_pod(R"({"containers":[{"name":"a"}],"volumes":[{"name":"v","projected":{"defaultMode":288,"sources":[
    {"configMap":{"name":"cm","items":[{"key":"k","path":"dir/f","mode":256}]}},{"secret":{"name":"s"}},{"configMap":{"name":"none","optional":true}},
    {"downwardAPI":{"items":[{"path":"labels","fieldRef":{"fieldPath":"metadata.labels"}}]}},{"serviceAccountToken":{"path":"token","expirationSeconds":3607}}]}},
    {"name":"bad","configMap":{"name":"cm","items":[{"key":"no","path":"x"}]}},{"name":"gone","secret":{"secretName":"absent"}}]})",
                     R"("labels":{"app":"web"})");
  ReferencedObjects objects;
  objects.config_maps["cm"].values = {{"k", "v"}, {"other", "o"}};
  objects.secrets["s"].values = {{"p", "geheim"}};
  Tokens tokens{{token_key(pod.volumes[0].sources[4]), "jwt"}};
  auto payload = make_payload(pod, pod.volumes[0], objects, tokens, {});
  ASSERT_TRUE(payload) << payload.error().message();
  EXPECT_EQ(*payload, (Payload{{"dir/f", {"v", 0400}}, {"p", {"geheim", 0440}}, {"labels", {"app=\"web\"", 0440}}, {"token", {"jwt", 0440}}}));
  EXPECT_EQ(make_payload(pod, pod.volumes[1], objects, {}, {}).error().message(), "references non-existent config key: no");
  EXPECT_EQ(make_payload(pod, pod.volumes[2], objects, {}, {}).error().message(), "secret \"absent\" not found");
}

}  // namespace
}  // namespace monopod::agent
