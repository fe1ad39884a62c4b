#include "node/boot.h"

#include <fstream>

namespace viaduct::node {

std::string boot_id() {
    std::ifstream file("/proc/sys/kernel/random/boot_id");
    std::string id;
    std::getline(file, id);
    return id;
}

}  // namespace viaduct::node
