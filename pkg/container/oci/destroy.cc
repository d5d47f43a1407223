#include "container/oci/destroy.h"

#include <poll.h>
#include <signal.h>

#include <cerrno>

#include "base/failpoint.h"
#include "base/log.h"
#include "base/strings.h"
#include "container/oci/group.h"

namespace monopod::container::oci {
namespace {

constexpr int kKillWaitMs = 30'000;  // a killed process that does not end is stuck in the kernel

Result<> wait_for_end(const sys::Pidfd& process) {
  struct pollfd wait = {process.fd(), POLLIN, 0};
  int n;
  do n = ::poll(&wait, 1, kKillWaitMs);
  while (n < 0 && errno == EINTR);
  if (n == 0) return fail(Code::kDeadlineExceeded, cat("process ", process.pid(), " does not end"));
  return {};
}

Result<> kill_in(sys::Cgroups* groups, const Record& record, const sys::Pidfd* process) {
  if (process != nullptr) (void)process->send_signal(SIGKILL);
  if (groups != nullptr) {
    Result<> killed = groups->kill_all(record.group);
    if (!killed && killed.error().code() != Code::kNotFound) log::warn("a control group is not killed at once", {{"error", killed.error()}});
    // On v1 alone the frozen die when they thaw.
    if (groups->mode() == sys::CgroupMode::kV1 && groups->is_frozen(record.group)) (void)groups->set_frozen(record.group, false);
  }
  return process != nullptr ? wait_for_end(*process) : Result<>();
}

// null where there is none.
std::unique_ptr<sys::Cgroups> groups_of(const Record& record) {
  if (record.group.empty()) return nullptr;
  Result<std::unique_ptr<sys::Cgroups>> groups = open_groups(record.controllers);
  return groups ? std::move(*groups) : nullptr;
}

// What it leaves is removed with the group.
void stop_scope(const Record& record) {
  Result<Systemd> manager = Systemd::connect();
  Result<> stopped = manager ? manager->stop_scope(record.scope) : fail(std::move(manager).error());
  if (!stopped) log::warn("a scope is not stopped", {{"container", record.id}, {"error", stopped.error()}});
}

}  // namespace

Result<> kill_everything(const Record& record) {
  Result<sys::Pidfd> process = find_process(record);
  return kill_in(groups_of(record).get(), record, process ? &*process : nullptr);
}

Result<> destroy(const StateDirectory& directory, const Record& record, const sys::Pidfd* process) {
  std::unique_ptr<sys::Cgroups> groups = groups_of(record);
  TRY(kill_in(groups.get(), record, process));
  TRY(failpoint("runtime.after_kill"));
  if (!record.scope.empty()) stop_scope(record);
  if (groups) TRY(groups->remove(record.group));
  TRY(failpoint("runtime.after_remove_group"));
  return directory.remove();
}

}  // namespace monopod::container::oci
