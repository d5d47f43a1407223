#include "cmd/proxy/config.h"

#include "base/log.h"
#include "base/strings.h"

namespace monopod::cmd {

void ProxyConfig::refuse(const Error& why) {
  ++rejected_;
  last_error_ = why.message();
}

Result<> ProxyConfig::take(Result<proxy::Loaded> loaded) {
  if (loaded) watch_.set(loaded->files);
  Result<> applied = loaded ? apply_(*loaded) : fail(loaded.error());
  if (!applied) {
    refuse(applied.error());
    return applied;
  }
  last_error_.clear();
  from_last_good_ = false;
  keep(std::move(loaded->sources));
  return {};
}

Result<> ProxyConfig::start(Result<proxy::Loaded> loaded, Result<proxy::Loaded> before) {
  Result<> taken = take(std::move(loaded));
  if (taken || !keeps_last_good() || (!before && before.error().code() == Code::kNotFound)) return taken;
  if (!before) {
    log::error("the last good configuration is of no use", {{"error", before.error()}});
    return taken;
  }
  std::string why = last_error_;
  if (!apply_(*before)) return taken;
  from_last_good_ = true;
  // What is mended may be any of them.
  std::vector<std::string> files{path_};
  std::string directory = path_.substr(0, path_.rfind('/') + 1);
  for (const auto& [name, bytes] : before->sources.files) files.push_back(name.starts_with('/') ? name : directory + name);
  watch_.set(files);
  log::error("configuration refused: started with the last good one", {{"error", why}, {"last_good", last_good_path_}});
  return {};
}

async::Task<Result<>> ProxyConfig::wait_for_change(async::Time& time) {
  CO_TRY(co_await watch_.wait());
  co_return co_await time.sleep_for(std::chrono::milliseconds(2));  // a certificate and its key change one after the other
}

// That a proxy which cannot write goes on is worth more than the copy.
void ProxyConfig::keep(proxy::Sources sources) {
  if (last_good_path_.empty() || kept_ == sources) return;
  if (Result<> saved = proxy::save_last_good(last_good_path_, sources); !saved) return log::warn("the last good configuration is not kept", {{"error", saved.error()}});
  kept_ = std::move(sources);
}

}  // namespace monopod::cmd
