#include "async/task.h"

#include <boost/asio/error.hpp>
#include <cerrno>

namespace monopod::async {

Error error_from(const boost::system::error_code& ec, std::string_view context) {
  std::string text(context);
  if (ec == asio::error::operation_aborted) return Error(Code::kCancelled, text + ": cancelled");
  if (ec == asio::error::eof) return Error(Code::kUnavailable, text + ": end of stream");
  if (ec.category() == boost::system::system_category() || ec.category() == boost::system::generic_category())
    return errno_error(ec.value(), std::move(text));
  return Error(Code::kUnknown, text + ": " + ec.message());
}

}  // namespace monopod::async
