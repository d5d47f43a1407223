
#include "sys/files.h"
#include "agent/volumes/volumes.h"

namespace monopod::agent {

Result<> set_up_projected(const Payload& payload, const std::string& path, ProjectionOwner owner, WallTime now) {
  // On memory, so that secrets and tokens never reach the disk.
  TRY(sys::mount_tmpfs(path, {{"mode", "0755"}}));
  TRY_ASSIGN(bool changed, write_payload(path, payload, owner, now));
  (void)changed;
  return {};
}

}  // namespace monopod::agent
