// toml++ without exceptions. Debian's shared library has only the form with exceptions, so this folder uses the header-only
// one; included by .cpp files of config/ and nothing else.
#pragma once

#ifdef TOML_HEADER_ONLY
#undef TOML_HEADER_ONLY
#endif
#ifdef TOML_SHARED_LIB
#undef TOML_SHARED_LIB
#endif
#define TOML_HEADER_ONLY 1
#define TOML_ENABLE_FORMATTERS 0

#pragma clang diagnostic push
#pragma clang diagnostic ignored "-Weverything"
#include <toml++/toml.h>
#pragma clang diagnostic pop
