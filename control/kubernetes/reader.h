// Manifests into objects: text of YAML or JSON, of one document or many, each read or refused by itself.
#pragma once

#include <compare>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "kubernetes/objects.h"

namespace viaduct::kubernetes {

/// The kinds that are read. All others are passed over.
enum class ObjectKind : std::uint8_t { service, endpoint_slice, endpoints, pod, node };
std::string_view to_string(ObjectKind kind);  ///< "Service", ...
/// By that name, or as people write it ("service", "services", "svc"), in any case; nothing: none of these.
std::optional<ObjectKind> kind_of(std::string_view name);

/// What the API knows an object by.
struct ObjectId {
    ObjectKind kind = ObjectKind::service;
    std::string namespace_;  ///< empty: a Node
    std::string name;
    friend auto operator<=>(const ObjectId&, const ObjectId&) = default;
};
/// "Service apps/web"
std::string to_string(const ObjectId& id);

/// One thing wrong with one document.
struct DocumentFault {
    std::shared_ptr<const std::string> file;
    std::uint32_t line = 0;  ///< from 1; 0: of the file as a whole
    std::string object;      ///< "Service apps/web", as far as it is known
    std::string field;       ///< "spec.ports[1].nodePort"; empty: the document as a whole
    std::string reason;      ///< reads on from the field: "is 70000; 1 to 65535 are possible"
    friend bool operator==(const DocumentFault& a, const DocumentFault& b);
};
/// "web.yaml:12: Service apps/web: spec.ports[1].nodePort is 70000; 1 to 65535 are possible"
std::string to_string(const DocumentFault& fault);

using AnyObject = std::variant<Stored<Service>, Stored<EndpointSlice>, Stored<Pod>, Stored<Node>>;

struct Document {
    ObjectId id;
    std::uint32_t line = 0;
    bool refused = false;            ///< it has faults; `objects` is empty
    std::vector<AnyObject> objects;  ///< one, but of Endpoints as many as their subsets have families
};

struct Documents {
    std::vector<Document> documents;  ///< in their order; no `id` twice
    std::vector<DocumentFault> faults;
    std::uint32_t passed_over = 0;  ///< objects of kinds that are none of ours
    std::uint32_t nameless = 0;     ///< refused, and which object it was to be is not known
};

/// Longest text that is looked at.
inline constexpr std::size_t kTextBytesMost = 256U << 20U;

/// Reads all documents of a text (several, "---" between them, and lists with their items). One that has a
/// fault is refused alone. `file`: what people call the text. `pool`: who reads many texts shares what they
/// have alike by one. Any thread; throws only std::bad_alloc.
Documents read_documents(std::string_view text, const std::shared_ptr<const std::string>& file,
                         TextPool& pool);
Documents read_documents(std::string_view text, const std::string& file);

/// Puts an object into its map, in place of what has its key; takes what has its key away.
void put(Objects& objects, const AnyObject& object);
void erase(Objects& objects, const AnyObject& object);
/// The same object from another place.
AnyObject moved(const AnyObject& object, const Origin& origin);
/// All that was read.
Objects objects_of(const Documents& documents);

}  // namespace viaduct::kubernetes
