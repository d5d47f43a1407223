// Room on the node: unused images go when the disk fills, pods are evicted when that is not enough or memory runs out, and
// emptyDir size limits are kept. Looked at when the node is checked, every 10 s; costs a statfs unless something is wrong.
#pragma once

#include <functional>
#include <set>
#include <string>
#include <vector>

#include "agent/node_info.h"
#include "agent/pod_worker.h"
#include "agent/volumes/volumes.h"
#include "image/store.h"

namespace monopod::agent {

// Who goes first: best effort, then burstable, then guaranteed; within a class the lowest priority, then the youngest. Static and
// system-critical pods never. Null where there is nobody.
PodWorker* choose_victim(const std::vector<PodWorker*>& workers);

// Bytes of images to keep so that the disk gets from over high to low percent; nullopt while it is below high.
std::optional<std::uint64_t> image_bytes_allowed(const NodePressure& pressure, std::uint64_t image_bytes);

class Housekeeper {
 public:
  Housekeeper(image::ImageStore& images, VolumeManager& volumes, async::Time& time) : images_(images), volumes_(volumes), time_(time) {}

  // One look. workers live until it returns; one that ends meanwhile is passed over. event: as WorkerServices::event.
  async::Task<> look(NodePressure pressure, std::vector<PodWorker*> workers, std::set<std::string> images_in_use,
                     std::function<void(const Pod&, std::string reason, std::string message)> event);

 private:
  image::ImageStore& images_;
  VolumeManager& volumes_;
  async::Time& time_;
  MonoTime collected_at_{};
  MonoTime measured_at_{};
  bool collected_ = false;
};

}  // namespace monopod::agent
