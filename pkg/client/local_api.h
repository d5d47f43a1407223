// The API of this process's own server without a socket: objects come out of the watch cache, shared, not copied.
#pragma once

#include <memory>

#include "api/local.h"
#include "client/api.h"

namespace monopod::client {

class LocalApi final : public Api {
 public:
  explicit LocalApi(std::unique_ptr<api::LocalApi> local) : local_(std::move(local)) {}

  async::Task<Result<Object>> get(Resource resource, std::string ns, std::string name) override;
  async::Task<Result<json::Value>> get_subresource(Resource resource, std::string ns, std::string name, std::string subresource) override;
  async::Task<Result<ObjectList>> list(Resource resource, ListOptions options) override;
  async::Task<Result<std::unique_ptr<Watch>>> watch(Resource resource, WatchOptions options) override;
  async::Task<Result<Object>> create(Resource resource, std::string ns, json::Value object, WriteOptions options) override;
  async::Task<Result<Object>> update(Resource resource, std::string ns, std::string name, json::Value object, WriteOptions options) override;
  async::Task<Result<Object>> patch(Resource resource, std::string ns, std::string name, PatchType type, json::Value patch,
                                    WriteOptions options) override;
  async::Task<Result<>> remove(Resource resource, std::string ns, std::string name, DeleteOptions options) override;
  async::Task<Result<json::Value>> post(Resource resource, std::string ns, std::string name, std::string subresource,
                                        json::Value body) override;

 private:
  std::unique_ptr<api::LocalApi> local_;
};

}  // namespace monopod::client
