// Puts a chat stream right that leaves out what clients rely on: the id of its events, the role of the first, the
// finish_reason of the last. A stream that has them passes as it is: only its first event and its end are looked at. Pure.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace intertie::wire {

class StreamRepair {
 public:
  StreamRepair(std::string model, std::int64_t created) : model_(std::move(model)), created_(created) {}
  // `events`: whole events. `finished`: a finish_reason was seen by now. Returns `events` itself or a view of the repaired.
  std::string_view put_right(std::string_view events, bool finished);
  // Text was seen but neither a finish_reason nor anything else can come: the event that says "stop".
  std::string finish_event() const { return chunk("{}", "\"stop\""); }

 private:
  std::string chunk(std::string_view delta, std::string_view finish_reason) const;
  void look_at_first(std::string_view events);
  std::string model_;
  std::int64_t created_;
  std::string id_;
  bool looked_ = false;
  bool lacks_id_ = false;
  bool lacks_role_ = false;
  std::string repaired_;
};

} // namespace intertie::wire
