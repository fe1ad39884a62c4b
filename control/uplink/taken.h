// Devices that were taken from the host, and whose they were: durable, so that each can be given back
// whatever happens meanwhile.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "store/database.h"

namespace viaduct::uplink {

const std::vector<store::Migration>& migrations();

struct Taken {
    std::string former;  ///< the driver that had it; empty: none
    std::string id;      ///< vendor and device: another card may be at this address after a reboot
};

/// By PCI address.
std::map<std::string, Taken> load_taken(store::Transaction& tx);
void save(store::Transaction& tx, const std::string& address, const Taken& taken);
void forget(store::Transaction& tx, const std::string& address);

}  // namespace viaduct::uplink
