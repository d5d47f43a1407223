// What people write for sizes, times, ports and mounts, as members of the Engine API's bodies. Pure, but for files that are named.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "codec/json.h"

namespace monopod::docker_client {

// "512", "64m", "1.5g", "2GiB": bytes, in powers of 1,024 as docker takes them.
Result<std::int64_t> parse_size(std::string_view text);
// Nanoseconds of "1m30s", "500ms"; "0" is 0.
Result<std::int64_t> parse_nanos(std::string_view text);
// "0.5": billionths of a CPU.
Result<std::int64_t> parse_cpus(std::string_view text);

// "80", "8080:80", "127.0.0.1::80/udp", "[::1]:8000-8002:80-82": into ExposedPorts and HostConfig.PortBindings.
Result<> add_published_port(std::string_view text, json::Object& exposed, json::Object& bindings);
// "80", "80-82/udp": into ExposedPorts.
Result<> add_exposed_port(std::string_view text, json::Object& exposed);

// "SOURCE:/target[:options]" into Binds, "/target" alone into Volumes. A source that begins with . or ~ is made absolute below directory.
Result<> add_volume(std::string_view text, const std::string& directory, json::Array& binds, json::Object& volumes);
// "type=bind,source=/a,target=/b,readonly": an element of HostConfig.Mounts.
Result<json::Value> parse_mount(std::string_view text);
// "nofile=1024:2048"
Result<json::Value> parse_ulimit(std::string_view text);
// "/dev/x[:/dev/y[:rwm]]"
Result<json::Value> parse_device(std::string_view text);
// "on-failure:3"
Result<json::Value> parse_restart_policy(std::string_view text);

// Lines NAME=value of a file, NAME alone for what the environment has; comments and empty lines left out.
Result<std::vector<std::string>> read_env_file(const std::string& path);
// NAME alone takes the environment's value; it is left out where there is none.
void add_environment(std::string_view line, std::vector<std::string>& out);
// "a=b" lines as an object; without '=' the value is empty.
json::Object object_of_pairs(const std::vector<std::string>& lines);

// The absolute form of a path that a person wrote, by its text alone; ~ is the home directory.
std::string absolute_path(std::string_view path, const std::string& directory);

}  // namespace monopod::docker_client
