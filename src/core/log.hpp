// One line per event, to stderr, from the edge that handles it (never log and return). Never a prompt, never a Secret.
#pragma once

#include <spdlog/spdlog.h>

namespace intertie::log {
using spdlog::debug;
using spdlog::error;
using spdlog::info;
using spdlog::warn;
void start(std::string_view level); // "debug" "info" "warn" "error"; call once from main
} // namespace intertie::log
