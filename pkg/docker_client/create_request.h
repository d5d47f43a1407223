// A command line of run or create as the body of POST /containers/create.
#pragma once

#include <string>
#include <vector>

#include "codec/json.h"
#include "docker_client/flags.h"

namespace monopod::docker_client {

// words: the image, then its command. Pure, but for --env-file, --label-file, the environment of NAME alone, and the working directory of relative
// volumes. kInvalidArgument names the flag; kUnimplemented for what the engine cannot do (--gpus).
Result<json::Value> make_create_request(const Flags& flags, const std::vector<std::string>& words);
// --memory, --cpus and the like as the body of POST /containers/ID/update, or members of HostConfig.
Result<json::Object> make_resources(const Flags& flags);

}  // namespace monopod::docker_client
