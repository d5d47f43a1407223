#include "tests/robustness/store/server_process.h"

#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <iterator>

#include "base/strings.h"

extern char** environ;  // NOLINT: POSIX

namespace monopod::testing {

ServerProcess::ServerProcess(const std::string& data_dir, std::vector<std::string> extra, std::vector<std::string> environment, const std::string& prepare,
                             const std::string& store_dir)
    : data_dir_(data_dir), log_(data_dir + "/stderr") {
  std::filesystem::create_directories(data_dir_);
  const char* binary = ::getenv("MONOPOD_BINARY");
  std::vector<std::string> words;
  if (!prepare.empty()) words = {"/usr/bin/unshare", "-m", "--propagation", "private", "/bin/sh", "-c", prepare + " && exec \"$0\" \"$@\""};
  words.insert(words.end(), {binary ? binary : MONOPOD_BINARY_PATH, "store", "serve", "--data-dir", store_dir.empty() ? data_dir_ : store_dir, "--listen", cat("unix:", data_dir_, "/socket")});
  words.insert(words.end(), extra.begin(), extra.end());
  std::vector<char*> arguments, variables;
  for (std::string& word : words) arguments.push_back(word.data());
  arguments.push_back(nullptr);
  for (std::string& variable : environment) variables.push_back(variable.data());
  for (char** variable = environ; *variable; ++variable) variables.push_back(*variable);
  variables.push_back(nullptr);
  posix_spawn_file_actions_t actions;
  ::posix_spawn_file_actions_init(&actions);
  ::posix_spawn_file_actions_addopen(&actions, 2, log_.c_str(), O_WRONLY | O_CREAT | O_TRUNC, 0600);
  if (::posix_spawn(&pid_, arguments[0], &actions, nullptr, arguments.data(), variables.data()) != 0) pid_ = -1;
  ::posix_spawn_file_actions_destroy(&actions);
}

ServerProcess::~ServerProcess() {
  if (!running()) return;
  kill(SIGKILL);
  (void)wait();
}

void ServerProcess::kill(int signal) const {
  if (pid_ > 0 && status_ < 0) ::kill(pid_, signal);
}

int ServerProcess::wait() {
  int status = 0;
  if (pid_ > 0 && status_ < 0 && ::waitpid(pid_, &status, 0) == pid_) status_ = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
  return status_;
}

bool ServerProcess::running() {
  int status = 0;
  if (pid_ > 0 && status_ < 0 && ::waitpid(pid_, &status, WNOHANG) == pid_) status_ = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
  return pid_ > 0 && status_ < 0;
}

std::string ServerProcess::output() const {
  std::ifstream file(log_);
  return {std::istreambuf_iterator<char>(file), {}};
}

}  // namespace monopod::testing
