#include <algorithm>
#include <cstring>

#include "http/client.h"

namespace monopod::http {

async::Task<Result<std::size_t>> Body::read_some(std::span<std::byte> into) {
  if (!rest_) {
    CO_TRY_ASSIGN(rest_, co_await read_chunk());
    rest_offset_ = 0;
    if (!rest_) co_return 0U;
  }
  std::size_t n = std::min(into.size(), rest_->size() - rest_offset_);
  std::memcpy(into.data(), rest_->data() + rest_offset_, n);
  rest_offset_ += n;
  if (rest_offset_ == rest_->size()) rest_.reset();
  co_return n;
}

async::Task<Result<std::string>> Body::read_all(std::size_t bytes_max) {
  std::string out;
  if (rest_) out = rest_->substr(rest_offset_);
  rest_.reset();
  for (;;) {
    if (out.size() > bytes_max) co_return fail(Code::kResourceExhausted, "answer too large");
    CO_TRY_ASSIGN(SharedBytes chunk, co_await read_chunk());
    if (!chunk) co_return out;
    out += *chunk;
  }
}

}  // namespace monopod::http
