// A bounded queue between coroutines of one loop.
#pragma once

#include <deque>
#include <optional>
#include <utility>

#include "async/event.h"

namespace monopod::async {

template <typename T>
class Channel {
 public:
  Channel(Executor executor, std::size_t capacity) : capacity_(capacity), readable_(executor), writable_(executor) {}

  // Waits while full. kUnavailable once closed.
  Task<Result<>> push(T value) {
    while (!closed_ && items_.size() >= capacity_) CO_TRY(co_await writable_.wait());
    if (closed_) co_return fail(Code::kUnavailable, "channel closed");
    items_.push_back(std::move(value));
    readable_.wake_all();
    co_return Result<>();
  }
  // False when full or closed; the value is then dropped.
  bool try_push(T value) {
    if (closed_ || items_.size() >= capacity_) return false;
    items_.push_back(std::move(value));
    readable_.wake_all();
    return true;
  }
  // Waits for an item. kUnavailable once closed and drained.
  Task<Result<T>> pop() {
    while (items_.empty()) {
      if (closed_) co_return fail(Code::kUnavailable, "channel closed");
      CO_TRY(co_await readable_.wait());
    }
    T value = std::move(items_.front());
    items_.pop_front();
    writable_.wake_all();
    co_return value;
  }
  std::optional<T> try_pop() {
    if (items_.empty()) return std::nullopt;
    T value = std::move(items_.front());
    items_.pop_front();
    writable_.wake_all();
    return value;
  }
  // Idempotent. Readers drain what is left.
  void close() {
    closed_ = true;
    readable_.wake_all();
    writable_.wake_all();
  }
  bool closed() const { return closed_; }
  std::size_t size() const { return items_.size(); }

 private:
  std::size_t capacity_;
  std::deque<T> items_;
  bool closed_ = false;
  Notify readable_;
  Notify writable_;
};

}  // namespace monopod::async
