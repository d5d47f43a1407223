// run: create, start, wait, delete in one; and its own terminal.
#include <sys/prctl.h>
#include <unistd.h>

#include "base/strings.h"
#include "container/oci/console.h"
#include "container/oci/runtime.h"

namespace monopod::container::oci {

Result<int> Runtime::run(const CreateOptions& options, const RunOptions& run) {
  // Whose process must be ours to be waited for.
  if (!run.detach && run.subreaper) ::prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0);
  Foreground foreground;
  CreateOptions create_options = options;
  if (!run.detach) {
    TRY(foreground.prepare());
    create_options.on_terminal = [&](sys::Fd master) { return foreground.take_terminal(std::move(master)); };
  }
  TRY(create(create_options));
  auto undo = [&](Error error) -> Result<int> {
    (void)remove(options.id, true);
    return fail(std::move(error));
  };
  Result<Found> c = find(options.id, false);
  if (!c) return undo(std::move(c).error());
  Result<sys::Pidfd> process = find_process(c->record);
  if (!process) return undo(std::move(process).error());
  Result<> started = start(options.id);
  if (!started) return undo(std::move(started).error());
  let_go();
  if (run.detach) return 0;
  Result<int> code = foreground.wait(*process);
  if (run.keep) return code;
  Result<> removed = remove(options.id, true);
  if (!code) return code;
  if (!removed) return fail(std::move(removed).error());
  return code;
}

}  // namespace monopod::container::oci
