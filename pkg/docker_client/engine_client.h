// A client of the Docker Engine API on a unix socket, for commands that do one thing after another: calls block until they are answered. What
// must happen at the same time is a task of the client's own loop (run). Not for processes that serve.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "async/loop.h"
#include "async/pool.h"
#include "codec/json.h"
#include "http/client.h"

namespace monopod::docker_client {

class EngineClient {
 public:
  // Connects when it is first used.
  explicit EngineClient(std::string socket_path);
  ~EngineClient();
  EngineClient(const EngineClient&) = delete;
  EngineClient& operator=(const EngineClient&) = delete;

  // One call and its whole answer (up to 64 MiB) as JSON, null where it is empty. target: without the version, encoded. A refusal is its message
  // with the code of its status; kUnavailable where no engine answers. 304 is no error. forever: the engine decides.
  Result<json::Value> call(std::string_view method, std::string target, const json::Value& body = nullptr);
  Result<json::Value> get(std::string target) { return call("GET", std::move(target)); }
  Result<json::Value> post(std::string target, const json::Value& body = nullptr) { return call("POST", std::move(target), body); }

  // An answer of JSON documents, one after another, until its end or until on_value says false. {"error": ...} among them is an error.
  Result<> stream(std::string_view method, std::string target, http::Headers headers, std::function<Result<bool>(const json::Value&)> on_value);

  // The same as tasks, for what runs beside others on the loop.
  async::Task<Result<http::Response>> send(std::string method, std::string target, json::Value body = nullptr, http::Headers headers = {});
  async::Task<Result<std::unique_ptr<async::Stream>>> hijack(std::string target);
  // A request's body from a descriptor, or an answer's into one; both to their end. What an upload is answered is returned.
  async::Task<Result<std::string>> upload(std::string method, std::string target, int from);
  async::Task<Result<>> download(std::string target, int to);

  // Runs a task of this client to its end.
  Result<> run(async::Task<Result<>> task);

  async::Executor executor() { return loop_.executor(); }
  async::Time& time() { return time_; }
  async::Pool& pool();  // its threads take no signals: they are the main thread's
  const std::string& socket_path() const { return socket_path_; }

 private:
  http::Client& http();

  std::string socket_path_;
  async::Loop loop_;
  async::RealTime time_;
  std::optional<async::Pool> pool_;
  async::Scope background_;
  std::unique_ptr<http::Client> http_;
};

// "/containers/web/start": a name in the path, escaped, and what follows.
std::string path_of(std::string_view kind, std::string_view name, std::string_view rest = {});
// Whole JSON documents at the front of buffer, which are taken off it. They need not end with a newline each.
Result<std::vector<json::Value>> take_documents(std::string& buffer);

}  // namespace monopod::docker_client
