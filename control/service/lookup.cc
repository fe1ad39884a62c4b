#include "service/lookup.h"

#include <vector>

namespace viaduct::service {

namespace {

using kubernetes::ObjectName;

Lookup absent(const std::string& text) {
    return {{},
            404,
            "service " + text.substr(0, 512) + " does not exist; \"viaduct service\" lists those that do"};
}

/// In whatever namespace.
Lookup find_anywhere(const kubernetes::Objects& objects, const std::string& own) {
    std::vector<ObjectName> found;
    for (const auto& [name, service] : objects.services) {
        if (name.name == own) found.push_back(name);
    }
    if (found.size() == 1) return {found.front(), 200, {}};
    if (found.empty()) return absent(own);
    std::string names;
    for (const auto& name : found)
        names += (names.empty() ? "" : ", ") + to_string(name);
    return {{}, 409, "service " + own + " may be any of " + names + "; write its namespace, too"};
}

}  // namespace

Lookup find_service(const View& view, const std::string& text) {
    const auto slash = text.find('/');
    if (text.empty() || slash == 0 || slash == text.size() - 1)
        return {{}, 400, "service: is named NAMESPACE/NAME, or NAME"};
    if (view.snapshot == nullptr) return absent(text);
    const auto& objects = view.snapshot->objects;
    if (slash == std::string::npos) return find_anywhere(objects, text);
    const ObjectName name{text.substr(0, slash), text.substr(slash + 1)};
    return objects.services.contains(name) ? Lookup{name, 200, {}} : absent(text);
}

std::vector<const model::Service*> compiled_of(const View& view, const ObjectName& name) {
    std::vector<const model::Service*> all;
    for (auto it = view.compiled.lower_bound({name.namespace_, name.name, ""});
         it != view.compiled.end() && std::get<0>(it->first) == name.namespace_ &&
         std::get<1>(it->first) == name.name;
         ++it)
        all.push_back(&it->second);
    return all;
}

}  // namespace viaduct::service
