// For tests: bodies that run in a network namespace of their own, in a child process, and more namespaces beside it.
// Needs CAP_SYS_ADMIN and CAP_NET_ADMIN; skips loudly without.
#pragma once

#include <gtest/gtest.h>
#include <sched.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdio>
#include <functional>
#include <thread>

#include "async/test_support.h"
#include "base/strings.h"
#include "network/netlink/route.h"
#include "network/network.h"
#include "sys/namespaces.h"

namespace monopod::network {

// A namespace that lives as long as its descriptor.
class TestNamespace {
 public:
  TestNamespace() {
    Result<> made;
    std::thread([&] {
      if (::unshare(CLONE_NEWNET) != 0) {
        made = fail_errno("unshare");
        return;
      }
      Result<sys::Fd> own = sys::own_namespace("net");
      if (own) fd_ = std::move(*own);
      Result<netlink::RouteSocket> route = netlink::RouteSocket::open();
      if (route) made = route->set_up(1);
    }).join();
    EXPECT_TRUE(made) << (made ? "" : made.error().message());
    EXPECT_TRUE(fd_);
  }
  std::string path() const { return cat("/proc/self/fd/", fd_.get()); }
  int fd() const { return fd_.get(); }
  // On a thread inside; what it returns.
  template <typename F>
  auto run(F work) const {
    std::optional<std::invoke_result_t<F>> out;
    Result<> entered = sys::run_in_network_namespace(fd_.get(), [&]() -> Result<> {
      out.emplace(work());
      return {};
    });
    EXPECT_TRUE(entered) << (entered ? "" : entered.error().message());
    return std::move(*out);
  }

 private:
  sys::Fd fd_;
};

// Runs body in a child process with a fresh network namespace. The child's failures are printed and fail the test.
inline void in_test_namespace(const std::function<void()>& body) {
  std::fflush(nullptr);
  pid_t child = ::fork();
  ASSERT_GE(child, 0);
  if (child == 0) {
    if (::unshare(CLONE_NEWNET) != 0) ::_exit(77);
    ::alarm(60);
    Result<netlink::RouteSocket> route = netlink::RouteSocket::open();
    if (!route || !route->set_up(1)) ::_exit(76);
    body();
    std::fflush(nullptr);
    ::_exit(testing::Test::HasFailure() ? 1 : 0);
  }
  int status = 0;
  ASSERT_EQ(::waitpid(child, &status, 0), child);
  if (WIFEXITED(status) && WEXITSTATUS(status) == 77) {
    GTEST_SKIP() << "cannot make a network namespace: needs CAP_SYS_ADMIN";
  }
  EXPECT_TRUE(WIFEXITED(status) && WEXITSTATUS(status) == 0) << "child status " << status;
}

inline IpAddress ip(std::string_view text) { return *parse_ip(text); }
inline Cidr cidr(std::string_view text) { return *parse_cidr(text); }

}  // namespace monopod::network
