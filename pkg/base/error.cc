#include "base/error.h"

#include <sysexits.h>

#include <array>
#include <cerrno>
#include <cstring>

namespace monopod {
namespace {

struct CodeRow {
  std::string_view name;
  int http;
  std::string_view reason;
  int exit;
};

// Indexed by Code. Reasons: k8s.io/apimachinery metav1.StatusReason values (facts of the wire).
constexpr std::array<CodeRow, kCodeCount> kCodes = {{
    {"ok", 200, "", 0},
    {"cancelled", 499, "Timeout", 130},
    {"unknown", 500, "InternalError", 1},
    {"invalid_argument", 400, "BadRequest", EX_USAGE},
    {"deadline_exceeded", 504, "Timeout", 124},
    {"not_found", 404, "NotFound", 1},
    {"already_exists", 409, "AlreadyExists", 1},
    {"permission_denied", 403, "Forbidden", EX_NOPERM},
    {"resource_exhausted", 429, "TooManyRequests", 1},
    {"failed_precondition", 422, "Invalid", EX_CONFIG},
    {"aborted", 409, "Conflict", 1},
    {"out_of_range", 410, "Expired", 1},
    {"unimplemented", 501, "NotImplemented", 1},
    {"internal", 500, "InternalError", EX_SOFTWARE},
    {"unavailable", 503, "ServiceUnavailable", EX_UNAVAILABLE},
    {"data_loss", 500, "InternalError", EX_DATAERR},
    {"unauthenticated", 401, "Unauthorized", EX_NOPERM},
}};

const CodeRow& row(Code code) { return kCodes[static_cast<std::size_t>(code)]; }

}  // namespace

Error Error::with(std::string_view context) && {
  message_.insert(0, ": ");
  message_.insert(0, context);
  return std::move(*this);
}

Error Error::with(std::string_view context) const& { return Error(*this).with(context); }

Error errno_error(int err, std::string message) {
  char text[128] = {};
  const char* reason = strerror_r(err, text, sizeof text);  // the GNU variant: returns the text
  message += ": ";
  message += reason;
  Error error(code_of_errno(err), std::move(message));
  error.os_errno_ = err;
  return error;
}

std::unexpected<Error> fail_errno(std::string message) {
  int err = errno;
  return std::unexpected<Error>(errno_error(err, std::move(message)));
}

std::string_view code_name(Code code) { return row(code).name; }
int http_status(Code code) { return row(code).http; }
std::string_view status_reason(Code code) { return row(code).reason; }
int exit_code(Code code) { return row(code).exit; }

Code code_of_errno(int err) {
  switch (err) {
    case 0: return Code::kOk;
    case ENOENT: case ESRCH: case ENXIO: case ENODEV: return Code::kNotFound;
    case EEXIST: return Code::kAlreadyExists;
    case EACCES: case EPERM: case EROFS: return Code::kPermissionDenied;
    case EINVAL: case ENAMETOOLONG: case ELOOP: case ENOTDIR: case EISDIR: case E2BIG: return Code::kInvalidArgument;
    case ENOSPC: case EDQUOT: case EMFILE: case ENFILE: case ENOMEM: return Code::kResourceExhausted;
    case ETIMEDOUT: return Code::kDeadlineExceeded;
    case ECANCELED: return Code::kCancelled;
    case ENOSYS: case EOPNOTSUPP: return Code::kUnimplemented;
    case EBUSY: case ENOTEMPTY: case EADDRINUSE: return Code::kFailedPrecondition;
    case ECONNREFUSED: case ECONNRESET: case EPIPE: case EHOSTUNREACH: case ENETUNREACH: case EAGAIN:
      return Code::kUnavailable;
    case EIO: case EBADMSG: return Code::kDataLoss;
    default: return Code::kUnknown;
  }
}

Code code_of_http_status(int status) {
  switch (status) {
    case 400: case 413: case 415: return Code::kInvalidArgument;
    case 401: return Code::kUnauthenticated;
    case 403: return Code::kPermissionDenied;
    case 404: return Code::kNotFound;
    case 409: return Code::kAborted;
    case 410: return Code::kOutOfRange;
    case 422: return Code::kFailedPrecondition;
    case 429: return Code::kResourceExhausted;
    case 501: return Code::kUnimplemented;
    case 503: return Code::kUnavailable;
    case 504: return Code::kDeadlineExceeded;
    default: return status < 400 ? Code::kOk : status < 500 ? Code::kInvalidArgument : Code::kInternal;
  }
}

}  // namespace monopod
