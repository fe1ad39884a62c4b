// Docker's plugin protocol: HTTP and JSON on a Unix socket in Docker's plugin directory, every request a POST
// to /INTERFACE.METHOD, every failure {"Err": "a sentence"}. Sources: moby's libnetwork/docs (remote.md,
// ipam.md) and libnetwork/drivers/remote/api.
//
//   /Plugin.Activate  /NetworkDriver.{GetCapabilities, CreateNetwork, DeleteNetwork, AllocateNetwork,
//   FreeNetwork, CreateEndpoint, EndpointOperInfo, DeleteEndpoint, Join, Leave, DiscoverNew, DiscoverDelete,
//   ProgramExternalConnectivity, RevokeExternalConnectivity}  /IpamDriver.{GetCapabilities,
//   GetDefaultAddressSpaces, RequestPool, ReleasePool, RequestAddress, ReleaseAddress}
#pragma once

#include <string>

#include "viaduct/http.h"

#include "docker/driver.h"
#include "docker/pools.h"

namespace viaduct::docker {

class Plugin {
public:
    /// Serves on `socket` until it is destroyed. All must outlive it. Throws std::runtime_error that names
    /// the path when it cannot listen.
    Plugin(const std::string& socket, store::Database& database, network::Networks& networks,
           pod::Attachments& attachments);

private:
    Driver driver_;
    Pools pools_;
    http::Server server_;
};

}  // namespace viaduct::docker
