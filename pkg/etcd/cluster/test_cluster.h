// For tests: Debian's etcd as a cluster of processes on loopback, in a directory of its own (in memory where /dev/shm is).
//
//   if (!EtcdCluster::available()) GTEST_SKIP() << EtcdCluster::kNeeds;
//   EtcdCluster cluster({.members = 3});
//   ASSERT_TRUE(cluster.start());            // returns when every member answers
//   cluster.kill(0); cluster.launch(0); cluster.pause(1); cluster.resume(1);
//
// The destructor ends its processes and removes the directory.
#pragma once

#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <fcntl.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <random>
#include <string>
#include <vector>

#include "base/clock.h"
#include "base/strings.h"
#include "http/server.h"
#include "pki/pki.h"

namespace monopod::etcd {

struct EtcdClusterOptions {
  int members = 1;
  bool tls = false;  // clients must show a certificate
  int heartbeat_ms = 50;
  int election_ms = 500;
};

class EtcdCluster {
 public:
  static constexpr const char* kNeeds = "needs /usr/bin/etcd (package etcd-server)";
  static bool available() { return ::access("/usr/bin/etcd", X_OK) == 0; }

  explicit EtcdCluster(EtcdClusterOptions options = {}) : options_(options), members_(static_cast<std::size_t>(options.members)) {
    std::string name = cat(::access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp", "/monopod-etcd-XXXXXX");
    dir_ = ::mkdtemp(name.data());
  }
  ~EtcdCluster() {
    for (std::size_t i = 0; i < members_.size(); ++i) kill(i);
    std::error_code ignored;
    std::filesystem::remove_all(dir_, ignored);
  }
  EtcdCluster(const EtcdCluster&) = delete;
  EtcdCluster& operator=(const EtcdCluster&) = delete;

  Result<> start() {
    if (options_.tls) TRY(make_certificates());
    for (Process& member : members_) {
      TRY_ASSIGN(member.client_port, free_port());
      TRY_ASSIGN(member.peer_port, free_port());
    }
    for (std::size_t i = 0; i < members_.size(); ++i) TRY(launch(i));
    for (std::size_t i = 0; i < members_.size(); ++i) TRY(wait_for(i));
    return {};
  }

  // A member again after kill(), with its data.
  Result<> launch(std::size_t i) {
    std::vector<std::string> arguments = arguments_of(i);
    std::vector<char*> argv;
    for (std::string& argument : arguments) argv.push_back(argument.data());
    argv.push_back(nullptr);
    std::string log = cat(dir_, "/m", i, ".log");
    pid_t pid = ::fork();
    if (pid < 0) return fail_errno("fork");
    if (pid == 0) {
      ::prctl(PR_SET_PDEATHSIG, SIGKILL);
      int fd = ::open(log.c_str(), O_WRONLY | O_CREAT | O_APPEND, 0600);
      ::dup2(fd, 1);
      ::dup2(fd, 2);
      ::close_range(3, ~0U, 0);
      ::execv("/usr/bin/etcd", argv.data());
      ::_exit(127);
    }
    members_[i].pid = pid;
    return {};
  }
  // SIGKILL, and waits for its end.
  void kill(std::size_t i) {
    if (members_[i].pid <= 0) return;
    ::kill(members_[i].pid, SIGCONT);
    ::kill(members_[i].pid, SIGKILL);
    ::waitpid(members_[i].pid, nullptr, 0);
    members_[i].pid = 0;
  }
  // SIGTERM: it hands over and ends.
  void terminate(std::size_t i) {
    ::kill(members_[i].pid, SIGTERM);
    ::waitpid(members_[i].pid, nullptr, 0);
    members_[i].pid = 0;
  }
  void pause(std::size_t i) { ::kill(members_[i].pid, SIGSTOP); }
  void resume(std::size_t i) {
    if (members_[i].pid > 0) ::kill(members_[i].pid, SIGCONT);
  }
  bool running(std::size_t i) const { return members_[i].pid > 0; }

  std::string url(std::size_t i) const { return cat(options_.tls ? "https" : "http", "://127.0.0.1:", members_[i].client_port); }
  std::vector<std::string> urls() const {
    std::vector<std::string> out;
    for (std::size_t i = 0; i < members_.size(); ++i) out.push_back(url(i));
    return out;
  }
  std::size_t size() const { return members_.size(); }
  const std::string& dir() const { return dir_; }
  const std::string& ca_pem() const { return ca_pem_; }
  const pki::KeyPair& client_pair() const { return client_; }
  std::string log_of(std::size_t i) const {
    std::ifstream file(cat(dir_, "/m", i, ".log"));
    return {std::istreambuf_iterator<char>(file), {}};
  }
  // Runs etcdctl against the whole cluster, or one member; its output.
  std::string etcdctl(const std::string& arguments, int member = -1, bool* succeeded = nullptr) const {
    std::string command = cat("ETCDCTL_API=3 ETCDCTL_ENDPOINTS=", member < 0 ? join(urls(), ",") : url(static_cast<std::size_t>(member)), " timeout 20 etcdctl ");
    if (options_.tls) command += cat("--cacert ", dir_, "/ca.pem --cert ", dir_, "/client.pem --key ", dir_, "/client.key ");
    FILE* pipe = ::popen(cat(command, arguments, " 2>&1").c_str(), "r");
    std::string text;
    char buffer[4096];
    for (std::size_t n; (n = ::fread(buffer, 1, sizeof buffer, pipe)) > 0;) text.append(buffer, n);
    bool ok = ::pclose(pipe) == 0;
    if (succeeded != nullptr) *succeeded = ok;
    return text;
  }

 private:
  struct Process {
    pid_t pid = 0;
    std::uint16_t client_port = 0;
    std::uint16_t peer_port = 0;
  };

  // Below the range the kernel gives to clients, so that it stays free until etcd binds it.
  static Result<std::uint16_t> free_port() {
    std::random_device random;
    for (int tries = 0; tries < 1000; ++tries) {
      auto port = static_cast<std::uint16_t>(20'000 + random() % 12'000);
      if (http::listen_tcp("127.0.0.1", port)) return port;
    }
    return fail(Code::kUnavailable, "no free port");
  }

  std::vector<std::string> arguments_of(std::size_t i) const {
    std::string cluster;
    for (std::size_t k = 0; k < members_.size(); ++k) cluster += cat(k ? "," : "", "m", k, "=http://127.0.0.1:", members_[k].peer_port);
    std::string peer = cat("http://127.0.0.1:", members_[i].peer_port);
    std::vector<std::string> out = {"etcd", "--name", cat("m", i), "--data-dir", cat(dir_, "/m", i), "--listen-client-urls", url(i), "--advertise-client-urls", url(i),
                                    "--listen-peer-urls", peer, "--initial-advertise-peer-urls", peer, "--initial-cluster", cluster, "--heartbeat-interval",
                                    std::to_string(options_.heartbeat_ms), "--election-timeout", std::to_string(options_.election_ms), "--log-level", "warn", "--logger", "zap"};
    if (options_.tls)
      out.insert(out.end(), {"--cert-file", cat(dir_, "/server.pem"), "--key-file", cat(dir_, "/server.key"), "--trusted-ca-file", cat(dir_, "/ca.pem"), "--client-cert-auth"});
    return out;
  }

  Result<> make_certificates() {
    RealClock clock;
    TRY_ASSIGN(pki::CertificateAuthority ca, pki::CertificateAuthority::make(clock));
    TRY_ASSIGN(pki::KeyPair server, ca.issue(clock, {.common_name = "etcd", .dns_names = {"localhost"}, .ip_addresses = {"127.0.0.1"}, .server = true, .client = true}));
    TRY_ASSIGN(client_, ca.issue(clock, {.common_name = "monopod", .client = true}));
    ca_pem_ = ca.certificate_pem();
    std::ofstream(dir_ + "/ca.pem") << ca_pem_;
    std::ofstream(dir_ + "/server.pem") << server.certificate_pem;
    std::ofstream(dir_ + "/server.key") << server.key_pem;
    std::ofstream(dir_ + "/client.pem") << client_.certificate_pem;
    std::ofstream(dir_ + "/client.key") << client_.key_pem;
    return {};
  }

  // Blocks until the member listens and its cluster has a leader: it is not a server before.
  Result<> wait_for(std::size_t i) {
    for (int tries = 0; tries < 300; ++tries) {
      bool healthy = false;
      (void)etcdctl("endpoint health", static_cast<int>(i), &healthy);
      if (healthy) return {};
      if (::waitpid(members_[i].pid, nullptr, WNOHANG) != 0) {
        members_[i].pid = 0;
        return fail(Code::kUnavailable, cat("etcd ended: ", log_of(i)));
      }
      ::usleep(50'000);
    }
    return fail(Code::kDeadlineExceeded, cat("etcd does not answer: ", log_of(i)));
  }

  EtcdClusterOptions options_;
  std::vector<Process> members_;
  std::string dir_;
  std::string ca_pem_;
  pki::KeyPair client_;
};

}  // namespace monopod::etcd
