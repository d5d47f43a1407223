// Stages side by side: who may begin, who waits for whom, and what the containers of their steps write.
#include <fcntl.h>
#include <sched.h>

#include "base/bytes.h"
#include "base/strings.h"
#include "build/build.h"
#include "build/limits.h"
#include "sys/files.h"
#include "sys/root.h"
#include "sys/stream.h"

namespace monopod::build {

using async::Task;

namespace {

// By processors and by the memory that is free now; at least two, since steps wait for networks more than for processors.
std::size_t default_jobs() {
  ::cpu_set_t set;
  std::size_t jobs = ::sched_getaffinity(0, sizeof set, &set) == 0 ? static_cast<std::size_t>(CPU_COUNT(&set)) : 2;
  jobs = std::clamp<std::size_t>(jobs, 2, kJobsMax);
  const std::string memory = sys::read_host_file("/proc/meminfo").value_or("");
  std::size_t at = memory.find("MemAvailable:");
  if (at == std::string::npos) return jobs;
  at = memory.find_first_of("0123456789", at);
  auto kib = at == std::string::npos ? std::nullopt : parse_int<std::uint64_t>(std::string_view(memory).substr(at, memory.find(' ', at) - at));
  return kib ? std::clamp<std::size_t>(*kib * 1024 / kJobBytes, 1, jobs) : jobs;
}

// Whether each stage of the plan stands on the one before it: nothing can be built beside another.
bool is_chain(const Plan& plan) {
  std::vector<std::vector<bool>> below(plan.stages.size(), std::vector<bool>(plan.stages.size()));  // below[i][j]: i stands on j
  for (std::size_t i : plan.order)
    for (std::size_t needed : plan.stages[i].needs) {
      below[i][needed] = true;
      for (std::size_t j = 0; j < needed; ++j) below[i][j] = below[i][j] || below[needed][j];
    }
  for (std::size_t i = 1; i < plan.order.size(); ++i)
    if (!below[plan.order[i]][plan.order[i - 1]]) return false;
  return true;
}

}  // namespace

std::string mark_lines(std::string_view lines, std::string_view mark) {
  std::string out;
  for (std::size_t at = 0; at < lines.size();) {
    const std::size_t end = std::min(lines.find('\n', at), lines.size() - 1) + 1;
    out += cat(mark, lines.substr(at, end - at));
    at = end;
  }
  return out;
}

Task<Result<>> Build::enter(std::string name) {
  while (turns_.contains(name)) CO_TRY(co_await changed_->wait());  // forever: who is in there leaves, or the build ends
  turns_.insert(std::move(name));
  co_return Result<>{};
}

void Build::leave(const std::string& name) {
  turns_.erase(name);
  changed_->wake_all();
}

Task<Result<>> Build::build_in_turn(std::size_t index) {
  const Stage& stage = plan_.stages[index];
  auto waits = [&] { return building_ >= jobs_ || !std::ranges::all_of(stage.needs, [this](std::size_t needed) { return done_[needed]; }); };
  while (waits()) CO_TRY(co_await changed_->wait());  // forever: the other stages end, or the build does
  Slot slot(*this);
  co_return co_await build_once(index);
}

// Also for a trigger of a base that names a stage which nobody knew to be needed, or which has not had its turn: in the slot of the stage that needs it. Stages need those before
// them alone, so nobody waits in a circle.
Task<Result<>> Build::build_once(std::size_t index) {
  const std::string name = cat("stage ", index);
  CO_TRY(co_await enter(name));
  Turn turn(*this, name);
  if (done_[index]) co_return Result<>{};
  const Stage& stage = plan_.stages[index];
  for (std::size_t needed : stage.needs) CO_TRY(co_await build_once(needed));
  if (first_step_[index] == 0) {  // of no plan
    first_step_[index] = steps_ + 1;
    steps_ += stage.instructions.size();
  }
  CO_TRY(co_await build_stage(stage));
  done_[index] = true;
  co_return Result<>{};
}

Task<Result<>> Build::build_stages() {
  changed_.emplace(co_await async::this_executor());
  jobs_ = options_.jobs > 0 ? options_.jobs : default_jobs();
  alone_ = is_chain(plan_) || jobs_ == 1;
  struct Body {
    Build& build;
    Task<Result<>> operator()(async::Scope& scope) const {
      for (std::size_t index : build.plan_.order) scope.spawn(build.build_in_turn(index));
      co_return co_await scope.join();
    }
  };
  co_return co_await async::run_scoped(Body{*this});
}

// Of a step that others may run beside, whole lines at a time.
Task<Result<>> Build::relay_output(const Current& at, sys::Fd pipe) {
  auto from = sys::make_stream(co_await async::this_executor(), std::move(pipe));
  StepReport report = at.step;
  report.kind = StepReport::Kind::kOutput;
  std::array<std::byte, 4096> buffer;
  std::string held;
  for (;;) {
    CO_TRY_ASSIGN(std::size_t n, co_await from->read_some(buffer));
    held += as_text(std::span(buffer).first(n));
    std::size_t whole = alone_ ? held.size() : held.rfind('\n') + 1;  // none: 0
    if (n == 0 || (whole == 0 && held.size() > kLineBytesMax)) {
      if (!alone_ && !held.empty() && !held.ends_with('\n')) held += '\n';
      whole = held.size();
    }
    report.text = held.substr(0, whole);
    held.erase(0, whole);
    if (!report.text.empty()) CO_TRY(co_await tell(report));
    if (n == 0) co_return Result<>{};
  }
}

Task<Result<int>> Build::run_container(const Current& at, const RunStep& step) {
  CO_TRY_ASSIGN(sys::Pipe pipe, sys::make_pipe());
  CO_TRY_ASSIGN(std::unique_ptr<StepBundle> bundle, co_await parts_.pool.run([&] { return StepBundle::make(step); }));
  struct Body {
    Build& build;
    const Current& at;
    const RunStep& step;
    sys::Pipe& pipe;
    Result<int>& code;
    Task<Result<>> operator()(async::Scope& scope) const {
      scope.spawn(build.relay_output(at, std::move(pipe.read)));
      code = co_await build.parts_.run(step.bundle, step.id, pipe.write.get());
      pipe.write.reset();
      co_return co_await scope.join();
    }
  };
  Result<int> code = fail(Code::kCancelled, "cancelled");
  CO_TRY(co_await async::run_scoped(Body{*this, at, step, pipe, code}));
  co_await parts_.pool.run([&bundle] { bundle.reset(); });
  co_return code;
}

}  // namespace monopod::build
