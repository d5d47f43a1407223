#include <gtest/gtest.h>

#include "api/limits.h"
#include "api/testing.h"
#include "base/strings.h"

namespace monopod::api {
namespace {

const std::string kMaps = "/api/v1/namespaces/default/configmaps";

std::string config_map(std::string_view name, std::string_view label = "x") {
  return cat(R"({"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":")", name, R"(","labels":{"k":")", label, "\"}}}");
}

// Reads a watch's answer line by line.
class Events {
 public:
  explicit Events(http::Response response) : response_(std::move(response)) {}
  async::Task<Result<json::Value>> next() {
    std::size_t end;
    while ((end = text_.find('\n')) == std::string::npos) {
      CO_TRY_ASSIGN(SharedBytes chunk, co_await response_.body->read_chunk());
      if (!chunk) co_return fail(Code::kUnavailable, "the watch ended");
      text_ += *chunk;
    }
    std::string line = text_.substr(0, end);
    text_.erase(0, end + 1);
    co_return json::parse(line);
  }
  int status() const { return response_.status; }

 private:
  http::Response response_;
  std::string text_;
};

std::string event_text(const json::Value& event) {
  std::string out = cat(json::get_string(event, {"type"}), ' ', json::get_string(event, {"object", "metadata", "name"}));
  return out;
}

#define CO_NEXT(events, expected)                                   \
  do {                                                              \
    CO_TRY_ASSIGN(json::Value event, co_await (events).next());     \
    EXPECT_EQ(event_text(event), expected) << json::format(event);  \
  } while (false)

async::Task<Result<>> live(TestCluster& cluster) {
  CO_CALL(listed, "GET", kMaps);
  std::string from = listed.text({"metadata", "resourceVersion"});
  CO_TRY_ASSIGN(http::Response response, co_await cluster.open("GET", cat(kMaps, "?watch=true&resourceVersion=", from)));
  Events events(std::move(response));
  CO_CALL(made, "POST", kMaps, config_map("a"));
  CO_CALL(other, "POST", "/api/v1/namespaces/kube-system/configmaps", config_map("elsewhere"));
  CO_CALL(changed, "PUT", kMaps + "/a", config_map("a", "y"));
  CO_CALL(gone, "DELETE", kMaps + "/a");
  CO_NEXT(events, "ADDED a");
  CO_NEXT(events, "MODIFIED a");
  CO_TRY_ASSIGN(json::Value last, co_await events.next());
  EXPECT_EQ(event_text(last), "DELETED a");
  std::string version(json::get_string(last, {"object", "metadata", "resourceVersion"}));
  EXPECT_GT(std::stoll(version), std::stoll(changed.text({"metadata", "resourceVersion"}))) << "a deletion carries its own revision";
  co_return Result<>();
}
TEST(Watch, DeliversWhatHappensAfterTheListInOrder) { with_cluster(live); }

async::Task<Result<>> selected(TestCluster& cluster) {
  CO_TRY_ASSIGN(http::Response response, co_await cluster.open("GET", kMaps + "?watch=true&labelSelector=k%3Din"));
  Events events(std::move(response));
  CO_CALL(a, "POST", kMaps, config_map("a", "out"));
  CO_CALL(b, "PUT", kMaps + "/a", config_map("a", "in"));
  CO_CALL(c, "PUT", kMaps + "/a", config_map("a", "out"));
  CO_CALL(d, "POST", kMaps, config_map("b", "in"));
  CO_NEXT(events, "ADDED a");
  CO_TRY_ASSIGN(json::Value left, co_await events.next());
  EXPECT_EQ(event_text(left), "DELETED a");
  EXPECT_EQ(json::get_string(left, {"object", "metadata", "labels", "k"}), "in") << "shown as it was when it still belonged";
  EXPECT_EQ(json::get_string(left, {"object", "metadata", "resourceVersion"}), c.text({"metadata", "resourceVersion"}));
  CO_NEXT(events, "ADDED b");
  co_return Result<>();
}
TEST(Watch, SelectorsTurnChangesIntoEnteringAndLeaving) { with_cluster(selected); }

async::Task<Result<>> watch_list(TestCluster& cluster) {
  CO_CALL(a, "POST", kMaps, config_map("a"));
  CO_CALL(b, "POST", kMaps, config_map("b"));
  CO_TRY_ASSIGN(http::Response response,
                co_await cluster.open("GET", kMaps + "?watch=true&sendInitialEvents=true&resourceVersionMatch=NotOlderThan&allowWatchBookmarks=true"));
  Events events(std::move(response));
  CO_NEXT(events, "ADDED a");
  CO_NEXT(events, "ADDED b");
  CO_TRY_ASSIGN(json::Value mark, co_await events.next());
  EXPECT_EQ(json::get_string(mark, {"type"}), "BOOKMARK");
  EXPECT_EQ(json::get_string(mark, {"object", "metadata", "annotations", "k8s.io/initial-events-end"}), "true");
  EXPECT_FALSE(json::get_string(mark, {"object", "metadata", "resourceVersion"}).empty());
  CO_CALL(c, "POST", kMaps, config_map("c"));
  CO_NEXT(events, "ADDED c");
  cluster.time.advance(kBookmarkEvery);
  CO_TRY_ASSIGN(json::Value minute, co_await events.next());
  EXPECT_EQ(json::get_string(minute, {"type"}), "BOOKMARK");
  // The server's own writes may have come meanwhile.
  EXPECT_GE(std::stoll(std::string(json::get_string(minute, {"object", "metadata", "resourceVersion"}))), std::stoll(c.text({"metadata", "resourceVersion"})));
  CO_CALL(wrong, "GET", kMaps + "?watch=true&sendInitialEvents=true");
  CO_EXPECT_STATUS(wrong, 422);
  co_return Result<>();
}
TEST(Watch, WatchListEndsItsInitialEventsWithABookmark) { with_cluster(watch_list); }

// Everything from a revision on is delivered exactly once, whether ring or log holds it, across a restart of the server.
async::Task<Result<>> across_restart(TestCluster& cluster) {
  CO_CALL(listed, "GET", kMaps);
  std::string from = listed.text({"metadata", "resourceVersion"});
  for (int i = 0; i < 20; ++i) {
    CO_CALL(made, "POST", kMaps, config_map(cat("m", i)));
    CO_EXPECT_STATUS(made, 201);
  }
  CO_TRY(co_await cluster.restart());
  CO_TRY_ASSIGN(http::Response response, co_await cluster.open("GET", cat(kMaps, "?watch=true&resourceVersion=", from)));
  Events events(std::move(response));
  CO_CALL(after, "POST", kMaps, config_map("after"));
  for (int i = 0; i < 20; ++i) CO_NEXT(events, cat("ADDED m", i));
  CO_NEXT(events, "ADDED after");
  CO_CALL(gone, "DELETE", kMaps + "/m3");
  CO_NEXT(events, "DELETED m3");
  co_return Result<>();
}
TEST(Watch, ResumesFromAnyRetainedRevisionWithoutGapOrDuplicate) { with_cluster(across_restart); }

async::Task<Result<>> compacted(TestCluster& cluster) {
  CO_CALL(first, "POST", kMaps, config_map("a"));
  std::string from = first.text({"metadata", "resourceVersion"});
  std::string large(120'000, 'x');  // more in all than the store keeps in memory for those who lag
  for (int i = 0; i < 40; ++i) {
    std::string body = cat(R"({"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"a"},"data":{"i":")", i, R"(","large":")", large, "\"}}");
    CO_CALL(changed, "PUT", kMaps + "/a", body);
    CO_EXPECT_STATUS(changed, 200);
  }
  CO_TRY(co_await cluster.store->compact(cluster.store->current_revision()));
  CO_TRY(co_await cluster.restart());
  CO_CALL(old, "GET", cat(kMaps, "?watch=true&resourceVersion=", from));
  CO_EXPECT_STATUS(old, 410);
  EXPECT_EQ(old.text({"reason"}), "Expired");
  EXPECT_TRUE(old.text({"message"}).starts_with(cat("too old resource version: ", from, " ("))) << old.body;
  CO_CALL(future, "GET", kMaps + "?watch=true&resourceVersion=x");
  CO_EXPECT_STATUS(future, 400);
  co_return Result<>();
}
TEST(Watch, CompactedRevisionIsGone) { with_cluster(compacted); }

async::Task<Result<>> timed(TestCluster& cluster) {
  CO_TRY_ASSIGN(http::Response response, co_await cluster.open("GET", kMaps + "?watch=true&timeoutSeconds=5"));
  CO_CALL(turn, "GET", "/version");  // the watch waits by now
  cluster.time.advance(std::chrono::seconds(6));
  CO_TRY_ASSIGN(std::string rest, co_await response.body->read_all(1 << 20));
  EXPECT_EQ(rest, "");
  co_return Result<>();
}
TEST(Watch, EndsCleanlyAfterTimeoutSeconds) { with_cluster(timed); }

// Reads the changes of one object from a watch until `last`; they are numbered and none may miss.
async::Task<Result<>> read_numbered(TestCluster& cluster, int last, int& complete) {
  CO_TRY_ASSIGN(http::Response response, co_await cluster.open("GET", kMaps + "?watch=true&fieldSelector=metadata.name%3Dm"));
  EXPECT_EQ(response.status, 200);
  Events events(std::move(response));
  CO_NEXT(events, "ADDED m");
  for (int i = 1; i <= last; ++i) {
    CO_TRY_ASSIGN(json::Value event, co_await events.next());
    EXPECT_EQ(json::get_string(event, {"object", "data", "i"}), std::to_string(i));
  }
  ++complete;
  co_return Result<>();
}

async::Task<Result<>> many(TestCluster& cluster) {
  constexpr int kWatchers = 300, kEvents = 50;
  CO_CALL(made, "POST", kMaps, config_map("m"));
  int complete = 0;
  async::Scope readers(cluster.executor);
  for (int i = 0; i < kWatchers; ++i) readers.spawn(read_numbered(cluster, kEvents, complete));
  Result<Reply> turn = co_await cluster.call("GET", "/version");  // the watches are open by now
  for (int i = 1; i <= kEvents && turn; ++i)
    turn = co_await cluster.call("PUT", kMaps + "/m", cat(R"({"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"m"},"data":{"i":")", i, "\"}}"));
  Result<> read = co_await readers.join();
  CO_TRY(turn);
  CO_TRY(read);
  EXPECT_EQ(complete, kWatchers);
  co_return Result<>();
}
TEST(Watch, EveryOneOfManyGetsEveryChangeInOrder) { with_cluster(many); }

async::Task<Result<>> slow(TestCluster& cluster) {
  auto api = cluster.server->local(system_user("test"));
  CO_TRY_ASSIGN(auto watch, co_await api->watch({"", "v1", "configmaps"}, "", {.resource_version = ""}));
  std::string large(2000, 'x');
  std::string body = cat(R"({"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"big"},"data":{"a":")", large, "\"}}");
  CO_CALL(made, "POST", kMaps, body);
  for (int i = 0; i < 1100; ++i)
    CO_TRY(co_await api->patch({{"", "v1", "configmaps"}, "default", "big", ""}, PatchType::kMerge, cat(R"({"data":{"b":")", i, "\"}}"), {}));
  Result<WatchEvent> event = co_await watch->next();
  CO_ASSERT_TRUE(!event);
  EXPECT_EQ(event.error().code(), Code::kOutOfRange);
  co_return Result<>();
}
TEST(Watch, OneThatDoesNotReadIsClosed) { with_cluster(slow); }

// The answer holds what its reader leaves unread up to its bound; then the watcher's queue does, to its own.
async::Task<Result<>> unread(TestCluster& cluster) {
  CO_CALL(made, "POST", kMaps, config_map("m"));
  CO_TRY_ASSIGN(http::Response response, co_await cluster.open("GET", kMaps + "?watch=true"));
  Events events(std::move(response));
  constexpr int kEvents = 400;
  for (int i = 1; i <= kEvents; ++i) {
    CO_CALL(put, "PUT", kMaps + "/m", cat(R"({"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"m"},"data":{"i":")", i, R"(","a":")", std::string(2000, 'x'), "\"}}"));
  }
  CO_TRY_ASSIGN(json::Value first, co_await events.next());
  for (int i = 1; i <= kEvents; ++i) {
    CO_TRY_ASSIGN(json::Value event, co_await events.next());
    EXPECT_EQ(json::get_string(event, {"object", "data", "i"}), std::to_string(i));
  }
  co_return Result<>();
}
TEST(Watch, WhatIsReadLateIsCompleteAndInOrder) { with_cluster(unread); }

async::Task<Result<>> paged(TestCluster& cluster) {
  for (int i = 0; i < 10; ++i) {
    CO_CALL(made, "POST", kMaps, config_map(cat("m", i)));
  }
  CO_CALL(first, "GET", kMaps + "?limit=4");
  std::string token = first.text({"metadata", "continue"}), version = first.text({"metadata", "resourceVersion"});
  EXPECT_EQ(json::get_int(first.tree(), {"metadata", "remainingItemCount"}), 6);
  CO_CALL(late, "POST", kMaps, config_map("m55"));
  CO_CALL(gone, "DELETE", kMaps + "/m7");
  std::string names;
  int pages = 0;
  while (!token.empty()) {
    CO_CALL(page, "GET", cat(kMaps, "?limit=4&continue=", token));
    CO_EXPECT_STATUS(page, 200);
    EXPECT_EQ(page.text({"metadata", "resourceVersion"}), version);
    json::Value tree = page.tree();
    for (const json::Value& item : *json::get_array(tree, {"items"})) names += cat(json::get_string(item, {"metadata", "name"}), ' ');
    token = json::get_string(tree, {"metadata", "continue"});
    ++pages;
  }
  EXPECT_EQ(names, "m4 m5 m6 m7 m8 m9 ") << "the pages are one snapshot";
  EXPECT_EQ(pages, 2);
  token = first.text({"metadata", "continue"});
  CO_TRY(co_await cluster.store->compact(cluster.store->current_revision()));
  CO_CALL(expired, "GET", cat(kMaps, "?limit=4&continue=", token));
  CO_EXPECT_STATUS(expired, 410);
  EXPECT_TRUE(expired.text({"message"}).starts_with("The provided continue parameter is too old to display a consistent list result.")) << expired.body;
  CO_CALL(inconsistent, "GET", cat(kMaps, "?limit=4&continue=", expired.text({"metadata", "continue"})));
  CO_EXPECT_STATUS(inconsistent, 200);
  for (std::string_view forged : {"x", "eyJ2IjoibWV0YS5rOHMuaW8vdjEiLCJydiI6MSwic3RhcnQiOiIvLi4vc2VjcmV0cy9hIn0"}) {
    CO_CALL(refused, "GET", cat(kMaps, "?limit=4&continue=", forged));
    CO_EXPECT_STATUS(refused, 400);
  }
  co_return Result<>();
}
TEST(List, PagesAreOneSnapshotUnderWrites) { with_cluster(paged); }

async::Task<Result<>> field_selectors(TestCluster& cluster) {
  for (int i = 0; i < 3; ++i) {
    CO_CALL(made, "POST", kMaps, config_map(cat("m", i)));
  }
  CO_CALL(one, "GET", kMaps + "?fieldSelector=metadata.name%3Dm1");
  json::Value tree = one.tree();
  EXPECT_EQ(json::get_array(tree, {"items"})->size(), 1U);
  CO_CALL(others, "GET", "/api/v1/configmaps?fieldSelector=metadata.name!%3Dm1,metadata.namespace%3Ddefault");
  tree = others.tree();
  EXPECT_EQ(json::get_array(tree, {"items"})->size(), 2U);
  CO_CALL(unknown, "GET", kMaps + "?fieldSelector=data.x%3D1");
  CO_EXPECT_STATUS(unknown, 400);
  CO_CALL(broken, "GET", kMaps + "?labelSelector=%28%28");
  CO_EXPECT_STATUS(broken, 400);
  co_return Result<>();
}
TEST(List, FieldSelectorsChooseByNameAndNamespace) { with_cluster(field_selectors); }

async::Task<Result<>> local_access(TestCluster& cluster) {
  auto api = cluster.server->local(system_user("test"));
  ResourceName maps{"", "v1", "configmaps"};
  CO_TRY_ASSIGN(auto watch, co_await api->watch(maps, "default", {.send_initial_events = true}));
  CO_TRY_ASSIGN(ObjectPtr made, co_await api->create({maps, "default", "", ""}, config_map("a"), {}));
  CO_TRY_ASSIGN(WatchEvent mark, co_await watch->next());
  EXPECT_TRUE(mark.initial_events_end);
  CO_TRY_ASSIGN(WatchEvent added, co_await watch->next());
  EXPECT_EQ(added.object->name(), "a");
  CO_TRY_ASSIGN(ObjectPtr got, co_await api->get({maps, "default", "a", ""}));
  EXPECT_EQ(got->json().get(), added.object->json().get()) << "the bytes are the cache's own";
  EXPECT_EQ(got->label("k"), "x");
  auto missing = co_await api->get({maps, "default", "b", ""});
  CO_ASSERT_TRUE(!missing);
  EXPECT_EQ(missing.error().code(), Code::kNotFound);
  UserInfo nobody{"bob", {}, {"system:authenticated"}, {}};
  auto refused = co_await cluster.server->local(nobody)->get({maps, "default", "a", ""});
  CO_ASSERT_TRUE(!refused);
  EXPECT_EQ(refused.error().code(), Code::kPermissionDenied);
  EXPECT_EQ(refused.error().message(),
            "configmaps \"a\" is forbidden: User \"bob\" cannot get resource \"configmaps\" in API group \"\" in the namespace \"default\"");
  CO_TRY(co_await api->remove({maps, "default", "a", ""}, {}));
  CO_TRY_ASSIGN(WatchEvent deleted, co_await watch->next());
  EXPECT_EQ(deleted.type, EventType::kDeleted);
  co_return Result<>();
}
TEST(Local, SharesTheCachesBytesAndIsAuthorised) { with_cluster(local_access); }

}  // namespace
}  // namespace monopod::api
