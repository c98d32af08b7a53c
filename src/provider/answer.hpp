// The two shapes in which an upstream answers, as Sources of Deltas, and what its errors mean. Private to provider/.
#pragma once

#include <memory>

#include "core/delta.hpp"
#include "core/stream.hpp"
#include "net/client.hpp"
#include "provider/open.hpp"
#include "wire/forced_tools.hpp"
#include "wire/repair.hpp"

namespace intertie::provider {

// Server-sent events of `provider` (its name, for the person). `drop_usage`: the usage event was our wish, not the client's.
// `slot` is held until the end. `repair` puts right what other people's servers leave out; null for our own engine. `calls`: the text is a
// forced tool call; null when it is text.
std::unique_ptr<Source<Delta>> event_source(net::Reply reply, std::string provider, bool drop_usage,
                                            std::unique_ptr<LocalSlot> slot, std::optional<wire::StreamRepair> repair,
                                            std::unique_ptr<wire::CallEvents> calls);
// Says whose failure it is: "NAME: the upstream closed …".
Failure of_provider(std::string_view provider, Failure failure);
// One JSON answer, already read; `answer.raw` lives in `reply`.
std::unique_ptr<Source<Delta>> whole_source(net::Reply reply, const Delta& answer);

} // namespace intertie::provider
