// `monopod store fsck`: the full check of a database file that nobody has open.
#include <cstdio>

#include "base/strings.h"
#include "cmd/store/commands.h"
#include "cmd/store/output.h"
#include "cmd/store/remote.h"
#include "store/offline.h"
#include "sys/terminal.h"

namespace monopod::cmd {
namespace {

struct FsckCommand {
  std::string file;
  std::string output = "text";
};

void print_report(const FsckCommand& command, const store::FsckReport& report) {
  if (command.output == "json") {
    json::Array findings;
    for (const store::Finding& f : report.findings) findings.push_back(json::Object{{"place", f.place}, {"problem", f.problem}});
    print_json(json::Object{{"file", command.file}, {"sound", report.findings.empty()}, {"findings", std::move(findings)}, {"more", report.more}, {"rows", report.rows},
                            {"live_keys", report.live_keys}, {"revision", report.revision.value}, {"compact_revision", report.compacted.value}, {"file_bytes", report.file_bytes}});
    return;
  }
  if (!report.findings.empty()) {
    sys::Table table({"PLACE", "PROBLEM"});
    for (const store::Finding& f : report.findings) table.add({f.place, f.problem});
    table.print();
    if (report.more) std::printf("... and more: the check stopped here\n");
  }
  std::printf("%s: %s, %lld keys in %lld rows, revision %lld, %s\n", command.file.c_str(), report.findings.empty() ? "sound" : "damaged", static_cast<long long>(report.live_keys),
              static_cast<long long>(report.rows), static_cast<long long>(report.revision.value), sys::format_size(report.file_bytes).c_str());
}

Result<> check(const FsckCommand& command) {
  sys::ProgressBar bar(command.file, sys::ProgressBar::Unit::kCount);
  Result<store::FsckReport> report = store::fsck(command.file, [&bar](std::string_view step, std::int64_t done, std::int64_t total) { bar.update(done, total, step); });
  bar.finish();
  if (!report) return fail(std::move(report).error());
  print_report(command, *report);
  if (!report->findings.empty()) return fail(Code::kDataLoss, cat(command.file, ": damaged; restore a backup (monopod store snapshot restore)"));
  return {};
}

}  // namespace

void add_store_fsck(CLI::App& store, Invocation& invocation) {
  CLI::App* app = add_command(store, "fsck", "Check a database file that nobody has open",
                              "  sudo systemctl stop monopod && sudo monopod store fsck /var/lib/monopod/state.db\n"
                              "  monopod store fsck state.db -o json");
  auto command = std::make_shared<FsckCommand>();
  app->add_option("file", command->file, "state.db")->required();
  add_output_option(*app, command->output);
  app->callback([command, &invocation] { invocation.run = [command] { return report_store("fsck", check(*command)); }; });
}

}  // namespace monopod::cmd
