#include "wire/repair.hpp"

#include <fmt/format.h>

#include "core/json.hpp"

namespace intertie::wire {
namespace {
// Keys with their bare quotes can't stand inside a JSON string, so these bytes are the members themselves.
constexpr std::string_view kId = "\"id\":";
constexpr std::string_view kRole = "\"role\":";
constexpr std::string_view kChoices = "\"choices\":";
constexpr std::string_view kDone = "data: [DONE]";

std::string_view first_event(std::string_view events) {
  auto end = events.find("\n\n");
  if (auto crlf = events.find("\n\r\n"); crlf < end) end = crlf;
  return events.substr(0, end);
}
std::string unused_id(std::int64_t created, const void* whose) {
  return fmt::format("chatcmpl-{:x}{:x}", created, reinterpret_cast<std::uintptr_t>(whose));
}
} // namespace

std::string StreamRepair::chunk(std::string_view delta, std::string_view finish_reason) const {
  return fmt::format(
      R"(data: {{"id":{},"object":"chat.completion.chunk","created":{},"model":{},"choices":[{{"index":0,"delta":{},)"
      R"("logprobs":null,"finish_reason":{}}}]}})"
      "\n\n",
      json::quoted(id_), created_, json::quoted(model_), delta, finish_reason);
}

void StreamRepair::look_at_first(std::string_view events) {
  auto at = events.find(kChoices);
  if (at == std::string_view::npos) return;
  looked_ = true;
  auto start = events.rfind("data:", at);
  auto event = first_event(events.substr(start == std::string_view::npos ? 0 : start));
  auto id = event.find(kId);
  // An id deeper in, of a tool call, comes behind the choices.
  lacks_id_ = id == std::string_view::npos || (id > event.find(kChoices) && event.find("\"tool_calls\":") < id);
  lacks_role_ = event.find(kRole) == std::string_view::npos;
  if (lacks_id_) {
    id_ = unused_id(created_, this);
    return;
  }
  auto quote = event.find('"', id + kId.size());
  if (quote != std::string_view::npos) id_ = event.substr(quote + 1, event.find('"', quote + 1) - quote - 1);
}

std::string_view StreamRepair::put_right(std::string_view events, bool finished) {
  bool first = !looked_;
  if (first) look_at_first(events);
  auto done = finished ? std::string_view::npos : events.find(kDone);
  bool add_role = first && looked_ && lacks_role_;
  bool add_finish = looked_ && done != std::string_view::npos;
  if (!lacks_id_ && !add_role && !add_finish) return events;
  repaired_.clear();
  if (add_role) repaired_ += chunk(R"({"role":"assistant","content":""})", "null");
  std::size_t at = 0;
  if (lacks_id_)
    for (std::size_t data; (data = events.find("data:", at)) != std::string_view::npos;) {
      auto brace = events.find_first_not_of(' ', data + 5);
      bool line_start = data == 0 || events[data - 1] == '\n' || events[data - 1] == '\r';
      std::size_t upto = data + 5;
      if (line_start && brace != std::string_view::npos && events[brace] == '{') {
        upto = brace + 1;
        repaired_.append(events.substr(at, upto - at)).append("\"id\":").append(json::quoted(id_)).append(",");
      } else {
        if (add_finish && data == done)
          repaired_.append(events.substr(at, data - at)).append(finish_event()), at = data;
        repaired_.append(events.substr(at, upto - at));
      }
      at = upto;
    }
  else if (add_finish) {
    repaired_.append(events.substr(0, done)).append(finish_event());
    at = done;
  }
  repaired_.append(events.substr(at));
  return repaired_;
}

} // namespace intertie::wire
