#include "controllers/testing.h"
#include "controllers/volumes.h"

namespace monopod::controllers {
namespace {

using api::Reply;
using api::TestCluster;

const std::string kClaims = "/api/v1/namespaces/default/persistentvolumeclaims", kVolumes = "/api/v1/persistentvolumes", kClasses = "/apis/storage.k8s.io/v1/storageclasses", kEvents = "/api/v1/namespaces/default/events";

// Directories that are names alone.
struct FakeDirectories final : VolumeDirectories {
  std::string_view node() const override { return "n1"; }
  async::Task<Result<std::string>> make(std::string volume) override {
    ++made;
    if (failure) co_return fail(*failure);
    names.insert(volume);
    co_return "/volumes/" + volume;
  }
  async::Task<Result<>> remove(std::string volume) override {
    if (failure) co_return fail(*failure);
    names.erase(volume);
    co_return Result<>();
  }
  std::set<std::string> names;
  std::optional<Error> failure;
  int made = 0;
};

struct Rig {
  explicit Rig(TestCluster& on) : cluster(on), api(on.server->local(api::system_user("system:kube-controller-manager"))) { start(); }
  // As a process that begins: nothing is remembered.
  void start() {
    informers = std::make_unique<client::InformerFactory>(cluster.executor, api, cluster.time, cluster.rng);
    scope = std::make_unique<async::Scope>(cluster.executor);
    ControllerParts parts{.executor = cluster.executor, .api = api, .informers = *informers, .time = cluster.time, .rng = cluster.rng, .deletable_resources = {}, .root_ca_pem = "", .volumes = &directories};
    for (MakeController make : {make_volume_binder, make_claim_protection_controller, make_volume_protection_controller, make_ephemeral_volume_controller}) controllers.push_back(make(parts));
    for (auto& controller : controllers) scope->spawn(controller->run());
    scope->spawn(informers->run());
  }
  async::Task<> stop() {
    scope->cancel();
    (void)co_await scope->join();
    controllers.clear();
    scope.reset();
    informers.reset();
  }
  async::Task<Result<Reply>> until(std::string path, std::function<bool(const Reply&)> holds) {
    CO_TRY_ASSIGN(Reply seen, co_await cluster.eventually(path, holds));
    if (!holds(seen)) co_return fail(Code::kDeadlineExceeded, cat(path, " stayed ", seen.body));
    co_return seen;
  }
  async::Task<Result<Reply>> phase(std::string path, std::string wanted) {
    return until(std::move(path), [wanted = std::move(wanted)](const Reply& seen) { return seen.text({"status", "phase"}) == wanted; });
  }
  async::Task<Result<Reply>> gone(std::string path) {
    return until(std::move(path), [](const Reply& seen) { return seen.status == 404; });
  }
  // An event about an object of that name.
  async::Task<Result<Reply>> said(std::string about, std::string reason, std::string message) {
    std::string path = cat(about.starts_with("pv-") ? "/api/v1/events" : kEvents, "?fieldSelector=involvedObject.name=", about, ",reason=", reason);
    return until(std::move(path), [message = json::format(json::Value(message))](const Reply& seen) { return seen.body.contains(cat(R"("message":)", message)); });
  }
  async::Task<Result<>> make(std::string path, std::string body) {
    CO_TRY_ASSIGN(Reply made, co_await cluster.call("POST", path, std::move(body)));
    if (made.status != 201) co_return fail(Code::kInternal, made.body);
    co_return Result<>();
  }
  async::Task<Result<>> remove(std::string path) {
    CO_TRY_ASSIGN(Reply removed, co_await cluster.call("DELETE", path));
    if (removed.status != 200) co_return fail(Code::kInternal, removed.body);
    co_return Result<>();
  }
  async::Task<Result<>> patch(std::string path, std::string body) {
    CO_TRY_ASSIGN(Reply written, co_await cluster.call("PATCH", path, std::move(body), kMergePatch));
    if (written.status != 200) co_return fail(Code::kInternal, written.body);
    co_return Result<>();
  }

  TestCluster& cluster;
  client::LocalApi api;
  FakeDirectories directories;
  std::unique_ptr<client::InformerFactory> informers;
  std::unique_ptr<async::Scope> scope;
  std::vector<std::unique_ptr<Controller>> controllers;
};

std::string claim(std::string_view name, std::string_view spec = "", std::string_view size = "1Gi") {
  return cat(R"({"metadata":{"name":")", name, R"("},"spec":{"accessModes":["ReadWriteOnce"],"resources":{"requests":{"storage":")", size, "\"}}", spec, "}}");
}
std::string volume(std::string_view name, std::string_view spec = "", std::string_view size = "1Gi") {
  return cat(R"({"metadata":{"name":")", name, R"("},"spec":{"capacity":{"storage":")", size, R"("},"accessModes":["ReadWriteOnce"],"hostPath":{"path":"/x"})", spec, "}}");
}
std::string storage_class(std::string_view name, std::string_view provisioner, std::string_view more = "") {
  return cat(R"({"metadata":{"name":")", name, R"("},"provisioner":")", provisioner, "\"", more, "}");
}
constexpr std::string_view kWaits = R"(,"volumeBindingMode":"WaitForFirstConsumer")", kGrows = R"(,"allowVolumeExpansion":true)";

std::string annotation(const Reply& seen, std::string_view name) { return seen.text({"metadata", "annotations", name}); }

async::Task<Result<>> bind_by_size(TestCluster&, Rig& rig) {
  for (const char* size : {"5Gi", "2Gi", "1Mi"}) CO_TRY(co_await rig.make(kVolumes, volume(cat("pv-", to_lower(size)), "", size)));
  for (const char* name : {"pv-5gi", "pv-2gi", "pv-1mi"}) CO_TRY(co_await rig.phase(cat(kVolumes, "/", name), "Available"));
  CO_TRY(co_await rig.make(kClaims, claim("c")));
  CO_TRY_ASSIGN(Reply bound, co_await rig.phase(kClaims + "/c", "Bound"));
  EXPECT_EQ(bound.text({"spec", "volumeName"}), "pv-2gi");
  EXPECT_EQ(json::format(*json::find(bound.tree(), {"status"})), R"({"accessModes":["ReadWriteOnce"],"capacity":{"storage":"2Gi"},"phase":"Bound"})");
  EXPECT_EQ(annotation(bound, client::annotations::kBindCompleted), "yes");
  EXPECT_EQ(annotation(bound, client::annotations::kBoundByController), "yes");
  CO_TRY_ASSIGN(Reply taken, co_await rig.phase(kVolumes + "/pv-2gi", "Bound"));
  EXPECT_EQ(taken.text({"spec", "claimRef", "uid"}), bound.text({"metadata", "uid"}));
  EXPECT_EQ(taken.text({"spec", "claimRef", "kind"}), "PersistentVolumeClaim");
  EXPECT_EQ(annotation(taken, client::annotations::kBoundByController), "yes");
  EXPECT_NE(taken.text({"status", "lastPhaseTransitionTime"}), "");
  CO_TRY(co_await rig.remove(kClaims + "/c"));
  CO_TRY_ASSIGN(Reply released, co_await rig.phase(kVolumes + "/pv-2gi", "Released"));  // Retain is what volumes made by hand are
  EXPECT_EQ(released.text({"spec", "claimRef", "name"}), "c");
  CO_TRY(co_await rig.patch(kVolumes + "/pv-2gi", R"({"spec":{"claimRef":null}})"));
  CO_TRY(co_await rig.phase(kVolumes + "/pv-2gi", "Available"));
  co_return Result<>();
}

async::Task<Result<>> reserved_volumes(TestCluster& cluster, Rig& rig) {
  CO_TRY(co_await rig.make(kVolumes, volume("pv-small")));
  CO_TRY(co_await rig.make(kVolumes, volume("pv-big", R"(,"claimRef":{"namespace":"default","name":"c"})", "9Gi")));
  CO_TRY(co_await rig.phase(kVolumes + "/pv-big", "Available"));
  CO_TRY(co_await rig.make(kClaims, claim("c")));
  CO_TRY_ASSIGN(Reply bound, co_await rig.phase(kClaims + "/c", "Bound"));
  EXPECT_EQ(bound.text({"spec", "volumeName"}), "pv-big");
  CO_CALL(taken, "GET", kVolumes + "/pv-big");
  EXPECT_EQ(annotation(taken, client::annotations::kBoundByController), "") << "a user chose it";
  CO_TRY(co_await rig.make(kClaims, claim("late", R"(,"volumeName":"pv-late","storageClassName":"")")));
  CO_TRY(co_await rig.make(kVolumes, volume("pv-late")));
  CO_TRY_ASSIGN(Reply late, co_await rig.phase(kClaims + "/late", "Bound"));
  EXPECT_EQ(late.text({"spec", "volumeName"}), "pv-late");
  EXPECT_EQ(annotation(late, client::annotations::kBoundByController), "") << "the claim named it";
  CO_TRY(co_await rig.make(kClaims, claim("large", R"(,"volumeName":"pv-small")", "2Gi")));
  CO_TRY(co_await rig.said("large", "VolumeMismatch", "Cannot bind to requested volume \"pv-small\": requested PV is too small"));
  CO_TRY(co_await rig.make(kClaims, claim("second", R"(,"volumeName":"pv-big")")));
  CO_TRY(co_await rig.said("second", "FailedBinding", "volume \"pv-big\" already bound to a different claim."));
  co_return Result<>();
}

async::Task<Result<>> waiting_claims(TestCluster&, Rig& rig) {
  CO_TRY(co_await rig.make(kClaims, claim("none")));
  CO_TRY(co_await rig.said("none", "FailedBinding", "no persistent volumes available for this claim and no storage class is set"));
  CO_TRY(co_await rig.make(kClaims, claim("unknown", R"(,"storageClassName":"unknown")")));
  CO_TRY(co_await rig.said("unknown", "ProvisioningFailed", "storageclass.storage.k8s.io \"unknown\" not found"));
  CO_TRY(co_await rig.make(kClasses, storage_class("unknown", "kubernetes.io/no-provisioner")));
  CO_TRY(co_await rig.said("unknown", "ProvisioningFailed", "no volume plugin matched name: kubernetes.io/no-provisioner"));
  CO_TRY(co_await rig.make(kClasses, storage_class("others", "x.io/disks")));
  CO_TRY(co_await rig.make(kClaims, claim("others", R"(,"storageClassName":"others")")));
  CO_TRY(co_await rig.said("others", "ExternalProvisioning", "Waiting for a volume to be created either by the external provisioner 'x.io/disks' or manually by the system administrator. If volume creation is delayed, please verify that the provisioner is running and correctly registered."));
  CO_TRY_ASSIGN(Reply asked, co_await rig.until(kClaims + "/others", exists()));
  EXPECT_EQ(annotation(asked, client::annotations::kStorageProvisioner), "x.io/disks");
  EXPECT_EQ(annotation(asked, client::annotations::kStorageProvisionerBeta), "x.io/disks");
  CO_TRY(co_await rig.make(kClasses, storage_class("later", kLocalProvisioner, kWaits)));
  CO_TRY(co_await rig.make(kClaims, claim("later", R"(,"storageClassName":"later")")));
  CO_TRY(co_await rig.said("later", "WaitForFirstConsumer", "waiting for first consumer to be created before binding"));
  EXPECT_EQ(rig.directories.made, 0);
  CO_TRY(co_await rig.make(kClasses, cat(R"({"metadata":{"name":"chosen","annotations":{"storageclass.kubernetes.io/is-default-class":"true"}},"provisioner":")", kLocalProvisioner, "\"}")));
  CO_TRY_ASSIGN(Reply given, co_await rig.phase(kClaims + "/none", "Bound"));
  EXPECT_EQ(given.text({"spec", "storageClassName"}), "chosen") << "the class became the default after the claim";
  co_return Result<>();
}

async::Task<Result<>> on_demand(TestCluster& cluster, Rig& rig) {
  CO_TRY(co_await rig.make(kClasses, storage_class("fast", kLocalProvisioner, cat(kWaits, kGrows))));
  CO_TRY(co_await rig.make(kClaims, claim("c", R"(,"storageClassName":"fast")")));
  CO_TRY(co_await rig.phase(kClaims + "/c", "Pending"));
  CO_TRY(co_await rig.patch(kClaims + "/c", R"({"metadata":{"annotations":{"volume.kubernetes.io/selected-node":"elsewhere"}}})"));
  CO_TRY(co_await rig.said("c", "ProvisioningFailed", "failed to provision volume with StorageClass \"fast\": node \"elsewhere\" is not where its volumes are: \"n1\""));
  CO_TRY(co_await rig.patch(kClaims + "/c", R"({"metadata":{"annotations":{"volume.kubernetes.io/selected-node":"n1"}}})"));
  CO_TRY_ASSIGN(Reply bound, co_await rig.phase(kClaims + "/c", "Bound"));
  std::string name = "pvc-" + bound.text({"metadata", "uid"}), at = kVolumes + "/" + name;
  EXPECT_EQ(bound.text({"spec", "volumeName"}), name);
  EXPECT_TRUE(rig.directories.names.contains(name));
  CO_TRY_ASSIGN(Reply made, co_await rig.phase(at, "Bound"));
  EXPECT_EQ(annotation(made, client::annotations::kProvisionedBy), kLocalProvisioner);
  EXPECT_EQ(made.text({"spec", "local", "path"}), "/volumes/" + name);
  EXPECT_EQ(made.text({"spec", "persistentVolumeReclaimPolicy"}), "Delete");
  EXPECT_EQ(json::format(*json::find(made.tree(), {"metadata", "finalizers"})), R"(["kubernetes.io/pv-controller","kubernetes.io/pv-protection"])");
  CO_TRY(co_await rig.said("c", "ProvisioningSucceeded", cat("Successfully provisioned volume ", name, " using ", kLocalProvisioner)));
  CO_TRY(co_await rig.patch(kClaims + "/c", R"({"spec":{"resources":{"requests":{"storage":"3Gi"}}}})"));
  CO_TRY(co_await rig.until(kClaims + "/c", [](const Reply& seen) { return seen.text({"status", "capacity", "storage"}) == "3Gi"; }));
  CO_CALL(grown, "GET", at);
  EXPECT_EQ(grown.text({"spec", "capacity", "storage"}), "3Gi");
  CO_TRY(co_await rig.remove(at));  // first, though the claim still has it
  CO_CALL(kept, "GET", at);
  EXPECT_EQ(kept.text({"status", "phase"}), "Bound");
  CO_TRY(co_await rig.remove(kClaims + "/c"));
  CO_TRY(co_await rig.gone(kClaims + "/c"));
  CO_TRY(co_await rig.gone(at));
  EXPECT_TRUE(rig.directories.names.empty());
  co_return Result<>();
}

async::Task<Result<>> failing_disk(TestCluster&, Rig& rig) {
  CO_TRY(co_await rig.make(kClasses, storage_class("fast", kLocalProvisioner)));
  rig.directories.failure = Error(Code::kResourceExhausted, "no space left");
  CO_TRY(co_await rig.make(kClaims, claim("c", R"(,"storageClassName":"fast")")));
  CO_TRY(co_await rig.said("c", "ProvisioningFailed", "failed to provision volume with StorageClass \"fast\": no space left"));
  rig.directories.failure.reset();
  rig.cluster.time.advance(std::chrono::minutes(1));  // the back-off
  CO_TRY_ASSIGN(Reply bound, co_await rig.phase(kClaims + "/c", "Bound"));
  rig.directories.failure = Error(Code::kInternal, "input/output error");
  CO_TRY(co_await rig.remove(kClaims + "/c"));
  std::string at = kVolumes + "/" + bound.text({"spec", "volumeName"});
  CO_TRY_ASSIGN(Reply failed, co_await rig.phase(at, "Failed"));
  EXPECT_EQ(failed.text({"status", "message"}), "input/output error");
  rig.directories.failure.reset();
  rig.cluster.time.advance(std::chrono::minutes(1));
  CO_TRY(co_await rig.gone(at));
  co_return Result<>();
}

async::Task<Result<>> lost_and_reclaimed(TestCluster&, Rig& rig) {
  struct Case {
    const char *name, *policy, *phase, *reason, *message;
  };
  const Case cases[] = {
      {"pv-recycle", "Recycle", "Failed", "VolumeFailedRecycle", "No recycler plugin found for the volume!"},
      {"pv-delete", "Delete", "Failed", "VolumeFailedDelete", "error getting deleter volume plugin for volume \"pv-delete\": no deletable volume plugin matched"},
  };
  for (const Case& c : cases) {
    CO_TRY(co_await rig.make(kVolumes, volume(c.name, cat(R"(,"persistentVolumeReclaimPolicy":")", c.policy, "\""))));
    CO_TRY(co_await rig.make(kClaims, claim("c", cat(R"(,"volumeName":")", c.name, "\""))));
    CO_TRY(co_await rig.phase(kClaims + "/c", "Bound"));
    CO_TRY(co_await rig.remove(kClaims + "/c"));
    CO_TRY_ASSIGN(Reply failed, co_await rig.phase(cat(kVolumes, "/", c.name), c.phase));
    EXPECT_EQ(failed.text({"status", "message"}), c.message);
    CO_TRY(co_await rig.said(c.name, c.reason, c.message));
  }
  CO_TRY(co_await rig.make(kVolumes, volume("pv-taken")));
  CO_TRY(co_await rig.make(kClaims, claim("taken", R"(,"volumeName":"pv-taken")")));
  CO_TRY(co_await rig.phase(kClaims + "/taken", "Bound"));
  CO_TRY(co_await rig.patch(kVolumes + "/pv-taken", R"({"metadata":{"finalizers":null}})"));  // by force
  CO_TRY(co_await rig.remove(kVolumes + "/pv-taken"));
  CO_TRY_ASSIGN(Reply lost, co_await rig.phase(kClaims + "/taken", "Lost"));
  EXPECT_EQ(json::find(lost.tree(), {"status", "capacity"}), nullptr);
  CO_TRY(co_await rig.said("taken", "ClaimLost", "Bound claim has lost its PersistentVolume. Data on the volume is lost!"));
  co_return Result<>();
}

// Every state that a death between two writes leaves behind, and a new process.
async::Task<Result<>> restart_in_the_middle(TestCluster& cluster, Rig& rig) {
  co_await rig.stop();
  CO_TRY(co_await rig.make(kClasses, storage_class("fast", kLocalProvisioner)));
  CO_TRY(co_await rig.make(kClaims, claim("c", R"(,"storageClassName":"fast")")));
  CO_TRY(co_await rig.make(kClaims, claim("d")));
  CO_CALL(c, "GET", kClaims + "/c");
  CO_CALL(d, "GET", kClaims + "/d");
  // The volume is made for c, and nothing more; d's volume has its claimRef.
  std::string reference = cat(R"(,"claimRef":{"namespace":"default","name":"c","uid":")", c.text({"metadata", "uid"}), R"("},"storageClassName":"fast")");
  CO_TRY(co_await rig.make(kVolumes, volume("pv-c", reference)));
  CO_TRY(co_await rig.make(kVolumes, volume("pv-other")));
  CO_TRY(co_await rig.make(kVolumes, volume("pv-d", cat(R"(,"claimRef":{"namespace":"default","name":"d","uid":")", d.text({"metadata", "uid"}), "\"}"), "9Gi")));
  CO_TRY(co_await rig.patch(kVolumes + "/pv-d/status", R"({"status":{"phase":"Bound"}})"));
  rig.start();
  CO_TRY_ASSIGN(Reply one, co_await rig.phase(kClaims + "/c", "Bound"));
  CO_TRY_ASSIGN(Reply two, co_await rig.phase(kClaims + "/d", "Bound"));
  EXPECT_EQ(one.text({"spec", "volumeName"}), "pv-c");
  EXPECT_EQ(two.text({"spec", "volumeName"}), "pv-d");
  EXPECT_EQ(rig.directories.made, 0);
  // The claim goes while nobody looks.
  co_await rig.stop();
  CO_TRY(co_await rig.patch(kClaims + "/d", R"({"metadata":{"finalizers":null}})"));
  CO_TRY(co_await rig.remove(kClaims + "/d"));
  rig.start();
  CO_TRY(co_await rig.phase(kVolumes + "/pv-d", "Released"));
  CO_TRY(co_await rig.phase(kVolumes + "/pv-other", "Available"));
  // Nothing to do writes nothing.
  co_await rig.stop();
  CO_CALL(before, "GET", kVolumes);
  rig.start();
  for (int turn = 0; turn < 2000; ++turn) co_await boost::asio::post(cluster.executor, async::use_task);
  CO_CALL(after, "GET", kVolumes);
  EXPECT_EQ(before.text({"metadata", "resourceVersion"}), after.text({"metadata", "resourceVersion"}));
  co_return Result<>();
}

async::Task<Result<>> ephemeral_claims(TestCluster&, Rig& rig) {
  constexpr std::string_view kTemplate = R"("volumes":[{"name":"v","ephemeral":{"volumeClaimTemplate":{"metadata":{"labels":{"a":"b"}},"spec":{"accessModes":["ReadWriteOnce"],"resources":{"requests":{"storage":"1Gi"}}}}}}])";
  auto pod = [kTemplate](std::string_view name) { return cat(R"({"metadata":{"name":")", name, R"("},"spec":{"containers":[{"name":"c","image":"i"}],)", kTemplate, "}}"); };
  CO_TRY(co_await rig.make("/api/v1/namespaces/default/pods", pod("p")));
  CO_TRY_ASSIGN(Reply made, co_await rig.until(kClaims + "/p-v", exists()));
  EXPECT_EQ(made.text({"metadata", "labels", "a"}), "b");
  json::Value tree = made.tree();
  std::optional<client::OwnerReference> owner = client::controller_of(tree);
  EXPECT_TRUE(owner && owner->kind == "Pod" && owner->name == "p") << made.body;
  CO_TRY(co_await rig.make(kClaims, claim("q-v")));
  CO_TRY(co_await rig.make("/api/v1/namespaces/default/pods", pod("q")));
  CO_TRY(co_await rig.said("q", "FailedBinding", "ephemeral volume v: PVC default/q-v was not created for pod default/q (pod is not owner)"));
  co_return Result<>();
}

TEST(VolumeBinder, AClaimGetsTheSmallestVolumeAndLeavesItReleased) { api::with_cluster(api::with_rig<Rig, bind_by_size>); }
TEST(VolumeBinder, VolumesAndClaimsThatNameEachOtherAreBound) { api::with_cluster(api::with_rig<Rig, reserved_volumes>); }
TEST(VolumeBinder, AClaimThatWaitsSaysForWhat) { api::with_cluster(api::with_rig<Rig, waiting_claims>); }
TEST(VolumeBinder, VolumesAreMadeGrownAndRemovedOnDemand) { api::with_cluster(api::with_rig<Rig, on_demand>); }
TEST(VolumeBinder, WhatTheDiskRefusesIsTriedAgain) { api::with_cluster(api::with_rig<Rig, failing_disk>); }
TEST(VolumeBinder, ClaimsAreLostAndVolumesThatNobodyCanReclaimFail) { api::with_cluster(api::with_rig<Rig, lost_and_reclaimed>); }
TEST(VolumeBinder, ARestartInTheMiddleGoesOn) { api::with_cluster(api::with_rig<Rig, restart_in_the_middle>); }
TEST(EphemeralVolumes, EachHasAClaimOfThePod) { api::with_cluster(api::with_rig<Rig, ephemeral_claims>); }

}  // namespace
}  // namespace monopod::controllers
