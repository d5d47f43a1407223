// The engine behind the Docker API: containers, networks and volumes over the container and image engines; an http::Handler for a socket.
//
//   Engine engine(parts, options);
//   CO_TRY(co_await engine.open());
//   scope.spawn(server.serve(socket));   // http::Server over engine.handler()
//   ... co_await engine.stop_containers(); co_await engine.close();
#pragma once

#include <memory>

#include "docker/api.h"
#include "docker/housekeeping.h"

namespace monopod::docker {

struct EngineParts {
  async::Executor executor;
  async::Time& time;
  async::Pool& pool;
  Rng& rng;
  async::StateStore& state;
  container::Runtime& runtime;  // open already
  image::ImageStore& images;
  sys::Cgroups& cgroups;
};

struct EngineOptions {
  std::string data_dir;   // <data-dir>: docker/ below it
  std::string run_dir;    // <run-dir>: docker/ below it
  std::string version;    // of the program
  RunBundle run_bundle;   // for RUN of builds
  http::TlsClient* tls = nullptr;      // for ADD of addresses in builds; both may be null, and outlive the engine
  http::Resolver* resolver = nullptr;
  NetworkOptions network;
  CollectOptions collect = {};
};

class Engine {
 public:
  Engine(EngineParts parts, EngineOptions options);

  // Finds what an earlier process left, removes what nobody owns, starts what restart policies want.
  async::Task<Result<>> open();
  http::Handler& handler() { return api_; }
  // A container runs, or will be started again by its policy.
  bool busy() const;
  // As the engine stops for good; else containers run on.
  async::Task<> stop_containers();
  // Before it dies, once no request is answered any more.
  async::Task<> close();

 private:
  async::Scope scope_;
  Parts parts_;
  Directories directories_;
  Events events_;
  Networks networks_;
  Volumes volumes_;
  Containers containers_;
  Api api_;
  const CollectOptions collect_;
  const std::string data_dir_;
};

}  // namespace monopod::docker
