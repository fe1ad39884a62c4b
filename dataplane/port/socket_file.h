// The file-system side of vhost-user sockets: what must hold before one is opened, and who may use one.
#pragma once

#include <functional>
#include <string>

#include "viaduct/model.h"

#include "port/descriptor.h"

namespace viaduct::dataplane {

/// Throws Refused when `socket.path` cannot be listened on (server) or connected to later (client). A
/// server's stale socket, on which nobody listens, is removed.
void prepare_socket(const model::VhostUser& socket);

/// Runs `bind`, which creates the socket file, so that nobody but root can open it before it has its owner,
/// group and mode. Returns what `bind` returned; throws Refused when the file cannot be given away.
int bind_socket(const model::VhostUser& socket, const std::function<int()>& bind);

/// Bounds how long a read or write may wait on this process's connection to (client) or from (server) `path`,
/// and returns a descriptor of it; none when there is no such connection or its waits cannot be bounded.
/// librte_vhost serves all sockets with one thread and blocking reads: a peer that sends half a message would
/// otherwise stop every other port's connection.
Descriptor bound_waits(const std::string& path);

}  // namespace viaduct::dataplane
