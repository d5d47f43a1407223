#include "scheduler/framework.h"

#include "base/log.h"
#include "base/strings.h"

namespace monopod::scheduler {
namespace {

// Names the plugin that holds the loop too long.
class Stopwatch {
 public:
  Stopwatch(const Clock& clock, Duration limit, std::string_view plugin, std::string_view point)
      : clock_(clock), limit_(limit), plugin_(plugin), point_(point), start_(clock.mono()) {}
  ~Stopwatch() {
    Duration took = clock_.mono() - start_;
    if (took > limit_)
      log::warn("scheduler plugin is slow", {{"plugin", plugin_}, {"point", point_}, {"ms", std::chrono::duration_cast<std::chrono::milliseconds>(took).count()}});
  }

 private:
  const Clock& clock_;
  Duration limit_;
  std::string_view plugin_;
  std::string_view point_;
  MonoTime start_;
};

async::Task<Result<Status>> as_result(async::Task<Status> call) {
  Status status = co_await std::move(call);
  co_return status;
}

}  // namespace

async::Task<Status> Plugin::post_filter(CycleState&, const PodInfo&, const Snapshot&, std::string&) { co_return Status{Verdict::kUnschedulable, ""}; }
async::Task<Status> Plugin::permit(CycleState&, const PodInfo&, std::string_view) { co_return Status{}; }
async::Task<Status> Plugin::pre_bind(CycleState&, const PodInfo&, std::string_view) { co_return Status{}; }
async::Task<Status> Plugin::bind(CycleState&, const PodInfo&, std::string_view) { co_return Status{Verdict::kSkip, ""}; }

std::string Diagnosis::message() const {
  if (nodes == 0) return "no nodes available to schedule pods";
  std::string out = cat("0/", nodes, " nodes are available: ");
  if (!before.empty()) return out + before + ".";
  bool first = true;
  for (const auto& [reason, count] : reasons) {
    if (!first) out += ", ";
    first = false;
    out += cat(count, " ", reason);
  }
  return out + ".";
}

Framework::Framework(std::vector<std::unique_ptr<Plugin>> plugins, async::Time& time, Duration plugin_limit)
    : plugins_(std::move(plugins)), time_(time), plugin_limit_(plugin_limit) {}

bool Framework::goes_before(const PodInfo& a, const PodInfo& b) const {
  for (const auto& plugin : plugins_)
    if (plugin->points() & Plugin::kQueueSort) return plugin->goes_before(a, b);
  return false;
}

Status Framework::pre_enqueue(const PodInfo& pod) const {
  for (const auto& plugin : plugins_) {
    if (!(plugin->points() & Plugin::kPreEnqueue)) continue;
    Status status = plugin->pre_enqueue(pod);
    if (!status.ok()) return status;
  }
  return {};
}

Result<Placement> Framework::place(CycleState& state, const PodInfo& pod, const Snapshot& nodes) const {
  Placement placement;
  placement.diagnosis.nodes = nodes.size();
  if (nodes.empty()) return placement;
  std::vector<bool> skipped(plugins_.size());
  for (std::size_t i = 0; i < plugins_.size(); ++i) {
    if (!(plugins_[i]->points() & Plugin::kPreFilter)) continue;
    Stopwatch watch(time_, plugin_limit_, plugins_[i]->name(), "PreFilter");
    Status status = plugins_[i]->pre_filter(state, pod, nodes);
    if (status.verdict == Verdict::kError) return fail(Code::kInternal, cat("plugin ", plugins_[i]->name(), ": ", status.reason));
    if (status.verdict == Verdict::kSkip) skipped[i] = true;
    else if (!status.ok()) {
      placement.diagnosis.before = std::move(status.reason);
      return placement;
    }
  }
  Snapshot feasible;
  for (const auto& node : nodes) {
    bool fits = true;
    filter_node(state, pod, *node, skipped, placement.diagnosis, fits);
    if (fits) feasible.push_back(node);
  }
  if (feasible.empty()) return placement;
  placement.node = feasible.size() == 1 ? feasible[0]->name : feasible[best(state, pod, feasible)]->name;
  return placement;
}

void Framework::filter_node(const CycleState& state, const PodInfo& pod, const NodeInfo& node, const std::vector<bool>& skipped, Diagnosis& diagnosis, bool& fits) const {
  for (std::size_t i = 0; i < plugins_.size(); ++i) {
    if (!(plugins_[i]->points() & Plugin::kFilter) || skipped[i]) continue;
    Stopwatch watch(time_, plugin_limit_, plugins_[i]->name(), "Filter");
    Status status = plugins_[i]->filter(state, pod, node);
    if (status.ok()) continue;
    fits = false;
    // A plugin may give several reasons at once, one a line.
    for (std::string_view reason : split(status.reason, '\n')) ++diagnosis.reasons[std::string(reason)];
    if (status.verdict == Verdict::kUnschedulable) diagnosis.resolvable = true;
    return;
  }
}

std::size_t Framework::best(CycleState& state, const PodInfo& pod, const Snapshot& feasible) const {
  std::vector<std::int64_t> totals(feasible.size());
  std::vector<bool> skipped(plugins_.size());
  for (std::size_t i = 0; i < plugins_.size(); ++i)
    if (plugins_[i]->points() & Plugin::kPreScore) skipped[i] = plugins_[i]->pre_score(state, pod, feasible).verdict == Verdict::kSkip;
  for (std::size_t i = 0; i < plugins_.size(); ++i) {
    if (!(plugins_[i]->points() & Plugin::kScore) || skipped[i]) continue;
    Stopwatch watch(time_, plugin_limit_, plugins_[i]->name(), "Score");
    std::vector<std::int64_t> scores;
    for (const auto& node : feasible) scores.push_back(plugins_[i]->score(state, pod, *node));
    plugins_[i]->normalize(state, pod, scores);
    for (std::size_t k = 0; k < scores.size(); ++k) totals[k] += scores[k] * plugins_[i]->weight();
  }
  return static_cast<std::size_t>(std::max_element(totals.begin(), totals.end()) - totals.begin());
}

async::Task<Status> Framework::post_filter(CycleState& state, const PodInfo& pod, const Snapshot& nodes, std::string& nominated) {
  for (const auto& plugin : plugins_) {
    if (!(plugin->points() & Plugin::kPostFilter)) continue;
    Status status = co_await limited(*plugin, "PostFilter", plugin->post_filter(state, pod, nodes, nominated));
    if (status.verdict != Verdict::kUnschedulable) co_return status;
  }
  co_return Status{Verdict::kUnschedulable, ""};
}

Status Framework::reserve(CycleState& state, const PodInfo& pod, std::string_view node) {
  for (const auto& plugin : plugins_) {
    if (!(plugin->points() & Plugin::kReserve)) continue;
    Status status = plugin->reserve(state, pod, node);
    if (status.ok()) continue;
    unreserve(state, pod, node);
    return status;
  }
  return {};
}

void Framework::unreserve(CycleState& state, const PodInfo& pod, std::string_view node) {
  for (auto it = plugins_.rbegin(); it != plugins_.rend(); ++it)
    if ((*it)->points() & Plugin::kReserve) (*it)->unreserve(state, pod, node);
}

async::Task<Status> Framework::limited(const Plugin& plugin, std::string_view point, async::Task<Status> call) {
  std::string what = cat("plugin ", plugin.name(), " ", point);
  Result<Status> status = co_await async::with_timeout<Status>(time_, plugin.wait_max(), what, as_result(std::move(call)));
  if (!status) co_return Status{Verdict::kError, status.error().message()};
  co_return std::move(*status);
}

async::Task<Status> Framework::bind(CycleState& state, const PodInfo& pod, std::string node) {
  for (const auto& plugin : plugins_) {
    if (!(plugin->points() & Plugin::kPermit)) continue;
    Status status = co_await limited(*plugin, "Permit", plugin->permit(state, pod, node));
    if (!status.ok()) co_return status;
  }
  for (const auto& plugin : plugins_) {
    if (!(plugin->points() & Plugin::kPreBind)) continue;
    Status status = co_await limited(*plugin, "PreBind", plugin->pre_bind(state, pod, node));
    if (!status.ok() && status.verdict != Verdict::kSkip) co_return status;
  }
  Status bound{Verdict::kError, "no plugin bound the pod"};
  for (const auto& plugin : plugins_) {
    if (!(plugin->points() & Plugin::kBind)) continue;
    Status status = co_await limited(*plugin, "Bind", plugin->bind(state, pod, node));
    if (status.verdict == Verdict::kSkip) continue;
    bound = std::move(status);
    break;
  }
  if (bound.ok())
    for (const auto& plugin : plugins_)
      if (plugin->points() & Plugin::kPostBind) plugin->post_bind(state, pod, node);
  co_return bound;
}

}  // namespace monopod::scheduler
