// What every fallible function returns, and the one closed set of ways to fail.
// A Failure speaks to a person (message) and to a program (kind, fault, code). It never carries a secret or the text of
// a prompt; `upstream_body` is the one exception, kept apart so that it can be relayed to the client that caused it and
// is never logged. Immutable facts about kinds live in `facts(kind)`. Any thread.
#pragma once

#include <chrono>
#include <cstdint>
#include <expected>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

namespace intertie {

enum class FailureKind : std::uint8_t {
  BadRequest,
  Unauthorized,
  Denied,
  NotFound,
  TooLarge,
  RateLimited,
  Unavailable,
  Timeout,
  Cancelled,
  UpstreamRefused,
  UpstreamBroken,
  Unsupported,
  Internal,
};

// Whose fault it is, hence what may be tried next (design: the failure taxonomy). Drives fallback, health and ledger.
enum class Fault : std::uint8_t {
  Client,
  ContextTooLong,
  Auth,
  RateLimit,
  Transient,
  BrokenAnswer,
  PolicyRefusal,
  LocalResource,
  OurPolicy,
  Ours,
};

struct KindFacts {
  std::string_view name;
  int status;                  // HTTP status shown to the client
  std::string_view error_type; // OpenAI's `error.type`
  std::string_view code;       // `error.code` of a Failure that names none; may be empty
};
const KindFacts& facts(FailureKind kind);

struct FaultFacts {
  std::string_view name;
  bool next_leg;  // may another leg be tried?
  bool counts;    // does it count against the provider's health?
  bool hard_down; // provider is out until its configuration changes or a probe succeeds
};
const FaultFacts& facts(Fault fault);

struct Failure {
  FailureKind kind = FailureKind::Internal;
  Fault fault = Fault::Ours;
  std::string message; // one sentence for a person, with the fix in it where there is one
  std::string code{};  // machine code such as "model_not_found"; may be empty
  std::string param{}; // request field at fault; may be empty
  std::optional<std::chrono::seconds> retry_after{};
  int upstream_status = 0;     // status an upstream answered with, 0 = none
  std::string upstream_body{}; // its JSON error body, bounded; relayed, never logged
};

// A Failure somewhere else, as a value: success is the rule, and every Result would be 170 bytes larger.
class Boxed {
 public:
  Boxed(Failure failure) : failure_(std::make_unique<Failure>(std::move(failure))) {}
  Boxed(const Boxed& other) : Boxed(*other) {}
  Boxed(Boxed&&) noexcept = default;
  Boxed& operator=(const Boxed& other) { return *this = Boxed(other); }
  Boxed& operator=(Boxed&&) noexcept = default;
  ~Boxed() = default;
  Failure& operator*() const { return *failure_; }

 private:
  std::unique_ptr<Failure> failure_; // null only after a move
};

// std::expected<T, Failure> that can't be ignored (tests/compile_fail proves it).
template <class T = void>
struct [[nodiscard]] Result : std::expected<T, Boxed> {
  using Base = std::expected<T, Boxed>;
  using Base::Base;
  Failure& error() & { return *Base::error(); }
  const Failure& error() const& { return *Base::error(); }
  Failure&& error() && { return std::move(*Base::error()); }
};

inline std::unexpected<Failure> fail(FailureKind kind, Fault fault, std::string message, std::string code = {},
                                     std::string param = {}) {
  return std::unexpected(Failure{kind, fault, std::move(message), std::move(code), std::move(param)});
}
inline std::unexpected<Failure> bad_request(std::string message, std::string code = {}, std::string param = {}) {
  return fail(FailureKind::BadRequest, Fault::Client, std::move(message), std::move(code), std::move(param));
}
inline std::unexpected<Failure> internal(std::string message) {
  return fail(FailureKind::Internal, Fault::Ours, std::move(message));
}

// Programmer error: on in release, unreachable from input.
[[noreturn]] void check_failed(const char* what, const char* file, int line);
#define CHECK(condition)                                        \
  do {                                                          \
    if (!(condition)) [[unlikely]]                              \
      ::intertie::check_failed(#condition, __FILE__, __LINE__); \
  } while (false)

// Declares `name` from a Result expression or returns its Failure: `TRY(auto ask, read_ask(body));`
#define INTERTIE_CAT2(a, b) a##b
#define INTERTIE_CAT(a, b) INTERTIE_CAT2(a, b)
#define TRY_IMPL(temp, declaration, expression, ret)       \
  auto temp = (expression);                                \
  if (!temp) ret std::unexpected(std::move(temp).error()); \
  declaration = *std::move(temp)
#define TRY(declaration, expression) TRY_IMPL(INTERTIE_CAT(try_, __LINE__), declaration, expression, return)
#define CO_TRY(declaration, expression) TRY_IMPL(INTERTIE_CAT(try_, __LINE__), declaration, expression, co_return)
#define TRY_VOID(expression)                                                                          \
  do {                                                                                                \
    if (auto try_void = (expression); !try_void) return std::unexpected(std::move(try_void).error()); \
  } while (false)

} // namespace intertie
