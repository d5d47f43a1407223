// Starting one container of a pod: image, configuration, creation, start, postStart.
#include <algorithm>

#include "agent/pod_worker.h"
#include "agent/race.h"
#include "agent/security.h"
#include "base/log.h"
#include "base/strings.h"
#include "image/reference.h"

namespace monopod::agent {

namespace {

constexpr Duration kConfigRetry = std::chrono::seconds(10);
constexpr Duration kHookTimeout = std::chrono::hours(1);  // of postStart: the field has none; a pod's deletion cuts it short
constexpr std::string_view kNoImageSource = "image is not on this node and no registry is configured: import it with \"monopod image load\"";

}  // namespace

void PodWorker::hold(ContainerState& state, std::string reason, std::string message, Duration wait) {
  state.waiting_reason = std::move(reason);
  state.waiting_message = std::move(message);
  state.retry_at = services_.time.mono() + std::chrono::duration_cast<MonoTime::duration>(wait);
}

// nullopt: it waits, and state says why. Events and reasons as the field's image manager gives them.
async::Task<Result<std::optional<ImageFacts>>> PodWorker::ensure_image(std::shared_ptr<const Pod> pod, const Container& c, ContainerState& s) {
  std::string policy = effective_pull_policy(c);
  auto present = services_.runtime.find_image(c.image);
  if (auto parsed = image::parse_reference(c.image); !present && !parsed) {
    std::string text = cat("Failed to apply default image tag \"", c.image, "\": couldn't parse image name \"", c.image, "\": ", parsed.error().message());
    event(c.name, "Warning", "InspectFailed", text);
    event(c.name, "Warning", "Failed", "Error: InvalidImageName");
    hold(s, "InvalidImageName", std::move(text), kConfigRetry);
    co_return std::optional<ImageFacts>();
  }
  bool fetch = !present || (policy == "Always" && services_.pull);
  if (present && !fetch) {
    pulls_.forget(c.image);
    event(c.name, "Normal", "Pulled", cat("Container image \"", c.image, "\" already present on machine and can be accessed by the pod"));
    co_return present;
  }
  if (policy == "Never") {
    std::string text = cat("Container image \"", c.image, "\" is not present with pull policy of Never");
    event(c.name, "Warning", "ErrImageNeverPull", text);
    event(c.name, "Warning", "Failed", "Error: ErrImageNeverPull");
    hold(s, "ErrImageNeverPull", std::move(text), kConfigRetry);
    co_return std::optional<ImageFacts>();
  }
  MonoTime begun = services_.time.mono();
  if (Duration wait = pulls_.remaining(c.image, begun); wait > Duration::zero()) {
    hold(s, "ImagePullBackOff", cat("Back-off pulling image \"", c.image, "\": ", s.waiting_message), wait);
    co_return std::optional<ImageFacts>();
  }
  event(c.name, "Normal", "Pulling", cat("Pulling image \"", c.image, "\""));
  Result<> pulled = fail(Code::kNotFound, std::string(kNoImageSource));
  if (services_.pull) pulled = co_await run_until(stopping_, services_.pull(c.image, *pod));
  if (must_end()) co_return std::optional<ImageFacts>();
  if (pulled) present = services_.runtime.find_image(c.image);
  if (pulled && present) {
    pulls_.forget(c.image);
    auto took = std::chrono::duration_cast<std::chrono::milliseconds>(services_.time.mono() - begun).count();
    event(c.name, "Normal", "Pulled", cat("Successfully pulled image \"", c.image, "\" in ", took, "ms. Image size: ", present->size_bytes, " bytes."));
    co_return present;
  }
  if (pulled) pulled = fail(Code::kNotFound, "the image is not there after it was pulled");
  std::string text = cat("failed to pull and unpack image \"", c.image, "\": ", pulled.error().message());
  pulls_.failed(c.image, begun, services_.time.mono());
  event(c.name, "Warning", "Failed", cat("Failed to pull image \"", c.image, "\": ", text));
  event(c.name, "Warning", "Failed", "Error: ErrImagePull");
  // ErrImagePull is shown at once, ImagePullBackOff from a moment later until the next try.
  hold(s, "ErrImagePull", text, Duration::zero());
  publish();
  event(c.name, "Normal", "BackOff", cat("Back-off pulling image \"", c.image, "\""));
  event(c.name, "Warning", "Failed", "Error: ImagePullBackOff");
  hold(s, "ImagePullBackOff", cat("Back-off pulling image \"", c.image, "\": ErrImagePull: ", text), pulls_.remaining(c.image, services_.time.mono()));
  co_return std::optional<ImageFacts>();
}

async::Task<Result<ContainerPlan>> PodWorker::make_plan(const Pod& pod, const Container& c, ImageFacts image) {
  CO_TRY_ASSIGN(ReferencedObjects objects, co_await read_references(services_.objects, pod));
  PodFacts facts = services_.facts(pod);
  if (state_.sandbox && !state_.sandbox->ips.empty()) {
    facts.pod_ips = state_.sandbox->ips;
    facts.pod_ip = facts.pod_ips.front();
  } else if (pod.host_network) {
    facts.pod_ip = facts.host_ip;
    facts.pod_ips = {facts.host_ip};
  }
  ContainerPlan plan;
  plan.pod = &pod;
  plan.container = &c;
  CO_TRY_ASSIGN(Environment environment, make_environment(pod, c, image.env, objects, services_.services(pod), facts));
  if (!environment.skipped.empty())
    event(c.name, "Warning", "InvalidEnvironmentVariableNames",
          cat("Keys [", join(environment.skipped, ", "), "] were skipped since they are considered invalid environment variable names."));
  plan.command = make_command(c, image.entrypoint, image.cmd, environment.variables);
  CO_TRY_ASSIGN(plan.binds, make_binds(pod, c, environment.variables));
  plan.env = std::move(environment.lines);
  bool has_hostname = std::ranges::any_of(plan.env, [](const std::string& line) { return line.starts_with("HOSTNAME="); });
  if (!has_hostname) plan.env.push_back(cat("HOSTNAME=", pod.hostname.empty() ? pod.name : pod.hostname));
  bool has_path = std::ranges::any_of(plan.env, [](const std::string& line) { return line.starts_with("PATH="); });
  if (!has_path) plan.env.insert(plan.env.begin(), "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin");
  plan.image = std::move(image);
  co_return plan;
}

Result<std::vector<Bind>> PodWorker::make_binds(const Pod& pod, const Container& c, const std::map<std::string, std::string>& variables) const {
  std::vector<Bind> out;
  for (const VolumeMount& m : c.mounts) {
    auto path = volume_paths_.find(m.name);
    auto volume = std::ranges::find(pod.volumes, m.name, &Volume::name);
    if (path == volume_paths_.end() || volume == pod.volumes.end())
      return fail(Code::kFailedPrecondition, cat("cannot find volume \"", m.name, "\" to mount into container \"", c.name, "\""));
    Bind b;
    b.source = path->second;
    b.destination = m.path[0] == '/' ? m.path : "/" + m.path;
    b.sub_path = m.sub_path_expr.empty() ? m.sub_path : expand(m.sub_path_expr, variables);
    if (!b.sub_path.empty() && b.sub_path[0] == '/') return fail(Code::kFailedPrecondition, cat("error SubPath `", b.sub_path, "` must not be an absolute path"));
    for (std::string_view part : split(b.sub_path, '/'))
      if (part == "..") return fail(Code::kFailedPrecondition, cat("unable to provision SubPath `", b.sub_path, "`: must not contain '..'"));
    b.read_only = m.read_only || volume->read_only || volume->kind == Volume::Kind::kProjected;
    b.propagation = m.propagation;
    out.push_back(std::move(b));
  }
  return out;
}

// What goes wrong becomes the container's waiting reason; an error is returned only for cancellation.
async::Task<Result<>> PodWorker::start(std::string name) {
  std::shared_ptr<const Pod> pod = pod_;
  const Container* c = pod->find_container(name);
  if (!c) co_return Result<>();
  ContainerState& s = state_.containers[name];  // nodes of a map stay where they are
  CO_TRY_ASSIGN(auto image, co_await ensure_image(pod, *c, s));
  if (!image || must_end()) co_return Result<>();

  auto plan = co_await make_plan(*pod, *c, std::move(*image));
  if (!plan) {
    if (plan.error().code() == Code::kCancelled) co_return fail(std::move(plan).error());
    event(name, "Warning", "Failed", cat("Error: ", plan.error().message()));
    hold(s, "CreateContainerConfigError", plan.error().message(), kConfigRetry);
    co_return Result<>();
  }
  plan->attempt = s.current ? s.current->attempt + 1 : s.previous ? s.previous->attempt + 1 : 0;
  if (must_end()) co_return Result<>();
  auto created = co_await services_.runtime.create_container(std::move(*plan));
  if (!created) {
    if (created.error().code() == Code::kCancelled) co_return fail(std::move(created).error());
    bool config = created.error().code() == Code::kFailedPrecondition;
    event(name, "Warning", "Failed", cat("Error: ", created.error().message()));
    hold(s, config ? "CreateContainerConfigError" : "CreateContainerError", created.error().message(), kConfigRetry);
    co_return Result<>();
  }
  event(name, "Normal", "Created", "Container created");
  if (s.current) s.previous = std::move(s.current);
  s.current = std::move(*created);
  s.started = false;
  s.ready = false;
  s.kill_reason.reset();
  s.post_start_done = false;
  std::string id = s.current->id;
  exits_[id] = std::make_shared<async::Event>(services_.executor);
  auto started = co_await services_.runtime.start_container(id);
  if (const Instance* now = services_.runtime.find_instance(id); now && s.current->state != RunState::kExited) s.current = *now;
  if (!started) {
    if (started.error().code() == Code::kCancelled) co_return fail(std::move(started).error());
    event(name, "Warning", "Failed", cat("Error: failed to start container \"", name, "\": ", started.error().message()));
    Instance ended = *s.current;
    ended.state = RunState::kExited;
    if (ended.exit_code == 0) ended.exit_code = 128;
    ended.reason = "StartError";
    ended.message = cat("failed to start container \"", name, "\": ", started.error().message());
    s.current->state = RunState::kRunning;  // so that its end is news
    container_ended(ended);
    if (!c->ephemeral && pod->restart_policy != RestartPolicy::kNever) {  // else the end is final, and shown as that
      s.waiting_reason = "RunContainerError";
      s.waiting_message = ended.message;
    }
    co_await forget_older(name);
    co_return Result<>();
  }
  s.waiting_reason.clear();
  s.waiting_message.clear();
  event(name, "Normal", "Started", "Container started");
  co_await forget_older(name);
  publish();
  if (c->post_start) CO_TRY(co_await run_post_start(pod, *c, id));
  s.post_start_done = true;
  if (!s.running()) co_return Result<>();
  s.started = !c->startup;
  s.ready = s.started && !c->readiness;
  start_probes(name);
  co_return Result<>();
}

async::Task<Result<>> PodWorker::run_post_start(std::shared_ptr<const Pod> pod, const Container& c, std::string id) {
  std::string ip = state_.sandbox && !state_.sandbox->ips.empty() ? state_.sandbox->ips.front() : services_.facts(*pod).host_ip;
  ProbeOutcome outcome;
  struct Hook {
    static async::Task<Result<>> run(Prober& prober, std::shared_ptr<const Pod> p, const Container& container, std::string container_id, std::string pod_ip, ProbeOutcome& out) {
      out = co_await prober.run(p, container.name, container_id, *container.post_start, pod_ip, kHookTimeout);
      co_return Result<>();
    }
  };
  auto ran = co_await run_until(stopping_, Hook::run(services_.prober, pod, c, id, ip, outcome));
  if (must_end()) co_return Result<>();
  CO_TRY(std::move(ran));
  if (outcome.healthy) co_return Result<>();
  event(c.name, "Warning", "FailedPostStartHook", "PostStartHook failed");
  CO_TRY(co_await kill(c.name, "FailedPostStartHook", std::nullopt));
  ContainerState& s = state_.containers[c.name];
  s.waiting_reason = "PostStartHookError";
  s.waiting_message = cat("PostStartHook failed: ", outcome.text);
  co_return Result<>();
}

// The newest attempt and the one before stay (kubectl logs --previous); older ones go.
async::Task<> PodWorker::forget_older(std::string name) {
  std::vector<std::string> old;
  for (const PodRecord& record : services_.runtime.list()) {
    if (record.uid != pod_->uid) continue;
    const ContainerState& s = state_.of(name);
    for (const Instance& i : record.instances)
      if (i.container == name && i.state == RunState::kExited && (!s.current || i.id != s.current->id) && (!s.previous || i.id != s.previous->id)) old.push_back(i.id);
  }
  for (const std::string& id : old)
    if (auto removed = co_await services_.runtime.remove_container(id); !removed) log::warn("cannot remove a dead container", {{"id", id}, {"error", removed.error()}});
}

}  // namespace monopod::agent
