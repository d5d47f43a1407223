#include "client/volume_match.h"

#include <gtest/gtest.h>

#include "base/strings.h"

namespace monopod::client {
namespace {

json::Value tree(std::string_view text) { return *json::parse(text); }

ObjectPtr volume(std::string_view name, std::string_view size, std::string_view spec = "", std::string_view metadata = "", std::string_view phase = "Available") {
  std::string modes(spec.contains("accessModes") ? "" : R"("accessModes":["ReadWriteOnce"],)");
  return std::make_shared<const Object>(*parse_object(cat(R"({"metadata":{"name":")", name, "\"", metadata, R"(},"spec":{)", modes, R"("capacity":{"storage":")", size, "\"}", spec, R"(},"status":{"phase":")", phase, R"("}})")));
}

json::Value claim(std::string_view size, std::string_view spec = "", std::string_view metadata = "") {
  std::string modes(spec.contains("accessModes") ? "" : R"("accessModes":["ReadWriteOnce"],)");
  return tree(cat(R"({"metadata":{"namespace":"ns","name":"c","uid":"u1")", metadata, R"(},"spec":{)", modes, R"("resources":{"requests":{"storage":")", size, "\"}}", spec, "}}"));
}

std::string found(const json::Value& wanted, const std::vector<ObjectPtr>& volumes, const VolumeSearch& search = {}) {
  ObjectPtr one = find_volume(wanted, volumes, search);
  return one ? one->name : "";
}

constexpr std::string_view kReserved = R"(,"claimRef":{"namespace":"ns","name":"c"})";

TEST(VolumeMatch, TheSmallestVolumeThatHasAllIsTaken) {
  struct Case {
    const char* name;
    json::Value claim;
    std::vector<ObjectPtr> volumes;
    const char* taken;
  };
  const Case cases[] = {
      {"none", claim("1Gi"), {}, ""},
      {"too small", claim("1Gi"), {volume("a", "1023Mi")}, ""},
      {"the smallest", claim("1Gi"), {volume("big", "5Gi"), volume("fits", "1Gi"), volume("more", "2Gi")}, "fits"},
      {"units do not matter", claim("1Gi"), {volume("a", "1073741824")}, "a"},
      {"of equals the first by name", claim("1Gi"), {volume("b", "1Gi"), volume("a", "1Gi")}, "a"},
      {"access mode missing", claim("1Gi", R"(,"accessModes":["ReadWriteMany"])"), {volume("a", "1Gi")}, ""},
      {"fewest access modes come before size", claim("1Gi"), {volume("many", "1Gi", R"(,"accessModes":["ReadWriteOnce","ReadOnlyMany"])"), volume("one", "2Gi")}, "one"},
      {"class missing", claim("1Gi", R"(,"storageClassName":"fast")"), {volume("a", "1Gi")}, ""},
      {"class", claim("1Gi", R"(,"storageClassName":"fast")"), {volume("a", "1Gi"), volume("b", "1Gi", R"(,"storageClassName":"fast")")}, "b"},
      {"class by annotation", claim("1Gi", "", R"(,"annotations":{"volume.beta.kubernetes.io/storage-class":"fast"})"), {volume("b", "1Gi", R"(,"storageClassName":"fast")")}, "b"},
      {"empty class is no class", claim("1Gi", R"(,"storageClassName":"")"), {volume("a", "1Gi")}, "a"},
      {"selector", claim("1Gi", R"(,"selector":{"matchLabels":{"disk":"ssd"}})"), {volume("a", "1Gi"), volume("b", "1Gi", "", R"(,"labels":{"disk":"ssd"})")}, "b"},
      {"selector by expression", claim("1Gi", R"(,"selector":{"matchExpressions":[{"key":"disk","operator":"DoesNotExist"}]})"), {volume("b", "1Gi", "", R"(,"labels":{"disk":"ssd"})")}, ""},
      {"block", claim("1Gi", R"(,"volumeMode":"Block")"), {volume("a", "1Gi"), volume("b", "1Gi", R"(,"volumeMode":"Block")")}, "b"},
      {"file system is the default", claim("1Gi", R"(,"volumeMode":"Filesystem")"), {volume("a", "1Gi")}, "a"},
      {"not yet available", claim("1Gi"), {volume("a", "1Gi", "", "", "Pending")}, ""},
      {"released", claim("1Gi"), {volume("a", "1Gi", "", "", "Released")}, ""},
      {"going", claim("1Gi"), {volume("a", "1Gi", "", R"(,"deletionTimestamp":"2026-01-01T00:00:00Z")")}, ""},
      {"of another claim", claim("1Gi"), {volume("a", "1Gi", R"(,"claimRef":{"namespace":"ns","name":"other"})")}, ""},
      {"reserved goes before smaller", claim("1Gi"), {volume("a", "1Gi"), volume("b", "9Gi", kReserved)}, "b"},
      {"reserved needs no class", claim("1Gi", R"(,"storageClassName":"fast")"), {volume("b", "9Gi", kReserved)}, "b"},
      {"reserved but too small", claim("1Gi"), {volume("a", "1Gi"), volume("b", "1Mi", kReserved)}, "a"},
      {"reserved for one of that name that is gone", claim("1Gi"), {volume("b", "1Gi", R"(,"claimRef":{"namespace":"ns","name":"c","uid":"u0"})")}, ""},
  };
  for (const Case& c : cases) EXPECT_EQ(found(c.claim, c.volumes), c.taken) << c.name;
}

TEST(VolumeMatch, AClaimThatWaitsTakesOnlyWhatIsReserved) {
  EXPECT_EQ(found(claim("1Gi"), {volume("a", "1Gi")}, {.only_reserved = true}), "");
  EXPECT_EQ(found(claim("1Gi"), {volume("a", "1Gi"), volume("b", "1Gi", kReserved)}, {.only_reserved = true}), "b");
}

TEST(VolumeMatch, VolumesAreTakenWhereTheirNodeIs) {
  json::Value node = tree(R"({"metadata":{"name":"n1","labels":{"kubernetes.io/hostname":"n1"}}})");
  auto on = [](std::string_view name) {
    return cat(R"(,"nodeAffinity":{"required":{"nodeSelectorTerms":[{"matchExpressions":[{"key":"kubernetes.io/hostname","operator":"In","values":[")", name, R"("]}]}]}})");
  };
  std::vector<ObjectPtr> volumes{volume("there", "1Gi", on("n2")), volume("here", "2Gi", on("n1"))};
  EXPECT_EQ(found(claim("1Gi"), volumes), "there") << "nobody asked for a node";
  EXPECT_EQ(found(claim("1Gi"), volumes, {.node = &node}), "here");
  EXPECT_EQ(found(claim("1Gi"), volumes, {.node = &node, .skip = [](const Object& one) { return one.name == "here"; }}), "");
  EXPECT_EQ(found(claim("1Gi"), {volume("r", "1Gi", cat(kReserved, on("n2"))), volume("here", "2Gi")}, {.node = &node}), "") << "its own is elsewhere";
}

TEST(VolumeMatch, AClaimThatNamesAVolumeIsToldWhyItCannotHaveIt) {
  struct Case {
    json::Value claim;
    ObjectPtr volume;
    const char* why;
  };
  const Case cases[] = {
      {claim("1Gi"), volume("a", "1Gi"), ""},
      {claim("2Gi"), volume("a", "1Gi"), "requested PV is too small"},
      {claim("1Gi", R"(,"storageClassName":"x")"), volume("a", "1Gi"), "storageClassName does not match"},
      {claim("1Gi", R"(,"volumeMode":"Block")"), volume("a", "1Gi"), "incompatible volumeMode"},
      {claim("1Gi", R"(,"accessModes":["ReadOnlyMany"])"), volume("a", "1Gi"), "incompatible accessMode"},
      {claim("1Gi"), volume("a", "1Gi", "", R"(,"deletionTimestamp":"2026-01-01T00:00:00Z")"), "the volume is marked for deletion"},
  };
  for (const Case& c : cases) EXPECT_EQ(volume_mismatch(c.volume->tree(), c.claim), c.why);
}

TEST(VolumeMatch, TopologiesOfAClassAreLabelsOfNodes) {
  json::Value node = tree(R"({"metadata":{"name":"n1","labels":{"zone":"b"}}})");
  auto fits = [&node](std::string_view topologies) { return class_fits_node(tree(cat(R"({"allowedTopologies":)", topologies, "}")), node); };
  EXPECT_TRUE(fits("[]"));
  EXPECT_TRUE(fits(R"([{"matchLabelExpressions":[{"key":"zone","values":["a","b"]}]}])"));
  EXPECT_FALSE(fits(R"([{"matchLabelExpressions":[{"key":"zone","values":["a"]}]}])"));
  EXPECT_FALSE(fits(R"([{"matchLabelExpressions":[{"key":"zone","values":["b"]},{"key":"rack","values":["1"]}]}])"));
  EXPECT_TRUE(fits(R"([{"matchLabelExpressions":[{"key":"rack","values":["1"]}]},{"matchLabelExpressions":[{"key":"zone","values":["b"]}]}])"));
}

TEST(VolumeMatch, APodNamesClaimsAndEphemeralVolumesAreClaimsAlso) {
  json::Value pod = tree(R"({"metadata":{"name":"p"},"spec":{"volumes":[{"name":"a","emptyDir":{}},{"name":"b","persistentVolumeClaim":{"claimName":"data"}},{"name":"c","ephemeral":{"volumeClaimTemplate":{"spec":{}}}}]}})");
  std::vector<ClaimUse> uses = claims_of(pod);
  ASSERT_EQ(uses.size(), 2U);
  EXPECT_EQ(uses[0].claim, "data");
  EXPECT_EQ(uses[0].claim_template, nullptr);
  EXPECT_EQ(uses[1].claim, "p-c");
  EXPECT_NE(uses[1].claim_template, nullptr);
}

}  // namespace
}  // namespace monopod::client
