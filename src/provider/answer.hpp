// The two shapes in which an upstream answers, as Sources of Deltas, and what its errors mean. Private to provider/.
#pragma once

#include <memory>

#include "core/delta.hpp"
#include "core/stream.hpp"
#include "net/client.hpp"
#include "provider/open.hpp"

namespace intertie::provider {

// Server-sent events. `drop_usage`: the usage event was our wish, not the client's. `slot` is held until the end.
std::unique_ptr<Source<Delta>> event_source(net::Reply reply, bool drop_usage, std::unique_ptr<LocalSlot> slot);
// One JSON answer, already read; `answer.raw` lives in `reply`.
std::unique_ptr<Source<Delta>> whole_source(net::Reply reply, const Delta& answer);

} // namespace intertie::provider
