// HorizontalPodAutoscalers: every 15 seconds the target gets as many replicas as its pods' use of cpu or memory asks for (autoscaler_math.h decides).
// What the pods use comes from metrics.k8s.io, which the API server computes only when asked: without an autoscaler nobody measures. Source:
// autoscaling/v2 API and kube-controller-manager's observable behaviour (conditions, reasons, event texts). Metrics of pods, objects and
// the outside need an API that something else registers (custom.metrics.k8s.io, external.metrics.k8s.io); without it they are unavailable, as upstream.
#include <algorithm>
#include <unordered_map>

#include "api/quantity/quantity.h"
#include "api/selector/selector.h"
#include "base/strings.h"
#include "controllers/autoscaler_math.h"
#include "controllers/controllers.h"
#include "controllers/pods.h"

namespace monopod::controllers {
namespace {

using client::ObjectPtr;
namespace resources = client::resources;

constexpr client::Resource kAutoscalers{"autoscaling", "v2", "horizontalpodautoscalers", "HorizontalPodAutoscaler"};
constexpr client::Resource kPodMetrics{"metrics.k8s.io", "v1beta1", "pods", "PodMetrics"};
constexpr std::chrono::seconds kPeriod{15};
constexpr std::chrono::seconds kFirstLook{1};
constexpr std::string_view kScaleUp = " above target", kScaleDown = "All metrics below target";

// One row of spec.metrics, looked at.
struct Measured {
  std::string name;    // "cpu resource utilization (percentage of request)"
  std::int64_t replicas = 0;
  json::Value status;  // a row of status.currentMetrics
};

// Why a metric says nothing: the condition's reason and the text.
struct Unmeasured {
  std::string reason, text;
};

struct Target {
  std::string group, version, plural, kind;  // our own: a custom kind may go while we wait
  json::Value scale;
  std::int64_t replicas = 0;
  std::string selector;
  client::Resource resource() const { return {group, version, plural, kind}; }
};

std::string quantity_text(std::int64_t milli, std::string_view resource) {
  auto format = resource == "memory" ? api::Quantity::Format::kBinarySi : api::Quantity::Format::kDecimalSi;
  return api::Quantity::of_milli(milli, format).text();
}

std::int64_t milli_of(std::string_view quantity) {
  auto parsed = api::parse_quantity(quantity);
  return parsed ? parsed->milli_value() : 0;
}

class Autoscaler final : public QueueController {
 public:
  explicit Autoscaler(const ControllerParts& parts)
      : QueueController(parts, "horizontal-pod-autoscaler", 1), autoscalers_(parts.informers.informer(kAutoscalers)), pods_(parts.informers.informer(resources::kPods)) {
    // As upstream's first look is no sooner than after a period, so that one who has just made it sees it as it was made.
    autoscalers_.add_handler([this](const ObjectPtr& old, const ObjectPtr& now) {
      if (old || !now) queue_.add((now ? now : old)->key());
      else queue_.add_after(now->key(), kFirstLook);
    });
  }

 private:
  async::Task<Result<Outcome>> reconcile(std::string key) override {
    ObjectPtr seen = autoscalers_.indexer().find(key);
    if (!seen) {
      histories_.erase(key);
      co_return Outcome{};
    }
    json::Value tree = seen->tree();
    json::Value before = tree;
    auto changed = co_await look(*seen, tree);
    if (!changed && changed.error().code() == Code::kCancelled) co_return fail(changed.error());
    json::at_path(tree, {"status", "observedGeneration"}) = json::get_int(tree, {"metadata", "generation"});
    if (tree != before) {
      auto written = co_await put_status(parts_.api, kAutoscalers, *seen, std::move(tree));
      if (!written && written.error().code() != Code::kNotFound) co_return fail(written.error());
    }
    co_return Outcome{.requeue_after = kPeriod};
  }

  void condition(json::Value& tree, std::string_view type, bool holds, std::string_view reason, std::string_view message) const {
    json::Value& status = tree.get_object()["status"];
    if (!status.is_object()) status.emplace_object();
    client::set_condition(status, {{"type", type}, {"status", holds ? "True" : "False"}, {"reason", reason}, {"message", message}}, parts_.time.wall());
  }
  void event(const client::Object& about, std::string type, std::string reason, std::string message) {
    recorder_.record(client::reference_to(kAutoscalers, about), std::move(type), std::move(reason), std::move(message));
  }
  static void set_replicas(json::Value& tree, std::int64_t current, std::int64_t desired) {
    json::at_path(tree, {"status", "currentReplicas"}) = current;
    json::at_path(tree, {"status", "desiredReplicas"}) = desired;
  }

  // One look at one autoscaler: changes the tree's status, and the target's scale.
  async::Task<Result<>> look(const client::Object& seen, json::Value& tree) {
    auto found = co_await find_target(seen.ns, tree);
    if (!found) {
      event(seen, "Warning", "FailedGetScale", found.error().message());
      condition(tree, "AbleToScale", false, "FailedGetScale", cat("the HPA controller was unable to get the target's current scale: ", found.error().message()));
      co_return fail(found.error());
    }
    Target target = std::move(*found);
    condition(tree, "AbleToScale", true, "SucceededGetScale", "the HPA controller was able to get the target's current scale");
    std::int64_t least = json::get_int(tree, {"spec", "minReplicas"}, 1), most = json::get_int(tree, {"spec", "maxReplicas"});
    if (target.replicas == 0 && least != 0) {
      condition(tree, "ScalingActive", false, "ScalingDisabled", "scaling is disabled since the replica count of the target is zero");
      set_replicas(tree, 0, 0);
      co_return Result<>();
    }
    if (target.replicas > most) co_return co_await scale(seen, tree, target, most, "Current number of replicas above Spec.MaxReplicas");
    if (target.replicas < least) co_return co_await scale(seen, tree, target, least, "Current number of replicas below Spec.MinReplicas");
    co_return co_await follow_metrics(seen, tree, target, {.current = target.replicas, .least = least, .most = most});
  }

  async::Task<Result<>> follow_metrics(const client::Object& seen, json::Value& tree, const Target& target, ScalingHistory::Limits limits) {
    auto measured = co_await measure(seen, tree, target);
    if (!measured) {
      set_replicas(tree, target.replicas, json::get_int(tree, {"status", "desiredReplicas"}, 0));
      co_return fail(measured.error());
    }
    const json::Value* behavior = json::find(tree, {"spec", "behavior"});
    std::string reason = measured->replicas > limits.current ? cat(measured->name, kScaleUp) : std::string(kScaleDown);
    ScalingHistory::Decision decision = histories_[seen.key()].decide(measured->replicas, limits, behavior, parts_.time.wall());
    condition(tree, "AbleToScale", true, decision.able_reason, decision.able_message);
    condition(tree, "ScalingLimited", decision.limited, decision.limited_reason, decision.limited_message);
    co_return co_await scale(seen, tree, target, decision.replicas, std::move(reason));
  }

  async::Task<Result<>> scale(const client::Object& seen, json::Value& tree, const Target& target, std::int64_t wanted, std::string reason) {
    set_replicas(tree, target.replicas, wanted);
    if (wanted == target.replicas) co_return Result<>();
    json::Value body = target.scale;
    json::at_path(body, {"spec", "replicas"}) = wanted;
    auto written = co_await parts_.api.update(target.resource(), seen.ns, std::string(client::name_of(target.scale)), std::move(body), {.subresource = "scale"});
    if (!written) {
      set_replicas(tree, target.replicas, target.replicas);
      event(seen, "Warning", "FailedRescale", cat("New size: ", wanted, "; reason: ", reason, "; error: ", written.error().message()));
      condition(tree, "AbleToScale", false, "FailedUpdateScale", cat("the HPA controller was unable to update the target scale: ", written.error().message()));
      co_return fail(written.error());
    }
    condition(tree, "AbleToScale", true, "SucceededRescale", cat("the HPA controller was able to update the target scale to ", wanted));
    event(seen, "Normal", "SuccessfulRescale", cat("New size: ", wanted, "; reason: ", reason));
    histories_[seen.key()].scaled(target.replicas, wanted, json::find(tree, {"spec", "behavior"}), parts_.time.wall());
    json::at_path(tree, {"status", "lastScaleTime"}) = format_rfc3339(parts_.time.wall());
    co_return Result<>();
  }

  // --- the target

  async::Task<Result<Target>> find_target(std::string ns, const json::Value& tree) {
    std::string_view kind = json::get_string(tree, {"spec", "scaleTargetRef", "kind"}), version = json::get_string(tree, {"spec", "scaleTargetRef", "apiVersion"});
    std::string name(json::get_string(tree, {"spec", "scaleTargetRef", "name"}));
    std::string_view group = version.contains('/') ? version.substr(0, version.find('/')) : std::string_view();
    auto known = parts_.deletable_resources();
    auto resource = std::ranges::find_if(known, [&](const client::Resource& one) { return one.kind == kind && one.group == group; });
    if (resource == known.end()) co_return fail(Code::kNotFound, cat("no matches for kind \"", kind, "\" in group \"", group, "\""));
    Target out{.group = std::string(resource->group), .version = std::string(resource->version), .plural = std::string(resource->plural), .kind = std::string(resource->kind),
               .scale = {}, .replicas = 0, .selector = {}};
    CO_TRY_ASSIGN(out.scale, co_await parts_.api.get_subresource(out.resource(), ns, name, "scale"));
    out.replicas = json::get_int(out.scale, {"spec", "replicas"});
    out.selector = json::get_string(out.scale, {"status", "selector"});
    co_return out;
  }

  // --- metrics

  // The largest count that a metric asks for. Metrics that cannot be read keep it from going down.
  async::Task<Result<Measured>> measure(const client::Object& seen, json::Value& tree, const Target& target) {
    if (target.selector.empty()) {
      event(seen, "Warning", "SelectorRequired", "selector is required");
      condition(tree, "ScalingActive", false, "InvalidSelector", "the HPA target's scale is missing a selector");
      co_return fail(Code::kFailedPrecondition, "selector is required");
    }
    CO_TRY_ASSIGN(api::LabelSelector selector, api::parse_label_selector(target.selector));
    std::vector<json::Value> pods = pods_of(seen.ns, selector);
    auto listed = co_await parts_.api.list(kPodMetrics, {.ns = seen.ns, .label_selector = target.selector});
    if (!listed && listed.error().code() == Code::kCancelled) co_return fail(listed.error());
    Measured most;
    std::size_t failed = 0;
    std::optional<Unmeasured> first;
    json::Array statuses;
    const json::Array* specs = json::get_array(tree, {"spec", "metrics"});
    std::size_t count = specs == nullptr ? 0 : specs->size();
    for (std::size_t i = 0; i < count; ++i) {
      auto one = measure_one((*specs)[i], seen.ns, target.replicas, tolerance_of(json::find(tree, {"spec", "behavior"})), pods, listed);
      if (!one) {
        ++failed;
        event(seen, "Warning", one.error().reason, one.error().text);
        if (!first) first = std::move(one.error());
        statuses.push_back(json::Object{{"type", ""}});
      } else {
        statuses.push_back(std::move(one->status));
        if (most.name.empty() || one->replicas > most.replicas) most = std::move(*one);
      }
    }
    json::at_path(tree, {"status", "currentMetrics"}) = std::move(statuses);
    if (first && (failed == count || most.replicas < target.replicas)) {
      condition(tree, "ScalingActive", false, first->reason, cat("the HPA was unable to compute the replica count: ", first->text));
      std::string text = cat("invalid metrics (", failed, " invalid out of ", count, "), first error is: ", first->text);
      event(seen, "Warning", "FailedComputeMetricsReplicas", text);
      co_return fail(Code::kFailedPrecondition, std::move(text));
    }
    condition(tree, "ScalingActive", true, "ValidMetricFound", cat("the HPA was able to successfully calculate a replica count from ", most.name));
    co_return most;
  }

  std::vector<json::Value> pods_of(const std::string& ns, const api::LabelSelector& selector) const {
    std::vector<json::Value> out;
    for (const ObjectPtr& pod : pods_.indexer().by_index(client::kNamespaceIndex, ns)) {
      json::Value tree = pod->tree();
      if (selector.matches(client::labels_of(tree))) out.push_back(std::move(tree));
    }
    return out;
  }

  std::expected<Measured, Unmeasured> measure_one(const json::Value& spec, const std::string& ns, std::int64_t current, const Tolerance& tolerance,
                                                  const std::vector<json::Value>& pods, const Result<client::ObjectList>& listed) const {
    std::string_view type = json::get_string(spec, {"type"});
    if (type != "Resource" && type != "ContainerResource") return std::unexpected(not_served(spec, type, ns));
    std::string_view member = type == "Resource" ? "resource" : "containerResource";
    ResourceQuery query{.resource = json::get_string(spec, {member, "name"}), .container = json::get_string(spec, {member, "container"})};
    query.of_requests = json::find(spec, {member, "target", "averageUtilization"}) != nullptr;
    query.target = query.of_requests ? json::get_int(spec, {member, "target", "averageUtilization"}) : milli_of(json::get_string(spec, {member, "target", "averageValue"}));
    auto refuse = [&](std::string_view why) {
      return std::unexpected(Unmeasured{type == "Resource" ? "FailedGetResourceMetric" : "FailedGetContainerResourceMetric",
                                        cat("failed to get ", query.resource, query.of_requests ? " utilization: " : " usage: ", why)});
    };
    if (query.target <= 0) return refuse("invalid target: neither a utilization target nor a value target was set");
    PodMetrics metrics;
    if (listed)
      for (const client::Object& one : listed->items)
        if (auto metric = metric_of(one.tree(), query)) metrics[one.name] = *metric;
    if (metrics.empty())
      return refuse(cat("unable to get metrics for resource ", query.resource, ": ", listed ? "no metrics returned from resource metrics API" : std::string(listed.error().message())));
    auto proposal = propose_replicas(query, current, tolerance, pods, std::move(metrics), parts_.time.wall());
    if (!proposal) return refuse(proposal.error().message());
    Measured out{.name = cat(query.resource, query.container.empty() ? "" : " container", " resource", query.of_requests ? " utilization (percentage of request)" : ""),
                 .replicas = proposal->replicas, .status = {}};
    json::Object now{{"averageValue", quantity_text(proposal->average_milli, query.resource)}};
    if (query.of_requests) now["averageUtilization"] = proposal->utilization;
    json::Object status{{"name", query.resource}, {"current", std::move(now)}};
    if (!query.container.empty()) status["container"] = query.container;
    out.status = json::Object{{"type", type}, {member, std::move(status)}};
    return out;
  }

  static Unmeasured not_served(const json::Value& spec, std::string_view type, std::string_view ns) {
    constexpr std::string_view kCustom = "unable to fetch metrics from custom metrics API: no custom metrics API (custom.metrics.k8s.io) registered";
    if (type == "Pods") return {"FailedGetPodsMetric", cat("failed to get pods metric value: unable to get metric ", json::get_string(spec, {"pods", "metric", "name"}), ": ", kCustom)};
    if (type == "Object")
      return {"FailedGetObjectMetric", cat("failed to get object metric value: unable to get metric ", json::get_string(spec, {"object", "metric", "name"}), ": ",
                                           json::get_string(spec, {"object", "describedObject", "kind"}), " on ", ns, " ",
                                           json::get_string(spec, {"object", "describedObject", "name"}), "/", kCustom)};
    if (type == "External")
      return {"FailedGetExternalMetric", cat("failed to get ", json::get_string(spec, {"external", "metric", "name"}), " external metric value: unable to get external metric ", ns, "/",
                                             json::get_string(spec, {"external", "metric", "name"}),
                                             ": unable to fetch metrics from external metrics API: no external metrics API (external.metrics.k8s.io) registered")};
    return {"InvalidMetricSourceType", cat("unknown metric source type \"", type, "\"")};
  }

  client::Informer& autoscalers_;
  client::Informer& pods_;
  std::unordered_map<std::string, ScalingHistory> histories_;  // by key
};

}  // namespace

std::unique_ptr<Controller> make_autoscaler(const ControllerParts& parts) { return std::make_unique<Autoscaler>(parts); }

}  // namespace monopod::controllers
