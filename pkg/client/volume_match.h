// Whether a volume is what a claim asks for, and a node is where a volume can be used: PersistentVolumes, PersistentVolumeClaims and
// StorageClasses as core/v1 and storage/v1 define them. What the volume binder binds by and the scheduler filters by. Pure.
#pragma once

#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "client/indexer.h"
#include "client/meta.h"

namespace monopod::client {

namespace annotations {
inline constexpr std::string_view kBindCompleted = "pv.kubernetes.io/bind-completed";        // of a claim: "yes" once it and its volume name each other
inline constexpr std::string_view kBoundByController = "pv.kubernetes.io/bound-by-controller";  // of both: who chose the other was no user
inline constexpr std::string_view kProvisionedBy = "pv.kubernetes.io/provisioned-by";        // of a volume: who made it, and removes it
inline constexpr std::string_view kStorageProvisioner = "volume.kubernetes.io/storage-provisioner";  // of a claim: who shall make its volume
inline constexpr std::string_view kStorageProvisionerBeta = "volume.beta.kubernetes.io/storage-provisioner";
inline constexpr std::string_view kSelectedNode = "volume.kubernetes.io/selected-node";      // of a claim: where its first pod will run
inline constexpr std::string_view kStorageClass = "volume.beta.kubernetes.io/storage-class";  // of both: older than spec.storageClassName, and wins
}  // namespace annotations

// The provisioner of classes whose volumes nobody makes.
inline constexpr std::string_view kNoProvisioner = "kubernetes.io/no-provisioner";

std::string_view annotation_of(const json::Value& object, std::string_view name);  // "" where absent
// The class of a claim or a volume; "" is a class also: that of volumes made by hand.
std::string_view storage_class_of(const json::Value& object);
bool is_default_class(const json::Value& storage_class);
// volumeBindingMode WaitForFirstConsumer.
bool delays_binding(const json::Value& storage_class);

// A claim that one of a pod's volumes stands for; views of the pod's tree but for the name.
struct ClaimUse {
  std::string_view volume;
  std::string claim;
  const json::Value* claim_template = nullptr;  // of an ephemeral volume: what its claim is made of
};
std::vector<ClaimUse> claims_of(const json::Value& pod);
// Whether the bytes of a pod are worth a look for claims: spares parsing most.
bool may_have_claims(const Object& pod);
// Of a claim named as a pod's ephemeral volume would name it: it was made for that pod.
bool is_made_for(const json::Value& claim, const Object& pod);

// spec.claimRef of a volume that gets the claim.
json::Value claim_reference(const json::Value& claim);
// The volume's claimRef names the claim; one that a user wrote may have no uid yet.
bool is_bound_to(const json::Value& volume, const json::Value& claim);
// The claim is settled: it names its volume and is marked so.
bool is_fully_bound(const json::Value& claim);
// Why a claim that names a volume cannot have it, as upstream words it; "" where it can.
std::string_view volume_mismatch(const json::Value& volume, const json::Value& claim);
bool volume_fits_node(const json::Value& volume, const json::Value& node);
// allowedTopologies of a class against the labels of a node; a class without them is for every node.
bool class_fits_node(const json::Value& storage_class, const json::Value& node);

struct VolumeSearch {
  const json::Value* node = nullptr;  // only volumes that can be used there
  bool only_reserved = false;         // for a claim that waits for its first consumer: only a volume that names it
  std::function<bool(const Object&)> skip = {};
};
// The volume to bind: one that is reserved for the claim, else the smallest Available that has all it asks for, with the fewest access modes
// beyond that; null: none.
ObjectPtr find_volume(const json::Value& claim, const std::vector<ObjectPtr>& volumes, const VolumeSearch& search);

}  // namespace monopod::client
