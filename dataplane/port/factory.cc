#include "port/factory.h"

#include <string>

#include "viaduct/fault.h"

#include "port/descriptor_budget.h"
#include "port/tap.h"
#include "port/tap_driver.h"
#include "port/uplink.h"
#include "port/vhost_user.h"

namespace viaduct::dataplane {
namespace {

/// The kinds of port name their own keys; a person looks for the port first.
Refused with_port(const Refused& refused, const std::string& name) {
    const std::string port = "ports/" + name;
    Faults faults = refused.faults();
    for (auto& fault : faults) {
        if (fault.where.starts_with("ports/")) continue;
        fault.where = fault.where.empty() ? port : port + "/" + fault.where;
    }
    return Refused(std::move(faults));
}

}  // namespace

PortFactory make_port_factory() {
    return [budget = DescriptorBudget::of_process(), taps = std::make_shared<TapDriver>()](
               const model::Port& port, PortIndex index, rte_mempool* pool,
               PortListener& listener) -> std::unique_ptr<Port> {
        try {
            auto share = budget->reserve(port);
            switch (port.kind) {
                case model::PortKind::vhost_user:
                    return std::make_unique<VhostUser>(port, index, pool, listener, std::move(share));
                case model::PortKind::tap:
                    return std::make_unique<Tap>(port, index, pool, listener, taps, std::move(share));
                case model::PortKind::uplink:
                    return make_uplink(port, index, pool, listener, std::move(share));
                case model::PortKind::wire:
                case model::PortKind::vxlan:
                    break;
            }
            throw Refused("kind", "is wire, which is for tests; it must be vhost-user, tap, uplink or vxlan");
        } catch (const Refused& refused) {
            throw with_port(refused, port.name);
        }
    };
}

}  // namespace viaduct::dataplane
