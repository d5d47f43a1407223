#include "docker_client/flags.h"

namespace monopod::docker_client {

std::string Flags::text(std::string_view name, std::string_view fallback) const {
  auto found = all_.find(name);
  return found == all_.end() ? std::string(fallback) : found->second.back();
}

std::vector<std::string> Flags::list(std::string_view name) const {
  auto found = all_.find(name);
  return found == all_.end() ? std::vector<std::string>() : found->second;
}

bool Flags::on(std::string_view name) const {
  std::string value = text(name);
  return !value.empty() && value != "false" && value != "0";
}

}  // namespace monopod::docker_client
