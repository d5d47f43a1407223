// Errors as values. Every fallible function returns Result<T>; text says what was tried, on what, why it failed,
// in lowercase with no full stop: "pull docker.io/x:1: manifest: unauthorized". Context is added going up.
#pragma once

#include <expected>
#include <string>
#include <string_view>
#include <utility>

namespace monopod {

// Shaped like gRPC status codes (google.golang.org/grpc/codes numbering), since every wire we speak maps from them.
enum class Code {
  kOk = 0,
  kCancelled = 1,
  kUnknown = 2,
  kInvalidArgument = 3,
  kDeadlineExceeded = 4,
  kNotFound = 5,
  kAlreadyExists = 6,
  kPermissionDenied = 7,
  kResourceExhausted = 8,
  kFailedPrecondition = 9,
  kAborted = 10,
  kOutOfRange = 11,
  kUnimplemented = 12,
  kInternal = 13,
  kUnavailable = 14,
  kDataLoss = 15,
  kUnauthenticated = 16,
};
inline constexpr int kCodeCount = 17;

class Error {
 public:
  Error(Code code, std::string message) : code_(code), message_(std::move(message)) {}

  Code code() const { return code_; }
  const std::string& message() const { return message_; }
  // errno of the failed system call, 0 where none was involved.
  int os_errno() const { return os_errno_; }

  // "context: message", same code.
  Error with(std::string_view context) &&;
  Error with(std::string_view context) const&;

 private:
  friend Error errno_error(int err, std::string message);
  Code code_;
  int os_errno_ = 0;
  std::string message_;
};

template <typename T = void>
using Result = std::expected<T, Error>;

// err mapped to a code, text "message: strerror(err)".
Error errno_error(int err, std::string message);

// One row per code; error.cc holds the table and a test walks every code.
std::string_view code_name(Code code);       // "not_found"
int http_status(Code code);                  // 404
std::string_view status_reason(Code code);   // Kubernetes metav1.Status reason, "NotFound"
int exit_code(Code code);                    // process exit status, sysexits.h where one fits
Code code_of_errno(int err);
Code code_of_http_status(int status);

inline std::unexpected<Error> fail(Code code, std::string message) {
  return std::unexpected<Error>(std::in_place, code, std::move(message));
}
inline std::unexpected<Error> fail(Error error) { return std::unexpected<Error>(std::move(error)); }
// Fails with the current errno.
std::unexpected<Error> fail_errno(std::string message);

}  // namespace monopod

// Pass an error up. TRY(expr) for Result<>; TRY_ASSIGN(auto x, expr) for a value. CO_ variants for coroutines.
#define MONOPOD_CONCAT_(a, b) a##b
#define MONOPOD_CONCAT(a, b) MONOPOD_CONCAT_(a, b)
#define MONOPOD_TRY_(ret, tmp, ...)                                        \
  do {                                                                     \
    auto tmp = (__VA_ARGS__);                                              \
    if (!tmp) [[unlikely]]                                                 \
      ret ::std::unexpected<::monopod::Error>(::std::move(tmp).error());   \
  } while (false)
#define MONOPOD_TRY_ASSIGN_(ret, tmp, decl, ...)                           \
  auto tmp = (__VA_ARGS__);                                                \
  if (!tmp) [[unlikely]]                                                   \
    ret ::std::unexpected<::monopod::Error>(::std::move(tmp).error());     \
  decl = *::std::move(tmp)

#define TRY(...) MONOPOD_TRY_(return, MONOPOD_CONCAT(try_, __LINE__), __VA_ARGS__)
#define TRY_ASSIGN(decl, ...) MONOPOD_TRY_ASSIGN_(return, MONOPOD_CONCAT(try_, __LINE__), decl, __VA_ARGS__)
#define CO_TRY(...) MONOPOD_TRY_(co_return, MONOPOD_CONCAT(try_, __LINE__), __VA_ARGS__)
#define CO_TRY_ASSIGN(decl, ...) MONOPOD_TRY_ASSIGN_(co_return, MONOPOD_CONCAT(try_, __LINE__), decl, __VA_ARGS__)
