// Pods from files: every *.yaml, *.yml and *.json of a directory is one pod that this node runs whatever the API says. The API
// sees a copy of each (mirror pod).
#pragma once

#include <functional>
#include <map>
#include <string>
#include <vector>

#include "agent/pod.h"
#include "async/pool.h"
#include "async/time.h"

namespace monopod::agent {

// Name gets the node's name appended, uid is a digest of the content, annotations say where it came from. Fails naming the file.
Result<Pod> parse_static_pod(std::string_view text, const std::string& file, const std::string& node_name);
// The copy for the API. config_hash is the static pod's uid.
json::Value make_mirror_pod(const Pod& pod, const std::string& node_name, const std::string& node_uid);

// Reads the directory now and whenever it changes (inotify); on_pods gets all of them, by uid. Files that are no pods are
// logged and left out. Until cancelled.
async::Task<Result<>> watch_static_pods(async::Time& time, async::Pool& pool, std::string directory, std::string node_name,
                                        std::function<void(std::map<std::string, Pod>)> on_pods);

}  // namespace monopod::agent
