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

// toml++ asserts what it then checks properly ("[=" as a table's header), and with NDEBUG turns the assertion into an
// assumption, which makes bad input undefined behaviour. Neither, please: the checks behind it give the error.
#pragma push_macro("NDEBUG")
#undef NDEBUG
#define TOML_ASSERT(expression) static_assert(true)

#pragma clang diagnostic push
#pragma clang diagnostic ignored "-Weverything"
#include <toml++/toml.h>
#pragma clang diagnostic pop
#pragma pop_macro("NDEBUG")
