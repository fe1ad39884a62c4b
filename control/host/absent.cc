#include "host/absent.h"

#include "host/taken_objects.h"

namespace viaduct::host {

void Absent::contribute(store::Transaction& tx, model::Config& desired, Faults& faults) const {
    static_cast<void>(tx);
    static_cast<void>(faults);
    const std::scoped_lock lock(mutex_);
    for (const auto& interface : absent_) {
        for (const auto& name : {interface, host_port_name(interface)}) {
            desired.ports.erase(name);
            erase_if(desired.fdb, [&](const auto& entry) { return entry.second.port == name; });
        }
    }
}

bool Absent::set(const std::string& interface, bool absent) {
    const std::scoped_lock lock(mutex_);
    return absent ? absent_.insert(interface).second : absent_.erase(interface) != 0;
}

}  // namespace viaduct::host
