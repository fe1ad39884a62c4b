#include "viaduct/free_memory.h"

#include <malloc.h>

namespace viaduct {

void return_free_memory(std::size_t text_bytes) {
    if (text_bytes >= kMuchText) ::malloc_trim(0);
}

}  // namespace viaduct
