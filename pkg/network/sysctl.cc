#include "network/sysctl.h"

#include <fcntl.h>
#include <unistd.h>

#include <array>

#include "base/log.h"
#include "base/strings.h"
#include "sys/fd.h"

namespace monopod::network {

Result<std::string> get_sysctl(std::string_view name) {
  sys::Fd file(::open(cat("/proc/sys/net/", name).c_str(), O_RDONLY | O_CLOEXEC));
  std::array<char, 256> text{};
  ssize_t got = file ? ::read(file.get(), text.data(), text.size()) : -1;
  if (got < 0) return fail_errno(cat("read net/", name));
  return std::string(trim(std::string_view(text.data(), static_cast<std::size_t>(got))));
}

Result<> set_sysctl(std::string_view name, std::string_view value) {
  Result<std::string> now = get_sysctl(name);
  if (now && *now == value) return {};
  sys::Fd file(::open(cat("/proc/sys/net/", name).c_str(), O_WRONLY | O_CLOEXEC));
  if (!file || ::write(file.get(), value.data(), value.size()) != static_cast<ssize_t>(value.size()))
    return fail_errno(cat("set net/", name, " to ", value));
  return {};
}

void try_set_sysctl(std::string_view name, std::string_view value) {
  Result<> set = set_sysctl(name, value);
  if (!set && set.error().os_errno() != ENOENT) log::warn("kernel setting not applied", {{"error", set.error()}});
}

}  // namespace monopod::network
