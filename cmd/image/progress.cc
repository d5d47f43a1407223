#include "cmd/image/progress.h"

#include <cstdio>

#include "base/strings.h"

namespace monopod::cmd {
namespace {

using Kind = build::StepReport::Kind;

constexpr std::size_t kTailBytes = 8U << 10;
constexpr std::size_t kInstructionBytes = 200;  // of one that is shown

}  // namespace

async::Task<Result<>> BuildProgress::report(build::StepReport step) {
  const std::string head = step.trigger ? cat("[", step.stage, " trigger]") : cat("[", step.stage, " ", step.number, "/", step.total, "]");
  if (step.kind == Kind::kBegins) running_[head] = sys::printable(std::string_view(step.text).substr(0, kInstructionBytes));
  if (step.kind == Kind::kEnds) {
    if (!step.trigger) ++done_;
    json::Object entry{{"stage", step.stage}, {"number", step.number}, {"text", step.text}, {"cached", step.cached}, {"milliseconds", std::chrono::duration_cast<std::chrono::milliseconds>(step.took).count()}};
    if (step.trigger) entry["trigger"] = true;
    steps_.emplace_back(std::move(entry));
  }
  if (step.kind == Kind::kEnds || step.kind == Kind::kFails) running_.erase(head);
  if (quiet_) {
    std::string& tail = written_[head];
    if (step.kind == Kind::kOutput) tail += step.text;
    if (tail.size() > kTailBytes) tail.erase(0, tail.size() - kTailBytes);
    if (step.kind == Kind::kFails) std::fwrite(tail.data(), 1, tail.size(), stderr);
    if (step.kind != Kind::kOutput) written_.erase(head);
    co_return Result<>{};
  }
  bar_.finish();
  print(step, head);
  if (step.kind != Kind::kOutput || !step.alone) draw(step.total);  // a line that has not ended stays
  co_return Result<>{};
}

void BuildProgress::print(const build::StepReport& step, const std::string& head) {
  if (step.kind == Kind::kBegins) std::fprintf(stderr, "%s %s\n", head.c_str(), running_.at(head).c_str());
  else if (step.kind == Kind::kFails) std::fprintf(stderr, "%s failed\n", head.c_str());
  else if (step.kind == Kind::kEnds && step.cached) std::fprintf(stderr, "%s cached\n", head.c_str());
  else if (step.kind == Kind::kEnds) std::fprintf(stderr, "%s done in %lld ms\n", head.c_str(), static_cast<long long>(std::chrono::duration_cast<std::chrono::milliseconds>(step.took).count()));
  else {
    const std::string text = step.alone ? step.text : build::mark_lines(step.text, head + " ");
    std::fwrite(text.data(), 1, text.size(), stderr);
  }
}

void BuildProgress::draw(std::size_t total) {
  std::string now;
  for (const auto& [head, text] : running_) now += cat(now.empty() ? "" : " ", head);
  bar_.update(static_cast<std::int64_t>(done_), static_cast<std::int64_t>(total), now);
}

}  // namespace monopod::cmd
