// Which backend of a service a flow goes to: part of the destination stage.
#pragma once

#include <span>

#include "resolve/nat.h"
#include "tables/services.h"

namespace viaduct::dataplane {

/// Starts the loads of what `service_at` and `choose_backend` will read for packets of a burst (kBurst at
/// most), step by step for all of them: so they wait for memory once a step, and not each for itself.
void fetch_services(const Tables& tables, std::span<const Packet* const> packets);

/// The service that is found at the packet's destination; `address` as rules know it.
Services::Match service_at(const Context& context, const IpAddress& address, std::uint16_t port);

/// Whether a flow that came to the service's frontend may go on as it is.
bool service_keeps(Context& context, const Services::Match& match, const FlowEnds& ends);

/// Takes a place among its backend's flows for the flow that this packet begins, where such flows are
/// counted.
void take_load(Context& context);

/// Gives up the place among its backend's flows that this packet took. Harmless when it took none.
void give_back_load(Context& context);

/// Chooses for a new flow. Step::drop: there is nobody, or the client may not.
Step choose_backend(Context& context, const Services::Match& match);

}  // namespace viaduct::dataplane
