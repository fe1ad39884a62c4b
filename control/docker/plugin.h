// Docker's plugin protocol: HTTP and JSON on a Unix socket in Docker's plugin directory, every request a POST
// to /INTERFACE.METHOD, every failure {"Err": "a sentence"}. Sources: moby's libnetwork/docs (remote.md,
// ipam.md) and libnetwork/drivers/remote/api.
//
//   /Plugin.Activate  /NetworkDriver.{GetCapabilities, CreateNetwork, DeleteNetwork, AllocateNetwork,
//   FreeNetwork, CreateEndpoint, EndpointOperInfo, DeleteEndpoint, Join, Leave, DiscoverNew, DiscoverDelete,
//   ProgramExternalConnectivity, RevokeExternalConnectivity}  /IpamDriver.{GetCapabilities,
//   GetDefaultAddressSpaces, RequestPool, ReleasePool, RequestAddress, ReleaseAddress}
#pragma once

#include "viaduct/http.h"

#include "docker/driver.h"
#include "docker/pools.h"

namespace viaduct::docker {

/// Answers one request of Docker's. Any thread; throws nothing.
http::Response answer(Driver& driver, Pools& pools, const http::Request& request);

}  // namespace viaduct::docker
