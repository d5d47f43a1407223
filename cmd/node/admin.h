// The node's own small API on a root-only unix socket, for our command line: images now. One JSON document a line.
//
//   POST   /v1/images/load?path=<absolute>[&reference=<name>]   progress lines, then {"images":[…]} or {"error":…}
//   GET    /v1/images                                           {"images":[…]}
//   DELETE /v1/images?name=<reference or id>                    {"removed":true|false}
//   GET    /v1/status                                           {"store":{…}}
#pragma once

#include <string>

#include "etcd/operations.h"
#include "http/exchange.h"
#include "image/store.h"

namespace monopod::cmd {

inline std::string admin_socket_path(const std::string& data_dir) { return data_dir + "/admin.sock"; }

json::Value describe_image(const image::Image& image);

class AdminHandler final : public http::Handler {
 public:
  // Both outlive it; images may be null (control plane only).
  AdminHandler(const etcd::Operations& operations, image::ImageStore* images) : operations_(operations), images_(images) {}
  async::Task<Result<>> handle(http::Exchange& exchange) override;

 private:
  async::Task<Result<>> load(http::Exchange& exchange, std::string path, std::string reference);
  async::Task<Result<>> list(http::Exchange& exchange);
  async::Task<Result<>> remove(http::Exchange& exchange, std::string name);
  async::Task<Result<>> status(http::Exchange& exchange);

  const etcd::Operations& operations_;
  image::ImageStore* images_;
};

}  // namespace monopod::cmd
