#include "async/stream.h"

namespace monopod::async {

Task<Result<>> Stream::write_parts(std::span<const std::span<const std::byte>> parts) {
  for (std::span<const std::byte> part : parts) CO_TRY(co_await write_all(part));
  co_return Result<>();
}

}  // namespace monopod::async
