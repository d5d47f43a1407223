// What the controllers of volumes share.
#pragma once

#include "client/volume_match.h"
#include "controllers/controllers.h"

namespace monopod::controllers {

// Of volumes that this process made: they stay until their directory is gone (KEP-2644).
inline constexpr std::string_view kProvisionerFinalizer = "kubernetes.io/pv-controller";

// The object without the finalizer; nullopt where it has none of it.
std::optional<json::Value> without_finalizer(const client::Object& object, std::string_view finalizer);

// Makes and removes volumes of kLocalProvisioner: a directory on this node and the PersistentVolume that says where it is. Without directories
// it makes none, as if the provisioner were another program's.
class VolumeProvisioner {
 public:
  VolumeProvisioner(client::Api& api, VolumeDirectories* directories) : api_(api), directories_(directories) {}

  bool provides(std::string_view provisioner) const { return directories_ != nullptr && provisioner == kLocalProvisioner; }
  // Why no volume of the class can be made for the claim, whatever is tried; "" where one can.
  std::string refusal(const json::Value& claim, const json::Value& storage_class) const;
  // The volume pvc-<uid of the claim>, reserved for the claim; one that is there already is as good. Returns its name.
  async::Task<Result<std::string>> make(client::Object claim, json::Value storage_class);
  // The directory of a volume that nobody claims any more, and all that is in it.
  async::Task<Result<>> remove(std::string volume);

 private:
  client::Api& api_;
  VolumeDirectories* directories_;
};

}  // namespace monopod::controllers
