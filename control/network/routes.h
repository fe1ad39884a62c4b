// Networks over HTTP: what the command line asks.
//
//   GET    /v1/networks                    {"networks": [{name, driver, subnets, ..., "endpoints": [...]}]}
//   POST   /v1/networks                    {name, driver, "subnets": ["P", {"subnet", "gateway", "range"}],
//   "ipv6",
//                                          mtu, internal, masquerade, "dry_run", "comment"} -> the network,
//                                          "note"
//   GET    /v1/networks/{name}             one of them
//   DELETE /v1/networks/{name}             ?comment= -> {}
//   POST   /v1/networks/{name}/attach      {"container", "ifname", "netns", "addresses", "mac",
//   "port_mappings",
//                                          "label"}; the namespace as a descriptor -> what was attached
//   POST   /v1/networks/{name}/detach      {"container", "ifname"} -> {"removed": [...]}
//   POST   /v1/networks/prune              {} -> {"removed": [...]}: whose namespace has nobody in it any
//   more
#pragma once

#include "api/router.h"
#include "network/networks.h"

namespace viaduct::network {

void register_routes(api::Router& router, Networks& networks, pod::Attachments& attachments);

}  // namespace viaduct::network
