// `monopod store serve` as a process of its own, on a unix socket or a free port of loopback, with what it says on stderr.
#pragma once

#include <sys/types.h>

#include <string>
#include <vector>

#include "http/endpoint.h"

namespace monopod::testing {

class ServerProcess {
 public:
  // data_dir holds the socket too. extra: more arguments. environment: "NAME=value" beside the test's own.
  // prepare: shell text that runs before, both in a mount namespace of their own (needs root); store_dir: where the file is, if elsewhere.
  explicit ServerProcess(const std::string& data_dir, std::vector<std::string> extra = {}, std::vector<std::string> environment = {}, const std::string& prepare = {},
                         const std::string& store_dir = {});
  ~ServerProcess();  // SIGKILL if it runs
  ServerProcess(const ServerProcess&) = delete;
  ServerProcess& operator=(const ServerProcess&) = delete;

  http::Endpoint endpoint() const { return {.unix_path = data_dir_ + "/socket"}; }
  pid_t pid() const { return pid_; }
  void kill(int signal) const;
  // Blocking. Exit status as of a shell: 128 + signal when killed.
  int wait();
  bool running();
  std::string output() const;  // so far

 private:
  std::string data_dir_;
  std::string log_;
  pid_t pid_ = -1;
  int status_ = -1;
};

}  // namespace monopod::testing
