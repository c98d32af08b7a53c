// The one coroutine type. A Task runs on the io_context of its connection and never leaves it; there are no strands and
// no locks on the path. Only `net/` does I/O with it; elsewhere a Task is just "a function that may wait".
#pragma once

#include <boost/asio/awaitable.hpp>
#include <boost/asio/io_context.hpp>

namespace intertie {
namespace asio = boost::asio;
using Executor = asio::io_context::executor_type;
template <class T = void>
using Task = asio::awaitable<T, Executor>;
} // namespace intertie
