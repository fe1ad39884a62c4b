// Packet pools whose free list the thread sanitizer can follow.
#pragma once

namespace viaduct::test {

/// Under the thread sanitizer: from now on packet pools keep free buffers in a ring compiled here, so that
/// handing a buffer from one thread to another through the pool is seen as such. Otherwise nothing.
void use_traced_pools();

}  // namespace viaduct::test
