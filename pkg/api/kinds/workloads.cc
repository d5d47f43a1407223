// The kinds that own pod templates.
#include "api/kinds/behaviors.h"
#include "api/kinds/schedule.h"
#include "api/selector/selector.h"
#include "base/strings.h"

namespace monopod::api::kinds {
namespace {

Value* spec_of(Value& object) {
  Value* spec = mutable_child(object, "spec");
  return spec != nullptr && spec->is_object() ? spec : nullptr;
}

void validate_template(const Value& spec, const Path& path, FieldErrors& errors) {
  const Value* templ = child(spec, "template");
  if (templ == nullptr) return errors.required(path["template"]);
  Path at = path["template"];
  check_labels(errors, at["metadata"]["labels"], json::find(*templ, {"metadata", "labels"}));
  if (const Value* pod = child(*templ, "spec")) validate_pod_spec(*pod, at["spec"], errors, true);
}

// The selector must be there, be valid, select something and select the template.
void validate_selector(const Value& spec, const Path& path, std::string_view empty_text, FieldErrors& errors) {
  const Value* selector = child(spec, "selector");
  const Value* labels = json::find(spec, {"template", "metadata", "labels"});
  if (selector == nullptr || !selector->is_object()) {
    errors.required(path["selector"]);
    return errors.invalid(path["template"]["metadata"]["labels"], labels == nullptr ? Value(nullptr) : *labels, "`selector` does not match template `labels`");
  }
  check_label_selector(errors, path["selector"], *selector);
  auto parsed = make_label_selector(*selector);
  if (!parsed) return;
  if (parsed->empty()) return errors.invalid(path["selector"], *selector, empty_text);
  if (!parsed->matches(labels == nullptr ? nullptr : labels->if_object()))
    errors.invalid(path["template"]["metadata"]["labels"], labels == nullptr ? Value(nullptr) : *labels, "`selector` does not match template `labels`");
}

void check_always(const Value& spec, const Path& path, FieldErrors& errors) {
  const Value* policy = json::find(spec, {"template", "spec", "restartPolicy"});
  if (policy != nullptr && policy->is_string() && policy->get_string() != "Always") errors.not_supported(path["template"]["spec"]["restartPolicy"], *policy, {"Always"});
}

std::int64_t percent_or_count(const Value* v) {
  if (v == nullptr) return 0;
  if (v->is_string()) return parse_int<std::int64_t>(std::string_view(v->get_string()).substr(0, v->get_string().size() - 1)).value_or(1);
  return v->is_int64() ? v->get_int64() : 0;
}

}  // namespace

void default_deployment(Value& object) {
  Value* spec = spec_of(object);
  if (spec == nullptr) return;
  default_template(*spec);
  if (Value* strategy = mutable_child(*spec, "strategy"); strategy != nullptr && text(*strategy, "type") == "RollingUpdate") {
    Value& rolling = json::at_path(*strategy, {"rollingUpdate"});
    if (!rolling.is_object()) rolling.emplace_object();
    set_missing(rolling, "maxUnavailable", "25%");
    set_missing(rolling, "maxSurge", "25%");
  }
}

void default_replica_set(Value& object) {
  if (Value* spec = spec_of(object)) default_template(*spec);
}

void default_replication_controller(Value& object) {
  Value* spec = spec_of(object);
  if (spec == nullptr) return;
  default_template(*spec);
  const Value* labels = json::find(*spec, {"template", "metadata", "labels"});
  if (labels == nullptr) return;
  Value copy = *labels;
  if (child(*spec, "selector") == nullptr) spec->get_object()["selector"] = copy;
  if (json::get_object(object, {"metadata", "labels"}) == nullptr) json::at_path(object, {"metadata", "labels"}) = copy;
}

void default_daemon_set(Value& object) {
  Value* spec = spec_of(object);
  if (spec == nullptr) return;
  default_template(*spec);
  Value* strategy = mutable_child(*spec, "updateStrategy");
  if (strategy == nullptr || text(*strategy, "type") != "RollingUpdate") return;
  Value& rolling = json::at_path(*strategy, {"rollingUpdate"});
  if (!rolling.is_object()) rolling.emplace_object();
  set_missing(rolling, "maxUnavailable", 1);
  set_missing(rolling, "maxSurge", 0);
}

void default_stateful_set(Value& object) {
  Value* spec = spec_of(object);
  if (spec == nullptr) return;
  default_template(*spec);
  Value* strategy = mutable_child(*spec, "updateStrategy");
  if (strategy != nullptr && text(*strategy, "type") == "RollingUpdate") {
    Value& rolling = json::at_path(*strategy, {"rollingUpdate"});
    if (!rolling.is_object()) rolling.emplace_object();
    set_missing(rolling, "partition", 0);
  }
  if (child(*spec, "volumeClaimTemplates") != nullptr)
    for (Value& claim : mutable_items(*spec, "volumeClaimTemplates")) {
      set_missing(claim, "apiVersion", "v1");
      set_missing(claim, "kind", "PersistentVolumeClaim");
      Value& status = json::at_path(claim, {"status"});
      if (!status.is_object()) status.emplace_object();
      set_missing(status, "phase", "Pending");
    }
}

void default_job(Value& object) {
  Value* spec = spec_of(object);
  if (spec == nullptr) return;
  default_template(*spec);
  if (child(*spec, "completions") == nullptr && child(*spec, "parallelism") == nullptr) set_missing(*spec, "completions", 1);
  set_missing(*spec, "parallelism", 1);
  set_missing(*spec, "backoffLimit", child(*spec, "backoffLimitPerIndex") != nullptr ? 2147483647 : 6);  // the limit of each index stands for it
  set_missing(*spec, "podReplacementPolicy", child(*spec, "podFailurePolicy") != nullptr ? "Failed" : "TerminatingOrFailed");
}

void default_cron_job(Value& object) {
  if (Value* spec = json::find(object, {"spec", "jobTemplate", "spec"})) default_template(*spec);
}

void prepare_job(Value& object) {
  Value* spec = spec_of(object);
  if (spec == nullptr || json::get_bool(*spec, {"manualSelector"})) return;
  // The pods of a job carry its uid, and its selector is that.
  std::string uid(json::get_string(object, {"metadata", "uid"}));
  if (uid.empty()) return;
  Value& labels = json::at_path(*spec, {"template", "metadata", "labels"});
  if (!labels.is_object()) labels.emplace_object();
  std::string name(json::get_string(object, {"metadata", "name"}));
  for (const char* key : {"job-name", "batch.kubernetes.io/job-name"}) set_missing(labels, key, Value(name));
  for (const char* key : {"controller-uid", "batch.kubernetes.io/controller-uid"}) set_missing(labels, key, Value(uid));
  Value& selector = json::at_path(*spec, {"selector", "matchLabels"});
  if (!selector.is_object()) selector.emplace_object();
  set_missing(selector, "batch.kubernetes.io/controller-uid", Value(uid));
}

void validate_deployment(const Value& object, FieldErrors& errors) {
  Path path("spec");
  const Value* spec = child(object, "spec");
  if (spec == nullptr) return errors.required(path);
  check_nonnegative(errors, path["replicas"], child(*spec, "replicas"));
  validate_selector(*spec, path, "empty selector is invalid for deployment", errors);
  validate_template(*spec, path, errors);
  check_always(*spec, path, errors);
  const Value* strategy = child(*spec, "strategy");
  if (strategy != nullptr) {
    check_supported(errors, path["strategy"], *strategy, "type", {"Recreate", "RollingUpdate"});
    const Value* rolling = child(*strategy, "rollingUpdate");
    if (text(*strategy, "type") == "Recreate" && rolling != nullptr)
      errors.forbidden(path["strategy"]["rollingUpdate"], "may not be specified when strategy `type` is 'Recreate'");
    if (rolling != nullptr && text(*strategy, "type") == "RollingUpdate") {
      Path at = path["strategy"]["rollingUpdate"];
      check_int_or_percent(errors, at["maxUnavailable"], child(*rolling, "maxUnavailable"));
      check_int_or_percent(errors, at["maxSurge"], child(*rolling, "maxSurge"));
      const Value* unavailable = child(*rolling, "maxUnavailable");
      if (percent_or_count(unavailable) == 0 && percent_or_count(child(*rolling, "maxSurge")) == 0)
        errors.invalid(at["maxUnavailable"], unavailable == nullptr ? Value(0) : *unavailable, "may not be 0 when `maxSurge` is 0");
    }
  }
  check_nonnegative(errors, path["minReadySeconds"], child(*spec, "minReadySeconds"));
  check_nonnegative(errors, path["revisionHistoryLimit"], child(*spec, "revisionHistoryLimit"));
  const Value* deadline = child(*spec, "progressDeadlineSeconds");
  check_nonnegative(errors, path["progressDeadlineSeconds"], deadline);
  if (deadline != nullptr && deadline->get_int64() <= json::get_int(*spec, {"minReadySeconds"})) errors.invalid(path["progressDeadlineSeconds"], *deadline, "must be greater than minReadySeconds");
}

void validate_deployment_update(const Value& object, const Value& old, std::string_view subresource, FieldErrors& errors) {
  const Value *now = child(object, "spec"), *before = child(old, "spec");
  if (subresource == "status" || now == nullptr || before == nullptr) return;
  check_immutable(errors, Path("spec"), *now, *before, "selector");
}

void validate_replica_set(const Value& object, FieldErrors& errors) {
  Path path("spec");
  const Value* spec = child(object, "spec");
  if (spec == nullptr) return errors.required(path);
  check_nonnegative(errors, path["replicas"], child(*spec, "replicas"));
  check_nonnegative(errors, path["minReadySeconds"], child(*spec, "minReadySeconds"));
  validate_selector(*spec, path, "empty selector is invalid for deployment", errors);
  validate_template(*spec, path, errors);
  check_always(*spec, path, errors);
}

void validate_replication_controller(const Value& object, FieldErrors& errors) {
  Path path("spec");
  const Value* spec = child(object, "spec");
  if (spec == nullptr) return errors.required(path);
  validate_template(*spec, path, errors);
  check_always(*spec, path, errors);
  const Object *selector = json::get_object(*spec, {"selector"}), *labels = json::get_object(*spec, {"template", "metadata", "labels"});
  if (selector != nullptr && !selector->empty() && child(*spec, "template") != nullptr && !map_selects(selector, labels))
    errors.invalid(path["template"]["metadata"]["labels"], labels == nullptr ? Value(nullptr) : Value(*labels), "`selector` does not match template `labels`");
}

void validate_daemon_set(const Value& object, FieldErrors& errors) {
  Path path("spec");
  const Value* spec = child(object, "spec");
  if (spec == nullptr) return errors.required(path);
  validate_selector(*spec, path, "empty selector is invalid for daemonset", errors);
  validate_template(*spec, path, errors);
  check_always(*spec, path, errors);
  for (std::string_view n : {"minReadySeconds", "revisionHistoryLimit"}) check_nonnegative(errors, path[n], child(*spec, n));
  const Value* strategy = child(*spec, "updateStrategy");
  if (strategy == nullptr) return;
  check_supported(errors, path["updateStrategy"], *strategy, "type", {"OnDelete", "RollingUpdate"});
  const Value* rolling = child(*strategy, "rollingUpdate");
  if (rolling == nullptr || text(*strategy, "type") != "RollingUpdate") return;
  Path at = path["updateStrategy"]["rollingUpdate"];
  const Value *unavailable = child(*rolling, "maxUnavailable"), *surge = child(*rolling, "maxSurge");
  check_int_or_percent(errors, at["maxUnavailable"], unavailable);
  check_int_or_percent(errors, at["maxSurge"], surge);
  if (percent_or_count(unavailable) != 0 && percent_or_count(surge) != 0) errors.invalid(at["maxSurge"], *surge, "may not be set when maxUnavailable is non-zero");
  if (percent_or_count(unavailable) == 0 && percent_or_count(surge) == 0) errors.required(at["maxUnavailable"], "cannot be 0 when maxSurge is 0");
}

// The spec with the volumes that each pod gets: one a claim.
Value with_claimed_volumes(const Value& spec) {
  Value out = spec;
  Value& volumes = json::at_path(out, {"template", "spec", "volumes"});
  if (!volumes.is_array()) volumes.emplace_array();
  for (const Value& claim : items(spec, "volumeClaimTemplates")) {
    std::string_view name = json::get_string(claim, {"metadata", "name"});
    bool there = false;
    for (const Value& volume : volumes.get_array()) there = there || text(volume, "name") == name;
    if (!there) volumes.get_array().push_back(Object{{"name", name}, {"persistentVolumeClaim", Object{{"claimName", name}}}});
  }
  return out;
}

void validate_stateful_set(const Value& object, FieldErrors& errors) {
  Path path("spec");
  const Value* spec = child(object, "spec");
  if (spec == nullptr) return errors.required(path);
  check_supported(errors, path, *spec, "podManagementPolicy", {"OrderedReady", "Parallel"});
  check_nonnegative(errors, path["replicas"], child(*spec, "replicas"));
  validate_selector(*spec, path, "empty selector is invalid for statefulset", errors);
  if (items(*spec, "volumeClaimTemplates").empty()) validate_template(*spec, path, errors);
  else validate_template(with_claimed_volumes(*spec), path, errors);
  check_always(*spec, path, errors);
  for (std::string_view n : {"minReadySeconds", "revisionHistoryLimit"}) check_nonnegative(errors, path[n], child(*spec, n));
  check_nonnegative(errors, path["ordinals"]["start"], json::find(*spec, {"ordinals", "start"}));
  if (const Value* policy = child(*spec, "persistentVolumeClaimRetentionPolicy"))
    for (std::string_view when : {"whenDeleted", "whenScaled"}) check_supported(errors, path["persistentVolumeClaimRetentionPolicy"], *policy, when, {"Delete", "Retain"});
  const Value* strategy = child(*spec, "updateStrategy");
  if (strategy == nullptr) return;
  check_supported(errors, path["updateStrategy"], *strategy, "type", {"OnDelete", "RollingUpdate"});
  const Value* rolling = child(*strategy, "rollingUpdate");
  if (rolling == nullptr) return;
  Path at = path["updateStrategy"]["rollingUpdate"];
  if (text(*strategy, "type") == "OnDelete") return errors.invalid(at, *rolling, "only allowed for updateStrategy 'RollingUpdate'");
  check_nonnegative(errors, at["partition"], child(*rolling, "partition"));
  if (const Value* unavailable = child(*rolling, "maxUnavailable")) {
    check_int_or_percent(errors, at["maxUnavailable"], unavailable);
    if (percent_or_count(unavailable) == 0) errors.invalid(at["maxUnavailable"], *unavailable, "cannot be 0");
  }
}

void validate_stateful_set_update(const Value& object, const Value& old, std::string_view subresource, FieldErrors& errors) {
  if (subresource == "status") return;
  const Value* before = child(old, "spec");
  Value now = child(object, "spec") == nullptr ? Value(Object()) : *child(object, "spec");
  if (before == nullptr) return;
  for (std::string_view member : {"replicas", "ordinals", "template", "updateStrategy", "revisionHistoryLimit", "persistentVolumeClaimRetentionPolicy", "minReadySeconds"}) {
    const Value* v = child(*before, member);
    if (v == nullptr) now.get_object().erase(member);
    else now.get_object()[member] = *v;
  }
  if (now != *before)
    errors.forbidden(Path("spec"), "updates to statefulset spec for fields other than 'replicas', 'ordinals', 'template', 'updateStrategy', 'revisionHistoryLimit', 'persistentVolumeClaimRetentionPolicy' and 'minReadySeconds' are forbidden");
}

// What prepare_job makes must be there and be nobody else's (a client may have sent other values).
void validate_generated(const Value& object, const Value& spec, FieldErrors& errors) {
  if (json::get_bool(spec, {"manualSelector"})) return;
  std::string_view uid = json::get_string(object, {"metadata", "uid"}), name = json::get_string(object, {"metadata", "name"});
  if (uid.empty()) return errors.required(Path("metadata")["uid"]);
  Path at = Path("spec")["template"]["metadata"]["labels"];
  const Value* labels = json::find(spec, {"template", "metadata", "labels"});
  Object expected;
  for (auto [key, value] : {std::pair{"controller-uid", uid}, {"job-name", name}, {"batch.kubernetes.io/controller-uid", uid}, {"batch.kubernetes.io/job-name", name}}) {
    expected[key] = value;
    const Value* is = labels == nullptr ? nullptr : child(*labels, key);
    if (is == nullptr) errors.required(at.key(key), cat("must be '", value, "'"));
    else if (*is != Value(value)) errors.invalid(at.key(key), *labels, cat("must be '", value, "'"));
  }
  const Value* selector = child(spec, "selector");
  auto parsed = make_label_selector(*selector);
  if (parsed && !parsed->matches(&expected)) errors.invalid(Path("spec")["selector"], *selector, "`selector` not auto-generated");
}

void validate_job_selector(const Value& spec, FieldErrors& errors) {
  const Value* selector = child(spec, "selector");
  if (selector == nullptr || !selector->is_object()) return errors.required(Path("spec")["selector"]);
  check_label_selector(errors, Path("spec")["selector"], *selector);
  auto parsed = make_label_selector(*selector);
  const Value* labels = json::find(spec, {"template", "metadata", "labels"});
  if (parsed && !parsed->matches(labels == nullptr ? nullptr : labels->if_object()))
    errors.invalid(Path("spec")["template"]["metadata"]["labels"], labels == nullptr ? Value(Object()) : *labels, "`selector` does not match template `labels`");
}

void validate_job_spec(const Value* spec, FieldErrors& errors) {
  Path path("spec");
  if (spec == nullptr) return errors.required(path);
  for (std::string_view n : {"parallelism", "completions", "backoffLimit", "activeDeadlineSeconds", "ttlSecondsAfterFinished"}) check_nonnegative(errors, path[n], child(*spec, n));
  validate_template(*spec, path, errors);
  check_supported(errors, path, *spec, "completionMode", {"Indexed", "NonIndexed"});
  bool indexed = text(*spec, "completionMode") == "Indexed";
  if (indexed && child(*spec, "completions") == nullptr) errors.required(path["completions"], "when completion mode is Indexed");
  for (std::string_view n : {"backoffLimitPerIndex", "successPolicy"})
    if (const Value* v = child(*spec, n); v != nullptr && !indexed) errors.invalid(path[n], *v, "requires indexed completion mode");
  validate_job_policies(*spec, path, errors);
  const Value* policy = json::find(*spec, {"template", "spec", "restartPolicy"});
  if (policy != nullptr && policy->is_string() && policy->get_string() != "OnFailure" && policy->get_string() != "Never") {
    if (policy->get_string() == "Always") errors.required(path["template"]["spec"]["restartPolicy"], "valid values: \"OnFailure\", \"Never\"");
    else errors.not_supported(path["template"]["spec"]["restartPolicy"], *policy, {"Never", "OnFailure"});
  }
}

void validate_job(const Value& object, FieldErrors& errors) {
  const Value* spec = child(object, "spec");
  if (spec != nullptr && child(*spec, "selector") != nullptr) validate_generated(object, *spec, errors);
  validate_job_spec(spec, errors);
  if (spec != nullptr) validate_job_selector(*spec, errors);
}

void validate_job_update(const Value& object, const Value& old, std::string_view subresource, FieldErrors& errors) {
  const Value *now = child(object, "spec"), *before = child(old, "spec");
  if (subresource == "status" || now == nullptr || before == nullptr) return;
  Path path("spec");
  for (std::string_view member : {"selector", "completionMode", "backoffLimitPerIndex", "managedBy"}) check_immutable(errors, path, *now, *before, member);
  if (!json::get_bool(*before, {"suspend"})) check_immutable(errors, path, *now, *before, "template");
  if (text(*now, "completionMode") != "Indexed") check_immutable(errors, path, *now, *before, "completions");
}

void validate_cron_job(const Value& object, FieldErrors& errors) {
  Path path("spec");
  const Value* spec = child(object, "spec");
  if (spec == nullptr) return errors.required(path);
  std::string_view schedule = text(*spec, "schedule");
  if (schedule.empty()) errors.required(path["schedule"]);
  else if (schedule.find("TZ") != std::string_view::npos) errors.invalid(path["schedule"], schedule, "cannot use TZ or CRON_TZ in schedule, use timeZone field instead");
  else if (auto good = parse_schedule(schedule); !good) errors.invalid(path["schedule"], schedule, good.error().message());
  check_supported(errors, path, *spec, "concurrencyPolicy", {"Allow", "Forbid", "Replace"});
  for (std::string_view n : {"startingDeadlineSeconds", "successfulJobsHistoryLimit", "failedJobsHistoryLimit"}) check_nonnegative(errors, path[n], child(*spec, n));
  if (const Value* zone = child(*spec, "timeZone"); zone != nullptr && zone->is_string() && zone->get_string().empty()) errors.invalid(path["timeZone"], "", "must be nil or non-empty string");
  if (const Value* templ = json::find(*spec, {"jobTemplate", "spec"})) {
    FieldErrors inner;
    validate_job_spec(templ, inner);
    for (const FieldError& e : inner.errors()) errors.add({e.reason, "spec.jobTemplate." + e.field, e.message});
    Path at = path["jobTemplate"]["spec"];
    if (const Value* selector = child(*templ, "selector")) errors.invalid(at["selector"], *selector, "`selector` will be auto-generated");
    if (json::get_bool(*templ, {"manualSelector"})) errors.not_supported(at["manualSelector"], Value(true), {"nil", "false"});
  }
  std::string_view name = json::get_string(object, {"metadata", "name"});
  if (name.size() > 52) errors.invalid(Path("metadata")["name"], name, "must be no more than 52 characters");
}

std::vector<std::string_view> replica_fields() { return {"status.replicas"}; }
std::vector<std::string_view> job_fields() { return {"status.successful"}; }

}  // namespace monopod::api::kinds
