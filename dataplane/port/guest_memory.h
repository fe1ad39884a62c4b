// What happens when a guest takes away memory that it has shared with us. It shares files, and a file that is
// truncated raises SIGBUS in whoever touches a mapping of it: in a worker, or in librte_vhost's own thread.
// By default that ends the dataplane, for every pod. Here it ends that guest's connection.
#pragma once

namespace viaduct::dataplane::guest_memory {

/// Handles SIGBUS from now on, for the whole process. A SIGBUS that is not about guest memory ends the
/// process as before. Any number of times.
void install();

/// A connection has begun as device `vid`. `socket`: a descriptor of it that stays open until closed(); -1:
/// none. librte_vhost's callbacks, as the next four.
void opened(int vid, int socket);
/// Workers may touch the device's memory as it is mapped now, and no longer what was before. With the rings
/// locked, or before any worker knows of the device.
void mapped(int vid);
/// No worker touches it any more, and it may be unmapped.
void unmapped(int vid);
/// The connection is no more.
void closed(int vid);
/// The calling thread carries out a message of `vid`'s peer, and may map, read and unmap memory until the
/// next.
void serves(int vid);

/// True from the moment when the memory of `vid` was found to be gone until closed().
bool truncated(int vid);

}  // namespace viaduct::dataplane::guest_memory
