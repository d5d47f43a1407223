#include "image/chunk_pipe.h"

#include <algorithm>
#include <boost/asio/post.hpp>
#include <cstring>

namespace monopod::image {

async::Task<Result<>> ChunkPipe::push(SharedBytes chunk) {
  for (;;) {
    {
      std::lock_guard lock(mutex_);
      if (abandoned_) co_return fail(Code::kCancelled, "the reader has gone");
      if (bytes_ < bytes_max_) {
        bytes_ += chunk->size();
        if (!chunk->empty()) chunks_.push_back(std::move(chunk));
        readable_.notify_one();
        co_return Result<>{};
      }
    }
    // No wake-up is lost: the reader's comes through this loop, and between the check and the wait nothing else runs on it.
    CO_TRY(co_await space_.wait());  // forever: the reader reads or abandons
  }
}

void ChunkPipe::close(Result<> outcome) {
  std::lock_guard lock(mutex_);
  if (!outcome_) outcome_ = std::move(outcome);
  readable_.notify_one();
}

Result<std::size_t> ChunkPipe::read(std::span<std::byte> into) {
  std::unique_lock lock(mutex_);
  readable_.wait(lock, [this] { return !chunks_.empty() || outcome_; });
  if (chunks_.empty()) {
    if (!*outcome_) return fail(outcome_->error());
    return 0;
  }
  const std::string& first = *chunks_.front();
  std::size_t n = std::min(into.size(), first.size() - offset_);
  std::memcpy(into.data(), first.data() + offset_, n);
  offset_ += n;
  if (offset_ == first.size()) {
    bool was_full = bytes_ >= bytes_max_;
    bytes_ -= first.size();
    offset_ = 0;
    chunks_.pop_front();
    if (was_full && bytes_ < bytes_max_) wake_writer();
  }
  return n;
}

void ChunkPipe::abandon() {
  std::lock_guard lock(mutex_);
  abandoned_ = true;
  wake_writer();
}

void ChunkPipe::wake_writer() {
  boost::asio::post(executor_, [self = shared_from_this()] { self->space_.wake_all(); });
}

}  // namespace monopod::image
