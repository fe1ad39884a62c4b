// Places that services ask for by hand: externalIPs and load balancers' addresses. Nobody allocates them, so
// two services may ask for one, by mistake or to do harm. The one whose name comes first has it, on every
// node the same; the others are without that place and keep the rest of theirs.
#pragma once

#include <cstdint>
#include <map>
#include <set>
#include <tuple>

#include "kubernetes/objects.h"

namespace viaduct::service {

/// For one thread.
class ExternalPlaces {
public:
    using Name = kubernetes::ObjectName;
    using Place = std::tuple<IpAddress, model::Transport, std::uint16_t>;

    /// All that the service asks for now; null: it is gone. Returns the others that ask for a place of these
    /// or of those from before.
    std::set<Name> ask(const Name& name, const kubernetes::Service* service);
    /// Who has the place; null: nobody asks for it.
    [[nodiscard]] const Name* holder(const Place& place) const;
    /// Those that ask for a place at the address.
    [[nodiscard]] std::set<Name> asking(const IpAddress& address) const;

private:
    std::map<Place, std::set<Name>> asking_;
    std::map<Name, std::set<Place>> asked_;
};

}  // namespace viaduct::service
