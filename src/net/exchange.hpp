// One HTTP request and its answer, without sockets in sight: what a handler reads and the four things it may do.
// Views into the request stay valid until release_request() or the end of the handler. One io thread.
#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <string_view>

#include "core/call.hpp"
#include "core/result.hpp"
#include "core/task.hpp"

namespace intertie::net {

struct Header {
  std::string_view name;
  std::string_view value;
};

class Exchange {
 public:
  virtual ~Exchange() = default;
  virtual std::string_view method() const = 0;
  virtual std::string_view path() const = 0; // without the query
  virtual std::string_view query() const = 0;
  virtual std::span<const Header> headers() const = 0;
  virtual std::string_view body() const = 0; // whole, decoded from chunked and gzip; kPadding bytes behind it
  std::string_view header(std::string_view name) const; // case-insensitive, first one, empty when absent

  // Answers at once: one write of head and body. `headers` may not hold Content-Type, -Length or Connection.
  virtual Task<Result<>> respond(int status, std::string_view content_type, std::span<const Header> headers,
                                 std::string_view body) = 0;
  // Or starts a stream (chunked), writes any number of pieces, and finishes it. abort() cuts the connection instead.
  virtual Task<Result<>> start(int status, std::string_view content_type, std::span<const Header> headers,
                               std::string_view first_piece) = 0;
  virtual Task<Result<>> write(std::string_view piece) = 0;
  virtual Task<Result<>> finish() = 0;
  virtual void abort() = 0;
  virtual bool started() const = 0; // has any byte of an answer gone out?

  virtual void release_request() = 0; // gives the request's buffer back early (long streams)
  // Fires `cancellation` when the client hangs up, from now until the handler returns.
  virtual void watch(Cancellation& cancellation) = 0;
};

using Handler = std::function<Task<void>(Exchange&)>;

} // namespace intertie::net
