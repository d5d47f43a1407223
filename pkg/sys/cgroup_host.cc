#include "sys/cgroup_host.h"

namespace monopod::sys {
namespace {

class HostCgroups final : public Cgroups {
 public:
  HostCgroups(std::unique_ptr<Cgroups> own, std::unique_ptr<Cgroups> host) : own_(std::move(own)), host_(std::move(host)) {}

  CgroupMode mode() const override { return own_->mode(); }
  bool has_memory() const override { return own_->has_memory(); }
  bool has_cpu() const override { return own_->has_cpu(); }
  bool has_pids() const override { return own_->has_pids(); }
  bool has(std::string_view controller) const override { return own_->has(controller); }

  Result<> create(const std::string& group) override { return of(group).create(group); }
  Result<> remove(const std::string& group) override { return of(group).remove(group); }
  Result<> set_limits(const std::string& group, const CgroupLimits& limits) override { return of(group).set_limits(group, limits); }
  Result<> set_devices(const std::string& group, const std::vector<DeviceRule>& rules) override { return of(group).set_devices(group, rules); }
  Result<> write(const std::string& group, std::string_view controller, std::string_view file, std::string_view value) override { return of(group).write(group, controller, file, value); }
  Result<std::string> read(const std::string& group, std::string_view controller, std::string_view file) override { return of(group).read(group, controller, file); }
  Result<Entry> open_entry(const std::string& group) override { return of(group).open_entry(group); }
  Result<std::vector<int>> processes(const std::string& group) override { return of(group).processes(group); }
  Result<> kill_all(const std::string& group) override { return of(group).kill_all(group); }
  Result<> set_frozen(const std::string& group, bool frozen) override { return of(group).set_frozen(group, frozen); }
  bool is_frozen(const std::string& group) override { return of(group).is_frozen(group); }
  Result<CgroupStats> stats(const std::string& group) override { return of(group).stats(group); }
  Result<std::vector<std::string>> children(const std::string& group) override { return of(group).children(group); }
  std::vector<std::pair<std::string, std::string>> views(const std::string& group) const override { return of(group).views(group); }
  std::string path(const std::string& group) const override { return of(group).path(group); }

 private:
  // Their paths are taken apart at each "/": the one in front does no harm.
  Cgroups& of(const std::string& group) const { return group.starts_with('/') ? *host_ : *own_; }

  std::unique_ptr<Cgroups> own_;
  std::unique_ptr<Cgroups> host_;
};

}  // namespace

Result<std::unique_ptr<Cgroups>> with_host_groups(std::unique_ptr<Cgroups> own, std::vector<std::string> controllers) {
  CgroupOptions top;
  top.root = ".";
  top.make_room = false;
  top.controllers = std::move(controllers);
  TRY_ASSIGN(std::unique_ptr<Cgroups> host, open_cgroups(top));
  return std::make_unique<HostCgroups>(std::move(own), std::move(host));
}

}  // namespace monopod::sys
