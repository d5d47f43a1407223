// No control groups: nothing is limited, counted or frozen; processes end with their PID namespace.
#include "sys/cgroup.h"

namespace monopod::sys {
namespace {

class NoCgroups final : public Cgroups {
 public:
  CgroupMode mode() const override { return CgroupMode::kNone; }
  bool has_memory() const override { return false; }
  bool has_cpu() const override { return false; }
  bool has_pids() const override { return false; }
  Result<> create(const std::string&) override { return {}; }
  Result<> remove(const std::string&) override { return {}; }
  Result<> set_limits(const std::string&, const CgroupLimits&) override { return {}; }
  Result<> set_devices(const std::string&, const std::vector<DeviceRule>&) override { return {}; }
  bool has(std::string_view) const override { return false; }
  Result<> write(const std::string&, std::string_view, std::string_view, std::string_view) override { return lacking(); }
  Result<std::string> read(const std::string&, std::string_view, std::string_view) override { return lacking(); }
  Result<Entry> open_entry(const std::string&) override { return Entry{}; }
  Result<std::vector<int>> processes(const std::string&) override { return std::vector<int>(); }
  Result<> kill_all(const std::string&) override { return {}; }
  Result<> set_frozen(const std::string&, bool frozen) override { return frozen ? Result<>(lacking()) : Result<>(); }
  bool is_frozen(const std::string&) override { return false; }
  Result<CgroupStats> stats(const std::string&) override { return CgroupStats{}; }
  Result<std::vector<std::string>> children(const std::string&) override { return std::vector<std::string>(); }
  std::vector<std::pair<std::string, std::string>> views(const std::string&) const override { return {}; }
  std::string path(const std::string& group) const override { return group; }

 private:
  static std::unexpected<Error> lacking() { return fail(Code::kUnimplemented, "no control group may be made here"); }
};

}  // namespace

std::unique_ptr<Cgroups> make_no_cgroups() { return std::make_unique<NoCgroups>(); }

bool may_make_groups(Cgroups& groups, const std::string& group) { return groups.create(group) && groups.remove(group); }

}  // namespace monopod::sys
