// The image configuration (OCI image-spec config.md; Docker's is the same shape): what a container is started with.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "codec/json.h"

namespace monopod::image {

struct Platform {
  std::string os = "linux";
  std::string architecture;  // Go's names: amd64, arm64
  std::string variant;       // "v8", or empty
  bool operator==(const Platform&) const = default;
};
// Of the machine this code was built for.
Platform host_platform();
// "linux/arm64/v8"; empty: the host's. kInvalidArgument.
Result<Platform> parse_platform(std::string_view text);
std::string format_platform(const Platform& platform);

struct HealthCheck {
  std::vector<std::string> test;  // {"CMD", ...} or {"CMD-SHELL", "..."}; empty: none
  std::int64_t interval_ns = 0, timeout_ns = 0, start_period_ns = 0;  // 0: the default of who runs it
  int retries = 0;
};

struct ImageConfig {
  Platform platform;
  std::string created;  // RFC 3339 as written, may be empty
  std::string author;
  std::vector<std::string> entrypoint;
  std::vector<std::string> cmd;
  std::vector<std::string> env;            // "NAME=value"
  std::string working_dir;                 // absolute, or empty
  std::string user;                        // "", "uid", "name", "uid:gid", "name:group"
  std::vector<std::string> exposed_ports;  // "80/tcp", sorted
  std::vector<std::string> volumes;        // absolute paths, sorted
  std::string stop_signal;                 // "SIGTERM", "15", or empty
  std::map<std::string, std::string> labels;
  HealthCheck health_check;
  std::vector<std::string> diff_ids;       // sha256 of each uncompressed layer, base first
};

// kInvalidArgument where the text is not a configuration or exceeds a limit (limits.h).
Result<ImageConfig> parse_image_config(std::string_view text);
std::string format_image_config(const ImageConfig& config);

// Readers of a configuration's history count: as many steps with a layer as there are layers (rootfs.diff_ids). A document that says less of itself
// gets steps before its own, made by created_by or, where that is empty, by nobody known; one that says more is not believed.
void fit_history(json::Value& document, std::string_view created_by = {});

}  // namespace monopod::image
