// Services by the names that people write.
#pragma once

#include <string>

#include "kubernetes/objects.h"
#include "service/services.h"

namespace viaduct::service {

/// A name, or why there is none; `status` is HTTP's.
struct Lookup {
    kubernetes::ObjectName name;
    unsigned status = 200;
    std::string reason;
};

/// NAMESPACE/NAME, or NAME where there is one of that name alone. What is found is in the view's snapshot.
Lookup find_service(const View& view, const std::string& text);

/// Its programmed ports in the order of their names.
std::vector<const model::Service*> compiled_of(const View& view, const kubernetes::ObjectName& name);

}  // namespace viaduct::service
