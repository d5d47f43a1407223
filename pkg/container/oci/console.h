// A container's process in the foreground of a caller that waits: signals go to it, and its terminal is ours.
#pragma once

#include <termios.h>

#include <optional>

#include "sys/process.h"

namespace monopod::container::oci {

class Foreground {
 public:
  ~Foreground();
  // From here on signals are kept for the process. Call before it is started.
  Result<> prepare();
  // Our standard input becomes raw, and takes and gives what the terminal does.
  Result<> take_terminal(sys::Fd master);
  // Forwards signals and terminal until the process, a child, has ended. Its exit code, 128 + signal. Other children are reaped.
  Result<int> wait(const sys::Pidfd& process);

 private:
  void resize();
  void on_signal(const sys::Pidfd& process);
  bool copy(int from, int to);

  sys::Fd signals_;
  sys::Fd master_;
  bool input_open_ = false;
  std::optional<struct termios> saved_;
};

}  // namespace monopod::container::oci
