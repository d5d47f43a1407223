// The engine's process, `monopod engine` being its supervisor.
#pragma once

#include <string>

#include "base/error.h"
#include "sys/fd.h"

namespace monopod::cmd {

std::string engine_data_dir();
std::string engine_run_dir();

// Root's; of an ordinary user in the places that the XDG base directories give.
struct EngineCommand {
  std::string data_dir = engine_data_dir();
  std::string run_dir = engine_run_dir();
  std::string docker_socket = engine_run_dir() + "/docker.sock";
  std::string cri_socket = engine_run_dir() + "/cri.sock";  // empty: none
  std::string pod_cidr = "10.85.0.0/16";
  std::string bridge = "mpdocker0";
  std::string subnet = "172.17.0.0/16";
  std::string hosts_dir = "/etc/monopod/certs.d";
  std::string layers = "directory";
  std::string store_sync = "batch";
  std::string leave_after;  // a duration; empty: stays
  std::string collect_after = "168h";  // a duration; 0s: never
  unsigned collect_disk_percent = 85;
  bool collect_named = false;
};

// Until the supervisor wants it to end. Sockets: listening already; cri_socket may be empty.
Result<> run_engine_process(const EngineCommand& command, sys::Fd socket, sys::Fd cri_socket);

}  // namespace monopod::cmd
