// A proxy's configuration file and the last good copy of it: what is in use, and what became of what is not.
#pragma once

#include <functional>
#include <string>

#include "async/time.h"
#include "proxy/config/last_good.h"
#include "proxy/config/load.h"
#include "proxy/config/watch.h"

namespace monopod::cmd {

class ProxyConfig {
 public:
  // Makes it what the proxy does, or changes nothing.
  using Apply = std::function<Result<>(proxy::Loaded& loaded)>;
  // last_good_path: empty where none is kept.
  ProxyConfig(std::string path, std::string last_good_path, proxy::FileWatch watch, Apply apply)
      : path_(std::move(path)), last_good_path_(std::move(last_good_path)), watch_(std::move(watch)), apply_(std::move(apply)) {}

  // Blocks on the files; any thread.
  Result<proxy::Loaded> read(const proxy::Snapshot* previous) const { return proxy::load_config(path_, previous); }
  Result<proxy::Loaded> read_last_good() const { return proxy::load_last_good(last_good_path_, nullptr); }

  // What read() gave. What is wrong is counted and kept as last_error(), and changes nothing.
  Result<> take(Result<proxy::Loaded> loaded);
  // The first one. A broken configuration does not keep the proxy from starting where there is one that was good (before: what read_last_good() gave).
  Result<> start(Result<proxy::Loaded> loaded, Result<proxy::Loaded> before);
  // Returns when the files may have changed, and their writer has had a moment for the next one.
  async::Task<Result<>> wait_for_change(async::Time& time);

  const std::string& path() const { return path_; }
  bool keeps_last_good() const { return !last_good_path_.empty(); }
  const std::string& last_error() const { return last_error_; }  // of the configuration as it stands; empty: it is in use
  bool from_last_good() const { return from_last_good_; }
  std::int64_t rejected() const { return rejected_; }

 private:
  void keep(proxy::Sources sources);
  void refuse(const Error& why);
  std::string path_, last_good_path_;
  proxy::FileWatch watch_;
  Apply apply_;
  std::int64_t rejected_ = 0;
  std::string last_error_;
  bool from_last_good_ = false;
  proxy::Sources kept_;  // as it stands on disk
};

}  // namespace monopod::cmd
