#include "cmd/node/audit.h"

#include "base/log.h"
#include "base/strings.h"
#include "cmd/host.h"
#include "sys/root.h"

namespace monopod::cmd {

void add_audit_options(CLI::App& app, AuditOptions& o) {
  app.add_option("--audit-policy-file", o.policy_file, "Which requests are audited, and how much of them: an audit.k8s.io/v1 Policy")->envname("MONOPOD_AUDIT_POLICY_FILE");
  app.add_option("--audit-log-path", o.log_path, "Audit events go to this file, one line of JSON each; \"-\" is standard output")->envname("MONOPOD_AUDIT_LOG_PATH");
  app.add_option("--audit-log-maxage", o.log_age_days, "Days to keep old audit files; 0: no limit")->check(CLI::Range(0, 36500))->envname("MONOPOD_AUDIT_LOG_MAXAGE")->capture_default_str();
  app.add_option("--audit-log-maxbackup", o.log_backups, "Old audit files to keep; 0: no limit")->check(CLI::Range(0, 100000))->envname("MONOPOD_AUDIT_LOG_MAXBACKUP")->capture_default_str();
  app.add_option("--audit-log-maxsize", o.log_megabytes, "Megabytes in an audit file before it is put aside")->check(CLI::Range(1, 100000))->envname("MONOPOD_AUDIT_LOG_MAXSIZE")->capture_default_str();
}

Result<std::shared_ptr<const api::audit::Policy>> read_audit_policy(const AuditOptions& o) {
  if (o.policy_file.empty() && o.log_path.empty()) return std::shared_ptr<const api::audit::Policy>();
  if (o.log_path.empty()) return fail(Code::kInvalidArgument, "--audit-policy-file says what to audit, but not where to: give --audit-log-path too");
  if (o.policy_file.empty()) return fail(Code::kInvalidArgument, "--audit-log-path says where audit events go, but not which: give --audit-policy-file too");
  TRY_ASSIGN(std::string text, read_file(o.policy_file));
  Result<api::audit::Policy> policy = api::audit::parse_policy(text);
  if (!policy) return fail(Code::kInvalidArgument, cat("audit policy ", o.policy_file, ": ", policy.error().message()));
  return std::make_shared<const api::audit::Policy>(std::move(*policy));
}

Result<std::unique_ptr<AuditLog>> AuditLog::open(async::Executor executor, async::Pool& pool, const Clock& clock, const AuditOptions& o) {
  std::unique_ptr<AuditLog> out(new AuditLog(executor, pool, clock));
  if (o.log_path == "-") return out;
  sys::RotationLimits limits{.bytes_max = static_cast<std::uint64_t>(o.log_megabytes) << 20, .old_files_max = o.log_backups, .age_max = std::chrono::days(o.log_age_days)};
  Result<sys::RotatingFile> file = sys::RotatingFile::open(o.log_path, limits);
  if (!file) return fail(std::move(file).error().with("--audit-log-path"));
  out->file_.emplace(std::move(*file));
  return out;
}

AuditLog::~AuditLog() {
  if (!queue_.empty()) written(write(queue_));
}

void AuditLog::append(std::string line) {
  queue_ += line;
  ++queued_;
  if (queued_ == 1) changed_.wake_all();
}

async::Task<Result<>> AuditLog::wait_for_room() {
  while (queue_.size() > kQueueBytesMax) CO_TRY(co_await changed_.wait());
  co_return Result<>();
}

Result<> AuditLog::write(const std::string& lines) { return file_ ? file_->write(lines, clock_.wall()) : sys::write_all(1, lines); }

void AuditLog::written(Result<> result) {
  if (!result) lost_ += writing_;
  if (!result && !failing_) log::error("audit events are lost", {{"why", result.error()}});  // once, until it works again
  if (result && failing_) log::info("audit events are written again", {{"lost", lost_}});
  failing_ = !result.has_value();
}

async::Task<Result<>> AuditLog::run() {
  while (true) {
    while (queue_.empty()) CO_TRY(co_await changed_.wait());
    std::string lines = std::exchange(queue_, {});
    writing_ = std::exchange(queued_, 0);
    changed_.wake_all();
    Result<> result = co_await pool_.run([this, &lines] { return write(lines); });
    written(std::move(result));
  }
}

}  // namespace monopod::cmd
