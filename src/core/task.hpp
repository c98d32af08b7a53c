// The one coroutine type. A Task runs on the io_context of its connection and never leaves it; there are no strands and
// no locks on the path. Only `net/` does I/O with it; elsewhere a Task is just "a function that may wait".
#pragma once

#include <boost/asio/awaitable.hpp>
#include <boost/asio/io_context.hpp>

#include "core/frames.hpp"

namespace intertie {
namespace asio = boost::asio;
using Executor = asio::io_context::executor_type;
template <class T = void>
using Task = asio::awaitable<T, Executor>;
} // namespace intertie

// Where Asio's coroutine frames lie. Its own cache takes frames of up to 1,020 bytes only and throws one out for each larger
// one, so that half of a request's frames would cost a memalign.
namespace boost::asio::detail {
template <>
inline void* thread_info_base::allocate(awaitable_frame_tag, thread_info_base*, std::size_t size, std::size_t) {
  return intertie::frames::take(size);
}
template <>
inline void thread_info_base::deallocate(awaitable_frame_tag, thread_info_base*, void* frame, std::size_t size) {
  intertie::frames::give(frame, size);
}
} // namespace boost::asio::detail
