// An owned file descriptor, always opened O_CLOEXEC.
#pragma once

#include <utility>

#include "base/error.h"

namespace monopod::sys {

class Fd {
 public:
  Fd() = default;
  explicit Fd(int fd) : fd_(fd) {}
  ~Fd() { reset(); }
  Fd(Fd&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
  Fd& operator=(Fd&& other) noexcept {
    if (this != &other) {
      reset();
      fd_ = std::exchange(other.fd_, -1);
    }
    return *this;
  }

  int get() const { return fd_; }
  explicit operator bool() const { return fd_ >= 0; }
  [[nodiscard]] int release() { return std::exchange(fd_, -1); }
  void reset();
  // A second descriptor of the same open file.
  Result<Fd> duplicate() const;

 private:
  int fd_ = -1;
};

}  // namespace monopod::sys
