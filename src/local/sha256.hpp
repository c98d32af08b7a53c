// SHA-256 as hex digits: of bytes as they come (a download) and of whole files (a model that is added by path, or compared
// with what was recorded). Blocking; one thread per object.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>

#include "core/result.hpp"

struct evp_md_ctx_st; // OpenSSL's

namespace intertie::local {

class Sha256 {
 public:
  Sha256();
  void add(std::string_view bytes);
  std::string hex(); // 64 digits; add() nothing after it

 private:
  struct Free {
    void operator()(evp_md_ctx_st* context) const;
  };
  std::unique_ptr<evp_md_ctx_st, Free> context_;
};

// Of the file's bytes; `progress` is called with the bytes read so far. NotFound when it can't be opened, Unavailable
// (Fault::LocalResource) when it can't be read to its end.
Result<std::string> sha256_file(const std::string& file, const std::function<void(std::uint64_t done)>& progress = {});

} // namespace intertie::local
