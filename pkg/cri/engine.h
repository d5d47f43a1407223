// CRI over the container, image and network engines: an http::Handler for a unix socket, and the server that its streams are at.
//
//   Engine engine(parts, options);
//   CO_TRY(co_await engine.open());
//   scope.spawn(server.serve(socket));   // http::Server over engine.handler()
//   ... co_await engine.stop_pods(); co_await engine.close();
#pragma once

#include "cri/service.h"

namespace monopod::cri {

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
  std::string data_dir;  // <data-dir>: cri/ below it
  std::string run_dir;   // <run-dir>: cri/ below it
  std::string version;   // of the program
  PodNetworkOptions network;
};

class Engine {
 public:
  Engine(EngineParts parts, EngineOptions options);

  // Finds what an earlier process left, removes what nobody owns.
  async::Task<Result<>> open();
  // Begins to serve streams: before the socket.
  Result<> listen();
  http::Handler& handler() { return service_; }
  // As the engine stops for good; else pods run on.
  async::Task<> stop_pods() { return pods_.stop_all(); }
  // Before it dies, once no request is answered any more.
  async::Task<> close();

 private:
  async::Scope scope_;
  Parts parts_;
  PodNetwork network_;
  Pods pods_;
  Events events_;
  Streaming streaming_;
  Service service_;
};

}  // namespace monopod::cri
