#include "core/result.hpp"

#include <array>
#include <cstdio>
#include <cstdlib>

namespace intertie {
namespace {
constexpr std::array<KindFacts, 13> kKinds{{
    {"bad_request", 400, "invalid_request_error", {}},
    {"unauthorized", 401, "authentication_error", {}},
    {"denied", 403, "permission_error", {}},
    {"not_found", 404, "invalid_request_error", {}},
    {"too_large", 413, "invalid_request_error", "request_too_large"},
    {"rate_limited", 429, "rate_limit_error", "rate_limit_exceeded"},
    {"unavailable", 503, "server_error", "unavailable"},
    {"timeout", 504, "server_error", "timeout"},
    {"cancelled", 499, "server_error", "cancelled"},
    {"upstream_refused", 502, "server_error", "upstream_failed"},
    {"upstream_broken", 502, "server_error", "upstream_broken"},
    {"unsupported", 501, "invalid_request_error", "unsupported"},
    {"internal", 500, "server_error", "internal_error"},
}};
constexpr std::array<FaultFacts, 10> kFaults{{
    // name              next   counts hard-down
    {"client", false, false, false},
    {"context_too_long", true, false, false},
    {"auth", true, false, true},
    {"rate_limit", true, false, false},
    {"transient", true, true, false},
    {"broken_answer", true, true, false},
    {"policy_refusal", false, false, false},
    {"local_resource", true, false, false},
    {"our_policy", false, false, false},
    {"ours", false, false, false},
}};
} // namespace

const KindFacts& facts(FailureKind kind) { return kKinds[static_cast<std::size_t>(kind)]; }
const FaultFacts& facts(Fault fault) { return kFaults[static_cast<std::size_t>(fault)]; }

void check_failed(const char* what, const char* file, int line) {
  std::fprintf(stderr, "intertie: CHECK failed: %s at %s:%d\n", what, file, line);
  std::abort();
}
} // namespace intertie
