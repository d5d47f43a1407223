// Tar streams between requests and blocking work, over a pipe: what packs or unpacks runs on the client's pool meanwhile.
#pragma once

#include <functional>
#include <string>

#include "docker_client/engine_client.h"

namespace monopod::docker_client {

// use reads the answer of a GET from a descriptor. The first error of both is returned.
Result<> download_into(EngineClient& client, std::string target, std::function<Result<>(int from)> use);
// make writes the request's body to a descriptor. Returns the answer's text.
Result<std::string> upload_from(EngineClient& client, std::string method, std::string target, std::function<Result<>(int to)> make);
// Sends path of a directory of ours as a tar, under the name base ("." for a directory's content). Returns the answer's text.
Result<std::string> upload_tree(EngineClient& client, std::string method, std::string target, const std::string& directory, const std::string& path, const std::string& base);

}  // namespace monopod::docker_client
