// For this folder's tests: a private data folder, an Engines over it, and an io_context that plays the io thread. Not part
// of the product. One thread.
#pragma once

#include <gtest/gtest.h>
#include <stdlib.h>

#include <filesystem>
#include <string>

#include <boost/asio/as_tuple.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/use_awaitable.hpp>

#include "local/child_http.hpp"
#include "local/engines.hpp"
#include "local/limits.hpp"
#include "local/supervisor.hpp"
#include "local/tiny_gguf.hpp"

namespace intertie::local {

class Rig {
 public:
  Rig() {
    std::string pattern = (std::filesystem::temp_directory_path() / "intertie-XXXXXX").string();
    CHECK(::mkdtemp(pattern.data()) != nullptr);
    dir = pattern;
    settings.data_dir = dir + "/data";
    settings.state_dir = dir + "/state";
    settings.runtime_dir = dir + "/run";
    settings.import_ollama = settings.import_lmstudio = settings.import_hf = false;
    settings.threads = 1;
    settings.memory_limit = 8ULL << 30;
    limits.calibrate = false;
    std::filesystem::create_directories(dir + "/data/models");
  }
  ~Rig() {
    engines.reset();
    std::error_code error;
    std::filesystem::remove_all(dir, error);
  }
  std::string models() const { return dir + "/data/models/"; }
  void add_tiny(const std::string& name, const TinyShape& shape = {}) {
    auto written = write_tiny_gguf(models() + name + ".gguf", shape);
    ASSERT_TRUE(written);
  }
  void start() {
    auto started = Engines::start(settings, clock, limits);
    ASSERT_TRUE(started) << started.error().message;
    engines = *std::move(started);
  }
  // Runs a task to its end on this thread.
  template <class T>
  T run(Task<T> task) {
    std::optional<T> out;
    asio::co_spawn(io, std::move(task), [&](const std::exception_ptr& error, T value) {
      if (error) std::rethrow_exception(error);
      out.emplace(std::move(value));
    });
    while (!out) {
      io.restart();
      io.run_one_for(milliseconds{100});
    }
    return std::move(*out);
  }
  Call make_call(milliseconds patience) {
    return Call{make_call_id(clock.wall()), clock, clock.now(), clock.now() + patience};
  }
  Result<Lease> acquire(const std::string& model, milliseconds patience = milliseconds{30'000}) {
    auto call = make_call(patience);
    return run(engines->acquire(model, call));
  }
  Result<ChildAnswer> ask(const Lease& lease, const std::string& path, const std::string& body = {},
                          milliseconds patience = milliseconds{30'000}) {
    return run(ask_child(lease.socket(), lease.api_key(), path, body, patience));
  }
  Status status(const std::string& model) const {
    for (auto& status : engines->models())
      if (status.facts.name == model) return status;
    return {};
  }
  // Looks at every change until `holds`; false after half a minute.
  template <class F>
  bool until(F holds) {
    auto end = clock.now() + seconds{30};
    while (!holds()) {
      if (clock.now() > end) return false;
      io.restart();
      io.run_one_for(milliseconds{2});
      Timer tick(io.get_executor(), milliseconds{2});
      tick.wait();
    }
    return true;
  }
  bool until_state(const std::string& model, State state) {
    return until([&] { return status(model).state == state; });
  }

  std::string dir;
  SystemClock clock;
  Settings settings;
  Limits limits;
  std::unique_ptr<Engines> engines;
  asio::io_context io{1};
};

} // namespace intertie::local
