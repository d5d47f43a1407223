#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>

#include "agent/test_pods.h"
#include "agent/volumes/volumes.h"
#include "base/strings.h"

namespace monopod::agent {
namespace {

json::Value tree(std::string_view text) { return *json::parse(text); }

Pod pod_with(std::string_view volume) { return make_pod(cat(R"({"containers":[{"name":"a"}],"volumes":[{"name":"v",)", volume, "}]}")); }

TEST(Claims, APodNamesItsClaimOrHasOneByItsOwnName) {
  Pod pod = pod_with(R"("persistentVolumeClaim":{"claimName":"data","readOnly":true})");
  EXPECT_EQ(pod.volumes[0].kind, Volume::Kind::kPersistentClaim);
  EXPECT_EQ(pod.volumes[0].claim, "data");
  EXPECT_TRUE(pod.volumes[0].read_only);
  Pod other = pod_with(R"("ephemeral":{"volumeClaimTemplate":{"spec":{}}})");
  EXPECT_EQ(other.volumes[0].kind, Volume::Kind::kPersistentClaim);
  EXPECT_EQ(other.volumes[0].claim, other.name + "-v");
}

TEST(Claims, WhatIsNotBoundIsWaitedFor) {
  Pod pod = pod_with(R"("persistentVolumeClaim":{"claimName":"data"})");
  auto refusal = [&pod](std::string_view claim) {
    Result<> checked = check_claim(pod, pod.volumes[0], tree(claim));
    return checked ? "" : std::string(checked.error().message());
  };
  std::string start = cat("error processing PVC ", pod.namespace_name, "/data: ");
  EXPECT_EQ(refusal(R"({"metadata":{"name":"data"},"spec":{"volumeName":"pv"},"status":{"phase":"Bound"}})"), "");
  EXPECT_EQ(refusal(R"({"metadata":{"name":"data"},"spec":{},"status":{"phase":"Pending"}})"), start + "PVC is not bound");
  EXPECT_EQ(refusal(R"({"metadata":{"name":"data"},"spec":{"volumeName":"pv"},"status":{"phase":"Lost"}})"), start + "PVC is not bound");
  EXPECT_EQ(refusal(R"({"metadata":{"name":"data","deletionTimestamp":"2026-01-01T00:00:00Z"},"spec":{"volumeName":"pv"},"status":{"phase":"Bound"}})"), start + "PVC is being deleted");
  Pod own = pod_with(R"("ephemeral":{"volumeClaimTemplate":{"spec":{}}})");
  json::Value others = tree(R"({"metadata":{"name":"x"},"spec":{"volumeName":"pv"},"status":{"phase":"Bound"}})");
  EXPECT_FALSE(check_claim(own, own.volumes[0], others)) << "made by hand under the pod's name";
  json::at_path(others, {"metadata", "ownerReferences"}) = json::Array{json::Object{{"uid", own.uid}, {"controller", true}}};
  EXPECT_TRUE(check_claim(own, own.volumes[0], others));
}

TEST(Claims, AVolumeIsAPathOrNamesWhatItIs) {
  Pod pod = pod_with(R"("persistentVolumeClaim":{"claimName":"data"})");
  json::Value claim = tree(R"({"metadata":{"name":"data","uid":"u1"},"spec":{"volumeName":"pv"}})");
  struct Case {
    const char* spec;
    Volume::Kind kind;
    const char* path;
    const char* error;
  };
  const Case cases[] = {
      {R"({"hostPath":{"path":"/h","type":"Directory"},"claimRef":{"uid":"u1"},"capacity":{}})", Volume::Kind::kHostPath, "/h", ""},
      {R"({"local":{"path":"/l"},"claimRef":{"uid":"u1"},"nodeAffinity":{}})", Volume::Kind::kLocal, "/l", ""},
      {R"({"local":{"path":"/l"},"claimRef":{"uid":"u2"}})", {}, "", "PV pv is bound to a different PVC"},
      {R"({"local":{"path":"/l"}})", {}, "", "PV pv is bound to a different PVC"},
      {R"({"local":{"path":"/l"},"volumeMode":"Block","claimRef":{"uid":"u1"}})", {}, "", "persistent volume \"pv\": block volumes are not supported by this node"},
      {R"({"nfs":{"server":"s"},"claimRef":{"uid":"u1"}})", {}, "", "no volume plugin matched: persistent volume \"pv\": nfs volumes are not supported by this node"},
      {R"({"csi":{"driver":"d"},"claimRef":{"uid":"u1"}})", {}, "", "no volume plugin matched: persistent volume \"pv\": csi volumes are not supported by this node"},
  };
  for (const Case& c : cases) {
    Result<Volume> found = claimed_volume(pod.volumes[0], claim, tree(cat(R"({"metadata":{"name":"pv"},"spec":)", c.spec, "}")));
    if (c.error[0] != '\0') {
      ASSERT_FALSE(found) << c.spec;
      EXPECT_EQ(found.error().message(), c.error);
      continue;
    }
    ASSERT_TRUE(found) << c.spec << found.error().message();
    EXPECT_EQ(found->kind, c.kind);
    EXPECT_EQ(found->path, c.path);
    EXPECT_EQ(found->name, "v");
  }
}

TEST(Claims, ALocalVolumeIsADirectoryThatIsThere) {
  char name[] = "/tmp/monopod-claims.XXXXXX";
  std::string top = ::mkdtemp(name);
  std::string file = top + "/file";
  ASSERT_EQ(::mknod(file.c_str(), S_IFREG | 0600, 0), 0);
  auto refusal = [](const std::string& path) {
    Volume volume;
    volume.path = path;
    Result<> checked = check_local(volume);
    return checked ? "" : std::string(checked.error().message());
  };
  EXPECT_EQ(refusal(top), "");
  EXPECT_EQ(refusal(top + "/absent"), cat("path \"", top, "/absent\" does not exist"));
  EXPECT_EQ(refusal(file), cat("only directories and block devices are supported for local volumes, got ", file));
  EXPECT_EQ(refusal(top + "/../x"), cat("local volume \"", top, "/../x\" must be absolute and must not contain '..'"));
  EXPECT_FALSE(is_of_group(top, 1'234'567));
  std::filesystem::remove_all(top);
}

}  // namespace
}  // namespace monopod::agent
