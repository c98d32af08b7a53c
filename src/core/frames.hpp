// Where coroutine frames lie: a short free list per thread and size class, since a request makes and drops the same ten
// frames as the one before. Any thread may give back what another took. Under ASan every frame is an allocation of its own,
// so that use after its end is found.
#pragma once

#include <cstddef>

namespace intertie::frames {
void* take(std::size_t size);
void give(void* frame, std::size_t size) noexcept; // with the size it was taken with
} // namespace intertie::frames
