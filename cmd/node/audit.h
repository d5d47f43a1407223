// The audit log's options, and the file it goes to.
#pragma once

#include <optional>

#include "api/audit/policy.h"
#include "api/audit/sink.h"
#include "async/event.h"
#include "async/pool.h"
#include "cmd/command.h"
#include "sys/rotating_file.h"

namespace monopod::cmd {

// Names and meaning of kube-apiserver's flags; where theirs keeps any number of old files, ours keeps 10 unless told otherwise.
struct AuditOptions {
  std::string policy_file;
  std::string log_path;     // "-": standard output
  int log_age_days = 0;     // 0: any age
  int log_backups = 10;     // 0: any number
  int log_megabytes = 100;
};

void add_audit_options(CLI::App& app, AuditOptions& options);
// Null where nothing is to be audited. kInvalidArgument: one of the two files alone, or a policy that is wrong, and where.
Result<std::shared_ptr<const api::audit::Policy>> read_audit_policy(const AuditOptions& options);

// Lines are collected and written together on the pool; requests wait while more than kQueueBytesMax are not written.
class AuditLog final : public api::audit::Sink {
 public:
  static constexpr std::size_t kQueueBytesMax = 8U << 20;

  // pool and clock outlive it.
  static Result<std::unique_ptr<AuditLog>> open(async::Executor executor, async::Pool& pool, const Clock& clock, const AuditOptions& options);

  ~AuditLog() override;  // writes what is left

  void append(std::string line) override;
  async::Task<Result<>> wait_for_room() override;
  std::uint64_t lost() const override { return lost_; }

  // Writes until cancelled. forever: the caller's scope ends it.
  async::Task<Result<>> run();

 private:
  AuditLog(async::Executor executor, async::Pool& pool, const Clock& clock) : pool_(pool), clock_(clock), changed_(executor) {}
  Result<> write(const std::string& lines);
  void written(Result<> result);

  async::Pool& pool_;
  const Clock& clock_;
  async::Notify changed_;
  std::optional<sys::RotatingFile> file_;  // none: standard output
  std::string queue_;
  std::uint64_t queued_ = 0, writing_ = 0;  // lines
  std::uint64_t lost_ = 0;
  bool failing_ = false;
};

}  // namespace monopod::cmd
