#include "api/patch/managed_fields.h"

#include <gtest/gtest.h>

#include "api/kinds/kinds.h"
#include "api/patch/field_set.h"
#include "api/patch/typed.h"
#include "api/schema/decode.h"
#include "api/schema/sample.h"
#include "base/rng.h"
#include "base/strings.h"

namespace monopod::api {
namespace {

const WallTime kNow = *parse_rfc3339("2026-01-02T03:04:05Z");
const WallTime kLater = *parse_rfc3339("2026-01-02T04:04:05Z");
const Resource& deployments() { return *find_resource("apps", "v1", "deployments"); }

FieldManager who(std::string manager, WallTime now = kNow, std::string subresource = {}) { return {std::move(manager), "apps/v1", std::move(subresource), now}; }

std::string config(std::string_view spec) { return cat(R"({"apiVersion":"apps/v1","kind":"Deployment","metadata":{"name":"d","namespace":"n"},"spec":)", spec, "}"); }

Result<ApplyResult> apply(const json::Value* live, std::string_view text, const FieldManager& by, bool force = false) {
  auto r = apply_configuration(live, *json::parse(text), deployments().type(), by, force);
  if (r && r->unchanged) r->object = *live;
  // As the server does before it stores.
  if (r && r->conflicts.empty()) set_defaults(r->object, deployments());
  return r;
}
json::Value applied(const json::Value* live, std::string_view text, const FieldManager& by, bool force = false) {
  auto r = apply(live, text, by, force);
  EXPECT_TRUE(r) << (r ? "" : r.error().message());
  if (!r) return json::Object();
  EXPECT_TRUE(r->conflicts.empty());
  return r->object;
}
std::string managed(const json::Value& object, std::string_view manager) {
  const json::Array* list = json::get_array(object, {"metadata", "managedFields"});
  if (list == nullptr) return "none";
  for (const json::Value& e : *list)
    if (json::get_string(e, {"manager"}) == manager) return json::format(e.at("fieldsV1"));
  return "none";
}

constexpr const char* kTemplate = R"("selector":{"matchLabels":{"a":"b"}},"template":{"metadata":{"labels":{"a":"b"}},"spec":{"containers":[{"name":"c","image":"x","ports":[{"containerPort":80}]}]}})";

TEST(ServerSideApply, CreateOwnsWhatTheConfigurationSays) {
  json::Value d = applied(nullptr, config(cat("{\"replicas\":2,", kTemplate, "}")), who("m"));
  EXPECT_EQ(managed(d, "m"),
            R"({"f:spec":{"f:replicas":{},"f:selector":{},"f:template":{"f:metadata":{"f:labels":{"f:a":{}}},"f:spec":{"f:containers":{"k:{\"name\":\"c\"}":{".":{},"f:image":{},"f:name":{},)"
            R"("f:ports":{"k:{\"containerPort\":80,\"protocol\":\"TCP\"}":{".":{},"f:containerPort":{}}}}}}}}})");
  EXPECT_EQ(json::get_int(d, {"spec", "revisionHistoryLimit"}), 10);
  EXPECT_EQ(json::get_string(d.at("metadata").at("managedFields").at(0), {"operation"}), "Apply");
}

TEST(ServerSideApply, ApplyingAgainChangesNothing) {
  std::string text = config(cat("{\"replicas\":2,", kTemplate, "}"));
  json::Value d = applied(nullptr, text, who("m"));
  json::Value again = applied(&d, text, who("m", kLater));
  EXPECT_EQ(json::format(again), json::format(d));
}

TEST(ServerSideApply, FieldsLeftOutAreRemovedOrDefaulted) {
  json::Value d = applied(nullptr, config(cat("{\"replicas\":2,\"paused\":true,\"minReadySeconds\":5,", kTemplate, "}")), who("m"));
  json::Value e = applied(&d, config(cat("{", kTemplate, "}")), who("m", kLater));
  EXPECT_EQ(json::get_int(e, {"spec", "replicas"}), 1);  // the default
  EXPECT_EQ(json::find(e, {"spec", "paused"}), nullptr);
  EXPECT_EQ(json::get_string(e.at("metadata").at("managedFields").at(0), {"time"}), "2026-01-02T04:04:05Z");
}

TEST(ServerSideApply, ConflictsAreReportedAsUpstreamPrintsThem) {
  json::Value d = applied(nullptr, config(cat("{\"replicas\":2,", kTemplate, "}")), who("one"));
  auto r = apply(&d, config(R"({"replicas":3})"), who("two"));
  ASSERT_TRUE(r);
  ASSERT_EQ(r->conflicts.size(), 1U);
  json::Value status = make_apply_conflict_status(r->conflicts);
  EXPECT_EQ(json::get_string(status, {"message"}), R"(Apply failed with 1 conflict: conflict with "one": .spec.replicas)");
  EXPECT_EQ(json::format(status.at("details")), R"({"causes":[{"reason":"FieldManagerConflict","message":"conflict with \"one\"","field":".spec.replicas"}]})");
  json::Value forced = applied(&d, config(R"({"replicas":3})"), who("two"), true);
  EXPECT_EQ(json::get_int(forced, {"spec", "replicas"}), 3);
  EXPECT_EQ(managed(forced, "two"), R"({"f:spec":{"f:replicas":{}}})");
  EXPECT_EQ(managed(forced, "one").find("f:replicas"), std::string::npos);
  json::Value shared = applied(&d, config(R"({"replicas":2})"), who("two"));  // the same value is no conflict
  EXPECT_EQ(managed(shared, "two"), R"({"f:spec":{"f:replicas":{}}})");
  EXPECT_NE(managed(shared, "one").find("f:replicas"), std::string::npos);
}

TEST(ServerSideApply, UpdatersAreNamedWithTheirVersion) {
  json::Value d = applied(nullptr, config(cat("{\"replicas\":2,", kTemplate, "}")), who("m"));
  json::Value scaled = d;
  scaled.at("spec").get_object()["replicas"] = 5;
  update_managed_fields(scaled, &d, deployments().type(), who("kubectl-scale", kLater));
  EXPECT_EQ(managed(scaled, "kubectl-scale"), R"({"f:spec":{"f:replicas":{}}})");
  auto r = apply(&scaled, config(cat("{\"replicas\":2,", kTemplate, "}")), who("m"));
  ASSERT_EQ(r->conflicts.size(), 1U);
  EXPECT_EQ(r->conflicts[0].manager, R"("kubectl-scale" using apps/v1)");
}

TEST(ServerSideApply, ItemsOfListsBelongToTheirManagers) {
  json::Value d = applied(nullptr, config(cat("{", kTemplate, "}")), who("m"));
  constexpr const char* kSidecar = R"({"template":{"spec":{"containers":[{"name":"s","image":"y"}]}}})";
  json::Value e = applied(&d, config(kSidecar), who("injector"));
  EXPECT_EQ(e.at("spec").at("template").at("spec").at("containers").get_array().size(), 2U);
  json::Value same = applied(&e, config(cat("{", kTemplate, "}")), who("m"));
  EXPECT_EQ(same.at("spec").at("template").at("spec").at("containers").get_array().size(), 2U);
  json::Value gone = applied(&e, config("{}"), who("injector"));
  EXPECT_EQ(gone.at("spec").at("template").at("spec").at("containers").get_array().size(), 1U);
  EXPECT_EQ(managed(gone, "injector"), R"({"f:spec":{}})");
}

TEST(ServerSideApply, AnObjectThatWasNeverAppliedKeepsItsOldOwner) {
  json::Value d = *json::parse(config(cat("{\"replicas\":2,", kTemplate, "}")));
  ASSERT_TRUE(canonicalize(d, deployments().type()));
  auto r = apply(&d, config(R"({"replicas":3})"), who("m"));
  ASSERT_EQ(r->conflicts.size(), 1U);
  EXPECT_EQ(r->conflicts[0].manager, R"("before-first-apply" using apps/v1)");
}

TEST(ServerSideApply, BadConfigurationsAreRefused) {
  auto message = [](std::string_view text) {
    auto r = apply(nullptr, text, who("m"));
    return r ? std::string("accepted") : r.error().message();
  };
  EXPECT_EQ(message(config(R"({"foo":1})")), "failed to create typed patch object (n/d; apps/v1, Kind=Deployment): .spec.foo: field not declared in schema");
  EXPECT_EQ(message(config(R"({"template":{"spec":{"containers":[{"name":"a"},{"name":"a"}]}}})")),
            R"(failed to create typed patch object (n/d; apps/v1, Kind=Deployment): .spec.template.spec.containers: duplicate entries for key [name="a"])");
  EXPECT_EQ(message(R"({"metadata":{"managedFields":[{"manager":"x"}]}})"), "metadata.managedFields must be nil");
}

TEST(ManagedFields, CreateAndUpdateRecordWhatChanged) {
  const Resource& r = *find_resource("", "configmaps");
  json::Value a = *json::parse(R"({"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"c","labels":{"x":"1"}},"data":{"k":"v"}})");
  ASSERT_TRUE(canonicalize(a, r.type()));
  FieldManager by{"kubectl-create", "v1", "", kNow};
  update_managed_fields(a, nullptr, r.type(), by);
  EXPECT_EQ(managed(a, "kubectl-create"), R"({"f:data":{".":{},"f:k":{}},"f:metadata":{"f:labels":{".":{},"f:x":{}}}})");
  json::Value b = a;
  b.at("data").get_object()["l"] = "w";
  b.at("metadata").get_object()["labels"].get_object().erase("x");
  ASSERT_TRUE(canonicalize(b, r.type()));
  update_managed_fields(b, &a, r.type(), {"kubectl-edit", "v1", "", kLater});
  EXPECT_EQ(managed(b, "kubectl-edit"), R"({"f:data":{"f:l":{}}})");
  EXPECT_EQ(managed(b, "kubectl-create"), R"({"f:data":{".":{},"f:k":{}}})");
  json::Value c = b;
  update_managed_fields(c, &b, r.type(), {"idle", "v1", "", kLater});
  EXPECT_EQ(json::format(c), json::format(b));
  json::Value reset = b;
  reset.at("metadata").get_object()["managedFields"] = json::Array{json::Object()};
  update_managed_fields(reset, &b, r.type(), {"x", "v1", "", kLater});
  EXPECT_EQ(json::find(reset, {"metadata", "managedFields"}), nullptr);
}

TEST(ManagedFields, ManyUpdatersBecomeAncient) {
  const Resource& r = *find_resource("", "configmaps");
  json::Value a = *json::parse(R"({"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"c"}})");
  for (int i = 0; i < 30; ++i) {
    json::Value b = a;
    json::at_path(b, {"data", cat("k", i)}) = "v";
    ASSERT_TRUE(canonicalize(b, r.type()));
    update_managed_fields(b, &a, r.type(), {cat("m", i), "v1", "", kNow + std::chrono::seconds(i)});
    a = b;
  }
  EXPECT_EQ(a.at("metadata").at("managedFields").get_array().size(), 10U);
  EXPECT_NE(managed(a, "ancient-changes").find("f:k0"), std::string::npos);
}

TEST(FieldSets, WireFormComesBack) {
  SeededRng rng(4);
  for (const Resource& r : resources()) {
    json::Value sample = make_sample(r.type(), rng, 4);
    ASSERT_TRUE(canonicalize(sample, r.type()));
    json::Value empty = json::Object();
    ASSERT_TRUE(canonicalize(empty, r.type()));
    typed::Difference d = typed::compare(empty, sample, r.type());
    FieldSet all = d.added;
    all.unite(d.modified);
    auto back = FieldSet::decode(all.encode());
    ASSERT_TRUE(back) << r.kind();
    EXPECT_TRUE(*back == all) << r.kind();
    FieldSet more = all, one;
    more.at("f:spec").at("f:another").member = one.at("f:spec").at("f:another").member = true;
    EXPECT_EQ(all.meets(all.encode()), !all.empty()) << r.kind();
    EXPECT_FALSE(one.meets(all.encode())) << r.kind();
    EXPECT_TRUE(one.meets(more.encode())) << r.kind();
    EXPECT_TRUE(typed::compare(sample, sample, r.type()).empty()) << r.kind();
    // What was added is what the way back removes.
    EXPECT_TRUE(typed::compare(sample, empty, r.type()).removed == d.added) << r.kind();
    EXPECT_TRUE(typed::compare(sample, typed::merge(sample, sample, r.type()), r.type()).empty()) << r.kind();
    EXPECT_TRUE(typed::compare(sample, typed::merge(empty, sample, r.type()), r.type()).empty()) << r.kind();
  }
  EXPECT_FALSE(FieldSet::decode(json::Object{{"x", json::Object()}}));
  EXPECT_FALSE(FieldSet::decode(json::Array()));
}

TEST(FieldSets, WhatAConfigurationSpeaksOfIsKnownWithoutItsSet) {
  SeededRng rng(5);
  constexpr std::string_view kMetadata[] = {"metadata"};
  const typed::Unowned unowned{kMetadata, {}};
  int plain = 0;
  for (int round = 0; round < 4; ++round)
    for (const Resource& r : resources()) {
      json::Value sample = make_sample(r.type(), rng, 4);
      ASSERT_TRUE(canonicalize(sample, r.type()));
      auto set = typed::fields_of(sample, r.type());
      if (!set) continue;  // an item twice
      std::erase_if(set->children, [](const auto& child) { return child.first == "f:metadata"; });
      if (typed::speaks_of(sample, r.type(), unowned, set->encode())) ++plain;
      FieldSet more = *set;
      more.at("f:spec").at("f:another").member = true;
      EXPECT_FALSE(typed::speaks_of(sample, r.type(), unowned, more.encode())) << r.kind();
      if (set->children.empty()) continue;
      FieldSet less = *set;
      less.children.erase(less.children.begin() + static_cast<std::ptrdiff_t>(rng.below(less.children.size())));
      EXPECT_FALSE(typed::speaks_of(sample, r.type(), unowned, less.encode())) << r.kind();
    }
  EXPECT_GT(plain, 100);
}

TEST(FieldSets, PathsReadAsUpstreams) {
  auto set = FieldSet::decode(*json::parse(R"({"f:spec":{"f:containers":{"k:{\"name\":\"a\"}":{".":{},"f:image":{}}}},"f:finalizers":{"v:\"x\"":{}}})"));
  EXPECT_EQ(set->paths(), (std::vector<std::string>{R"(.finalizers[="x"])", R"(.spec.containers[name="a"])", R"(.spec.containers[name="a"].image)"}));
}

TEST(ServerSideApply, GarbageNeverCrashes) {
  SeededRng rng(6);
  auto all = resources();
  for (int i = 0; i < 600; ++i) {
    const Resource& r = all[rng.below(all.size())];
    json::Value live = make_sample(r.type(), rng, 3), patch = make_sample(r.type(), rng, 2);
    ASSERT_TRUE(canonicalize(live, r.type()));
    if (json::Value* meta = json::find(patch, {"metadata"})) meta->get_object().erase("managedFields");
    if (json::Value* meta = json::find(live, {"metadata"}); meta != nullptr && rng.below(2) == 0)
      meta->get_object()["managedFields"] = json::Array{json::Object{{"manager", "x"}, {"operation", "Apply"}, {"fieldsV1", json::Object{{"f:spec", json::Object{{"k:{", json::Object()}}}}}}, 5, nullptr};
    auto result = apply_configuration(&live, patch, r.type(), {"x", std::string(r.group_version()), "", kNow}, rng.below(2) == 0);
    if (!result) continue;
    update_managed_fields(patch, &live, r.type(), {"y", std::string(r.group_version()), "", kNow});
  }
}

TEST(Apply, WhatLiveCoversIsUnchangedAndAllElseIsNot) {
  const std::string two = R"({"selector":{"matchLabels":{"a":"b"}},"template":{"metadata":{"labels":{"a":"b"}},"spec":{"containers":[{"name":"x","image":"i","ports":[{"containerPort":1}]},{"name":"y","image":"j"}]}}})";
  json::Value live = applied(nullptr, config(two), who("m"));
  auto again = [&](const std::string& spec) {
    auto r = apply_configuration(&live, *json::parse(config(spec)), deployments().type(), who("m", kLater), false);
    EXPECT_TRUE(r);
    return r && r->unchanged;
  };
  auto with = [&](std::string_view from, std::string_view to) {
    std::string text = two;
    return text.replace(text.find(from), from.size(), to);
  };
  EXPECT_TRUE(again(two));
  EXPECT_FALSE(again(with("\"j\"", "\"k\"")));
  EXPECT_FALSE(again(with(R"("ports":[{"containerPort":1}])", R"("ports":[])")));
  EXPECT_FALSE(again(with(R"(,"ports":[{"containerPort":1}])", "")));
  EXPECT_FALSE(again(with(R"("matchLabels":{"a":"b"})", R"("matchLabels":{"a":"b","c":"d"})")));
  // The other order of a list with keys alone is no change, as upstream compares items by their keys.
  std::string turned = with(R"({"name":"x","image":"i","ports":[{"containerPort":1}]},{"name":"y","image":"j"})", R"({"name":"y","image":"j"},{"name":"x","image":"i","ports":[{"containerPort":1}]})");
  EXPECT_TRUE(again(turned));
  // Items and members of others in between do not matter.
  json::Value grown = applied(&live, config(R"({"selector":{"matchLabels":{"a":"b"}},"template":{"metadata":{"labels":{"a":"b"}},"spec":{"containers":[{"name":"w","image":"o"},{"name":"x","image":"i"}]}}})"), who("other"));
  auto r = apply_configuration(&grown, *json::parse(config(two)), deployments().type(), who("m", kLater), false);
  ASSERT_TRUE(r);
  EXPECT_TRUE(r->unchanged);
}

void collect_scalars(json::Value& tree, std::vector<json::Value*>& out) {
  if (tree.is_object())
    for (auto& m : tree.get_object()) {
      if (m.key() != "managedFields") collect_scalars(m.value(), out);
    }
  else if (tree.is_array())
    for (json::Value& item : tree.get_array()) collect_scalars(item, out);
  else out.push_back(&tree);
}

// Another value of its kind; now and then an empty one.
void change(json::Value& scalar, Rng& rng) {
  if (scalar.is_string()) scalar = rng.below(8) == 0 ? "" : cat(std::string_view(scalar.get_string()), "x");
  else if (scalar.is_bool()) scalar = !scalar.get_bool();
  else if (scalar.is_int64()) scalar = static_cast<std::int64_t>(rng.below(4));
}

// An applier's entry without a time is not changed in place.
json::Value without_time(json::Value live) {
  for (json::Value& e : json::find(live, {"metadata", "managedFields"})->get_array())
    if (json::get_string(e, {"manager"}) == "m") e.get_object().stable_erase("time");
  return live;
}

TEST(Apply, OtherValuesInPlaceComeToWhatMergingComesTo) {
  SeededRng rng(11);
  auto all = resources();
  int in_place = 0;
  for (int i = 0; i < 900; ++i) {
    const Resource& r = all[rng.below(all.size())];
    auto by = [&](std::string manager, WallTime now) { return FieldManager{std::move(manager), std::string(r.group_version()), "", now}; };
    json::Value config = make_sample(r.type(), rng, 3);
    if (!canonicalize(config, r.type()) || json::find(config, {"metadata"}) == nullptr) continue;
    json::find(config, {"metadata"})->get_object().stable_erase("managedFields");
    auto first = apply_configuration(nullptr, config, r.type(), by("m", kNow), false);
    if (!first) continue;
    json::Value live = first->object;
    if (rng.below(2) == 0) {  // somebody else has written too
      std::vector<json::Value*> theirs;
      json::Value before = live;
      collect_scalars(live, theirs);
      if (!theirs.empty()) change(*theirs[rng.below(theirs.size())], rng);
      if (!canonicalize(live, r.type())) continue;
      update_managed_fields(live, &before, r.type(), by("other", kNow));
    }
    if (json::find(live, {"metadata", "managedFields"}) == nullptr) continue;
    std::vector<json::Value*> scalars;
    collect_scalars(config, scalars);
    for (std::uint64_t n = rng.below(3); n > 0 && !scalars.empty(); --n) change(*scalars[rng.below(scalars.size())], rng);
    bool force = rng.below(2) == 0;
    auto quick = apply_configuration(&live, config, r.type(), by("m", kLater), force);
    const json::Value timeless = without_time(live);
    auto merged = apply_configuration(&timeless, config, r.type(), by("m", kLater), force);
    ASSERT_EQ(quick.has_value(), merged.has_value());
    if (!quick) continue;
    EXPECT_EQ(quick->unchanged, merged->unchanged) << json::format(config);
    EXPECT_EQ(quick->conflicts.size(), merged->conflicts.size());
    ASSERT_EQ(json::format(quick->object), json::format(merged->object));
    FieldSet modified;
    if (quick->object.is_object() && typed::overlay_of(live, config, r.type(), modified) == typed::Overlay::kValues) ++in_place;
  }
  EXPECT_GT(in_place, 50);
}

}  // namespace
}  // namespace monopod::api
