// For tests of the pod worker: a machine that exists in memory and fails on demand.
#pragma once

#include <csignal>
#include <map>

#include "agent/pod_worker.h"
#include "agent/test_pods.h"
#include "base/strings.h"

namespace monopod::agent {

class FakeRuntime final : public PodRuntime {
 public:
  explicit FakeRuntime(async::Time& time) : time_(time) {}

  async::Task<Result<Sandbox>> start_sandbox(const Pod&) override {
    calls.push_back("sandbox");
    if (sandbox_failures > 0) {
      --sandbox_failures;
      co_return fail(Code::kInternal, "no namespaces today");
    }
    co_return Sandbox{.ready = true, .ips = {"10.1.1.1"}, .created_at = time_.wall()};
  }
  async::Task<Result<>> stop_sandbox(std::string) override {
    calls.push_back("stop_sandbox");
    co_return Result<>();
  }
  async::Task<Result<>> remove_pod(std::string) override {
    calls.push_back("remove_pod");
    instances.clear();
    co_return Result<>();
  }
  async::Task<Result<Instance>> create_container(ContainerPlan plan) override {
    calls.push_back("create " + plan.container->name);
    last_env = plan.env;
    if (create_error) co_return fail(*create_error);
    Instance i;
    i.id = cat("c", ++next_);
    i.container = plan.container->name;
    i.attempt = plan.attempt;
    i.hash = plan.container->hash;
    i.image = plan.container->image;
    i.created_at = time_.wall();
    instances[i.id] = i;
    co_return i;
  }
  async::Task<Result<>> start_container(std::string id) override {
    calls.push_back("start " + instances[id].container);
    if (start_error) co_return fail(*start_error);
    instances[id].state = RunState::kRunning;
    instances[id].started_at = time_.wall();
    co_return Result<>();
  }
  async::Task<Result<>> signal_container(std::string id, int signal) override {
    calls.push_back(cat("signal ", instances[id].container, " ", signal));
    if (signal == SIGKILL || !stubborn) end(instances[id].container, 128 + signal);
    co_return Result<>();
  }
  async::Task<Result<>> remove_container(std::string id) override {
    calls.push_back("remove " + id);
    instances.erase(id);
    co_return Result<>();
  }
  async::Task<Result<ExecResult>> exec(std::string, std::vector<std::string>, Duration, std::size_t) override { co_return ExecResult{}; }
  std::optional<ImageFacts> find_image(std::string_view reference) const override {
    if (!images.contains(std::string(reference))) return std::nullopt;
    ImageFacts out;
    out.id = "sha256:1";
    out.cmd = {"/bin/app"};
    return out;
  }
  const Instance* find_instance(std::string_view id) const override {
    auto it = instances.find(std::string(id));
    return it == instances.end() ? nullptr : &it->second;
  }
  std::vector<PodRecord> list() const override {
    PodRecord record;
    record.uid = "u1";
    for (const auto& [id, i] : instances) record.instances.push_back(i);
    return {record};
  }
  std::string log_path(const Pod&, std::string_view, int) const override { return "/dev/null"; }

  // The newest running instance of the container exits.
  void end(const std::string& container, int code) {
    for (auto& [id, i] : instances) {
      if (i.container != container || i.state != RunState::kRunning) continue;
      i.state = RunState::kExited;
      i.exit_code = code;
      i.finished_at = time_.wall();
      i.reason = code == 0 ? "Completed" : "Error";
      Instance copy = i;
      if (on_exit) on_exit("u1", copy);
      return;
    }
  }

  std::vector<std::string> calls;
  std::map<std::string, Instance> instances;
  std::set<std::string> images{"busybox"};
  std::optional<Error> create_error;
  std::optional<Error> start_error;
  std::vector<std::string> last_env;
  int sandbox_failures = 0;
  bool stubborn = false;  // ignores everything but SIGKILL

 private:
  async::Time& time_;
  int next_ = 0;
};

class FakeVolumes final : public PodVolumes {
 public:
  async::Task<Result<std::map<std::string, std::string>>> set_up(const Pod&, PodFacts) override {
    if (error) co_return fail(*error);
    co_return std::map<std::string, std::string>{{"v", "/vol/v"}};
  }
  std::optional<MonoTime> refresh_at(const std::string&) const override { return std::nullopt; }
  async::Task<Result<>> tear_down(std::string) override {
    ++torn_down;
    co_return Result<>();
  }
  async::Task<Result<>> unmount(std::string) override {
    ++unmounted;
    co_return Result<>();
  }
  std::optional<Error> error;
  int torn_down = 0;
  int unmounted = 0;
};

class FakeObjects final : public ObjectReader {
 public:
  async::Task<Result<std::optional<ReferencedObjects::Data>>> read(ObjectKey key) override {
    auto it = data.find(key.name);
    if (it == data.end()) co_return std::optional<ReferencedObjects::Data>();
    co_return std::optional(it->second);
  }
  std::map<std::string, ReferencedObjects::Data> data;
};

class FakeProber final : public Prober {
 public:
  async::Task<ProbeOutcome> run(std::shared_ptr<const Pod>, std::string container, std::string, Handler handler, std::string, Duration) override {
    ++runs;
    (void)handler;
    co_return ProbeOutcome{!unhealthy.contains(container), "HTTP probe failed with statuscode: 500"};
  }
  std::set<std::string> unhealthy;
  int runs = 0;
};

}  // namespace monopod::agent
