// The file-system side of vhost-user sockets: what must hold before one is opened, and who may use one.
#pragma once

#include <functional>
#include <string>

#include "viaduct/model.h"

namespace viaduct::dataplane {

/// Throws Refused when `socket.path` cannot be listened on (server) or connected to later (client). A
/// server's stale socket, on which nobody listens, is removed.
void prepare_socket(const model::VhostUser& socket);

/// Runs `bind`, which creates the socket file, so that nobody but root can open it before it has its owner,
/// group and mode. Returns what `bind` returned; throws Refused when the file cannot be given away.
int bind_socket(const model::VhostUser& socket, const std::function<int()>& bind);

/// Bounds how long a read or write may wait on this process's connection to (client) or from (server) `path`.
/// librte_vhost serves all sockets with one thread and blocking reads: a peer that sends half a message would
/// otherwise stop every other port's connection. False when there is no such connection.
bool bound_waits(const std::string& path);

}  // namespace viaduct::dataplane
