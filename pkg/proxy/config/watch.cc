#include "proxy/config/watch.h"

#include <sys/inotify.h>
#include <unistd.h>

#include "sys/stream.h"

namespace monopod::proxy {

Result<FileWatch> FileWatch::make() {
  sys::Fd fd(::inotify_init1(IN_CLOEXEC | IN_NONBLOCK));
  if (!fd) return fail_errno("watch files");
  return FileWatch(std::move(fd));
}

void FileWatch::set(const std::vector<std::string>& files) {
  for (int watch : watches_) ::inotify_rm_watch(fd_.get(), watch);
  watches_.clear();
  names_.clear();
  std::set<std::string> directories;
  for (const std::string& file : files) {
    std::size_t slash = file.rfind('/');
    directories.insert(slash == std::string::npos ? "." : slash == 0 ? "/" : file.substr(0, slash));
    names_.insert(slash == std::string::npos ? file : file.substr(slash + 1));
  }
  for (const std::string& directory : directories)
    if (int watch = ::inotify_add_watch(fd_.get(), directory.c_str(), IN_CLOSE_WRITE | IN_MOVED_TO | IN_CREATE); watch >= 0) watches_.push_back(watch);
}

// True where one of our names is among them. "..data" is the link that the kubelet moves.
bool FileWatch::read_events() {
  bool ours = false;
  alignas(inotify_event) char buffer[8192];
  for (ssize_t n = 0; (n = ::read(fd_.get(), buffer, sizeof buffer)) > 0;) {
    for (ssize_t at = 0; at < n;) {
      const auto* event = reinterpret_cast<const inotify_event*>(buffer + at);
      std::string name = event->len > 0 ? event->name : "";
      bool made = (event->mask & IN_CREATE) != 0;  // a plain file is told of once more when it is written
      ours = ours || (event->mask & IN_Q_OVERFLOW) != 0 || (!made && names_.contains(name)) || name == "..data";
      at += static_cast<ssize_t>(sizeof(inotify_event) + event->len);
    }
  }
  return ours;
}

async::Task<Result<>> FileWatch::wait() {
  for (;;) {
    CO_TRY(co_await sys::wait_readable(fd_.get()));
    if (read_events()) co_return Result<>();
  }
}

}  // namespace monopod::proxy
