// systemd's control group driver: a container is a scope unit, whose group systemd makes, counts and limits as well. Spoken to over the manager's own
// socket, without a bus in between: /run/systemd/private, or $XDG_RUNTIME_DIR/systemd/private of a user's manager. org.freedesktop.systemd1(5).
#pragma once

#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "container/oci/bus_message.h"
#include "container/oci/resources.h"
#include "sys/fd.h"

namespace monopod::container::oci {

struct Scope {
  std::string slice;  // "machine.slice"
  std::string unit;   // "libpod-ID.scope"
  std::string group;  // of the scope, below the manager's own group
};

// linux.cgroupsPath as this driver has it, "slice:prefix:name", or nothing: system.slice (user.slice of a user's manager) and monopod-ID.scope.
// kInvalidArgument for another shape, or what cannot be a unit's name.
Result<Scope> plan_scope(const std::string& cgroups_path, const std::string& id, bool of_user);

// What of these settings systemd has properties for, as it wants them: else it would write its own values over them.
struct ScopeProperty {
  enum class Type { kNumber, kBytes };
  std::string_view name;
  Type type;
  std::uint64_t number = 0;
  std::string bytes;  // a set of CPUs or memory nodes, a bit for each
};
std::vector<ScopeProperty> scope_properties(const std::vector<Setting>& settings);

// A connection to the manager. Blocking, with a deadline; errors name the method and carry systemd's text.
class Systemd {
 public:
  // kUnavailable: systemd does not run here.
  static Result<Systemd> connect();

  bool of_user() const { return of_user_; }
  // The group that units' are below, "" for the top.
  Result<std::string> control_group();
  // Returns when the unit is there and the process in it. kAlreadyExists: there is one of that name.
  Result<> start_scope(const Scope& scope, const std::string& description, int pid, const std::vector<Setting>& settings);
  Result<> set_limits(const std::string& unit, const std::vector<Setting>& settings);
  // Gone already is no error.
  Result<> stop_scope(const std::string& unit);

 private:
  Systemd(sys::Fd socket, bool of_user) : socket_(std::move(socket)), of_user_(of_user) {}
  Result<> log_in();
  Result<BusMessage> call(std::string_view interface, std::string_view method, std::string_view signature, std::string body);
  Result<> run_job(std::string_view method, std::string_view signature, std::string body);
  Result<BusMessage> receive();
  Result<> fill();
  void note(const BusMessage& message);

  sys::Fd socket_;
  bool of_user_;
  std::string received_;
  std::uint32_t serial_ = 0;
  std::vector<std::pair<std::string, std::string>> ended_;  // jobs, and how they ended
};

}  // namespace monopod::container::oci
