"""Both daemons of Viaduct as they come, whose services come from a directory of manifests, and what it takes them."""
import re
import time
from pathlib import Path

from viaduct import daemons, hosts, netns, pods, process

from bench import services, udp_probe

CLIENTS = hosts.Network("client", "10.81.0.0/24", "fd81::/64")
SERVERS = hosts.Network("server", "10.82.0.0/24", "fd82::/64")
FILE_OF = 1000  # services whose slices are in one file
PROBED = 10  # services that have to answer: spread over all, the last one among them
SECONDS = 60
QUIET_SECONDS = 3


class MeasuredServices:
    """What it starts ends with `stack`."""

    def __init__(self, directory, stack):
        self.directory, self.manifests = directory, directory / "manifests"
        self.manifests.mkdir()
        options = ("--manifests", self.manifests, "--node-name", "node-x")
        self.node = stack.enter_context(daemons.Node(self.directory / "node", control_options=options))
        client, server = (hosts.Host(stack.enter_context(netns.Netns(network.name)), network, 2)
                          for network in (CLIENTS, SERVERS))
        route = {"prefix": services.ENDPOINT_NETWORK,
                 "next_hops": [{"interface": SERVERS.name, "via": server.address[4]}]}
        pods.change(self.node, hosts.objects((client, server), routes=[route]))
        for host in (client, server):
            host.up()
            pods.wait_link(self.node, host.port)
        self.probe = udp_probe.Probe(client, server)
        stack.callback(self.probe.close)
        # Neighbours are known, and the way is there, before anything is timed.
        self._probe([(services.other_endpoint(0), services.TARGET_PORT)], lambda *_: True)
        self.before = self._quiet_memory()

    def _probe(self, targets, accept):
        found = self.probe.until(targets, accept, SECONDS)
        if missing := [target for target in targets if target not in found]:
            raise process.Failed(f"viaduct: {missing} did not answer as they should in {SECONDS} s\n{self.node.logs()}")
        return found

    def load(self, cluster):
        """Seconds from the first rename() to the last service that is answered."""
        texts = {"services.yaml": "---\n".join(map(services.service_manifest, cluster))}
        for first in range(0, len(cluster), FILE_OF):
            texts[f"slices-{first}.yaml"] = "---\n".join(map(services.slice_manifest, cluster[first:first + FILE_OF][:-1]))
            last = cluster[first:first + FILE_OF][-1]
            texts[f"slice-{last.name}.yaml"] = services.slice_manifest(last)
        for name, text in texts.items():
            (self.manifests / f".{name}").write_text(text)
        step = max(1, len(cluster) // PROBED)
        probed = {(each.address, services.PORT): each for each in cluster[step - 1::step]}
        began = time.monotonic()
        for name in texts:
            (self.manifests / f".{name}").rename(self.manifests / name)
        found = self._probe(list(probed), lambda target, endpoint: endpoint in probed[target].endpoints)
        return max(found.values()) - began

    def changes(self, service, endpoints):
        """A list of seconds: the endpoint that the client's flow is at is replaced by each of `endpoints`; from rename()
        to the first packet that goes elsewhere."""
        seconds = []
        target = (service.address, services.PORT)
        file = self.manifests / f"slice-{service.name}.yaml"
        for endpoint in endpoints:
            at = []
            self._probe([target], lambda _, answered: at.append(answered) or True)
            service.replace(at[0], endpoint)
            file.with_name(".changed").write_text(services.slice_manifest(service))
            began = time.monotonic()
            file.with_name(".changed").rename(file)
            found = self._probe([target], lambda _, answered: answered in service.endpoints)
            seconds.append(found[target] - began)
        return seconds

    def memory(self):
        """MB that both processes have grown by since they had no services, once they are quiet."""
        return self._quiet_memory() - self.before

    def _quiet_memory(self):
        last, since = None, 0
        while last is None or time.monotonic() < since + QUIET_SECONDS:
            time.sleep(0.1)
            now = sum(self.resident().values())
            if last is None or abs(now - last) > 0.5:
                last, since = now, time.monotonic()
        return last

    def resident(self):
        """{process: MB}, huge pages included."""
        sizes = {}
        for each in (self.node.control, self.node.dataplane):
            status = Path(f"/proc/{each.pid}/status").read_text()
            sizes[each.name] = sum(int(found) for found in re.findall(r"^(?:VmRSS|HugetlbPages):\s+(\d+) kB$", status, re.M)) \
                * 1024 / 1e6
        return sizes
