// Images of an engine, for `monopod image`: what the commands of a data directory do, over the API.
#pragma once

#include <string>
#include <vector>

#include "docker_client/engine_client.h"

namespace monopod::docker_client {

// {"id", "references", "manifest_digest", "size_bytes", "layers", "imported"} of one; of all, those that steps of builds left too where steps.
Result<json::Value> describe_image(EngineClient& client, const std::string& name);
Result<json::Array> describe_images(EngineClient& client, bool steps);

// True where the image itself has gone, not one of its names alone.
Result<bool> remove_image(EngineClient& client, const std::string& name);
Result<> tag_image(EngineClient& client, const std::string& name, const std::string& reference);
// Under target, which the image gets as a name where it has it not.
Result<> push_image(EngineClient& client, const std::string& name, const std::string& target);
// An archive from a descriptor: the names, or ids, that came in.
Result<std::vector<std::string>> load_images(EngineClient& client, int from);
// A tar of files as an image of one layer: its id.
Result<std::string> import_image(EngineClient& client, int from, const std::string& reference);
Result<> save_images(EngineClient& client, const std::vector<std::string>& names, int to);
// The image's files as one tar.
Result<> export_image(EngineClient& client, const std::string& name, int to);
// GET /images/NAME/history
Result<json::Value> history_of_image(EngineClient& client, const std::string& name);
// Bytes that came free; removed gets ids.
Result<std::int64_t> prune_images(EngineClient& client, bool all, std::vector<std::string>& removed);

}  // namespace monopod::docker_client
