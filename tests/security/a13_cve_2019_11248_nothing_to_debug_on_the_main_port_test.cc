// A13: profiles, dumps and settings of a running process are on no port of the API server, for nobody (CVE-2019-11248, CVE-2021-28235); its
// figures are for who may read them.
#include <gtest/gtest.h>

#include "api/testing.h"
#include "base/bytes.h"
#include "base/strings.h"

namespace monopod::api {
namespace {

async::Task<Result<>> paths(TestCluster& cluster) {
  for (std::string path : {"/debug", "/debug/", "/debug/pprof", "/debug/pprof/", "/debug/pprof/heap", "/debug/pprof/profile?seconds=1", "/debug/pprof/cmdline", "/debug/flags/v", "/debug/requests", "/debug/vars",
                           "/debug/api_priority_and_fairness/dump_queues", "/configz", "/statusz", "/flagz", "/logs", "/logs/", "/logs/../etc/passwd", "/stats/summary", "/spec", "/env", "/config/dump", "/quitquitquit", "/server-status", "/swagger-ui/", "/ui"}) {
    CO_CALL(admin, "GET", path);
    EXPECT_EQ(admin.status, 404) << path << ' ' << admin.body.substr(0, 200);
    CO_CALL(put, "PUT", path, "5");
    EXPECT_TRUE(put.status == 404 || put.status == 405) << path << ' ' << put.status;
    for (std::string_view authorization : {"", "Bearer alice-token", "Bearer node-token"}) {
      CO_CALL(other, "GET", path, "", {{"authorization", authorization}});
      EXPECT_EQ(other.status, 403) << path << ' ' << authorization;
    }
  }
  for (std::string_view authorization : {"", "Bearer alice-token"}) {
    CO_CALL(metrics, "GET", "/metrics", "", {{"authorization", authorization}});
    CO_EXPECT_STATUS(metrics, 403);
  }
  CO_CALL(metrics, "GET", "/metrics");
  CO_EXPECT_STATUS(metrics, 200);
  for (std::string_view open : {"/healthz", "/livez", "/readyz", "/version"}) {
    CO_CALL(reply, "GET", std::string(open), "", {{"authorization", ""}});
    EXPECT_EQ(reply.status, 200) << open;
    EXPECT_LT(reply.body.size(), 1'000U) << open;
  }
  co_return Result<>();
}
TEST(A13Debugging, IsNotOnTheMainPort) { with_cluster(paths); }

}  // namespace
}  // namespace monopod::api
