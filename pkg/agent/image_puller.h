// Images from registries for pods, with the credentials of their imagePullSecrets. Pods that ask for the same image at the same
// time share one pull.
#pragma once

#include <map>
#include <string>

#include "agent/objects.h"
#include "image/store.h"

namespace monopod::agent {

// The entry for an image's registry in a kubernetes.io/dockerconfigjson (or dockercfg) secret; nullopt where there is none.
std::optional<image::PullOptions> find_credentials(const ReferencedObjects::Data& secret, const std::string& reference);

class ImagePuller {
 public:
  ImagePuller(async::Executor executor, image::ImageStore& images, ObjectReader& objects) : executor_(executor), images_(images), objects_(objects) {}
  async::Task<Result<>> pull(std::string reference, const Pod& pod);

 private:
  struct Flight {
    explicit Flight(async::Executor executor) : done(executor) {}
    async::Event done;
    Result<> result = fail(Code::kCancelled, "pull was cut short");
  };
  async::Executor executor_;
  image::ImageStore& images_;
  ObjectReader& objects_;
  std::map<std::string, std::shared_ptr<Flight>> flights_;
};

}  // namespace monopod::agent
