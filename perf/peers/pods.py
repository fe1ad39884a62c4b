"""Two ordinary pods, plugged in by a peer's CNI plugin, for the scenarios between kernel sockets."""
import contextlib
from types import SimpleNamespace

from bench.session import say
from viaduct import daemons, netns, process

from . import for_scenario

SUBNETS = ("10.90.0.0/16", "fd00:90::/64")


def both_families(ipam):
    """Built-in and host-local say ranges alike."""
    return {**ipam, "ranges": [[{"subnet": subnet}] for subnet in SUBNETS]}


@contextlib.contextmanager
def pair(peer, directory, **options):
    """[{space, addresses: {4: ..., 6: ...}}, ...], with every address past its duplicate detection. `options` are the peer's."""
    with peer.cni(directory, **options) as network, contextlib.ExitStack() as stack:
        config = {**network.config, "ipam": both_families(network.config["ipam"])}
        pods = []
        for number in range(2):
            space = stack.enter_context(netns.Netns("pod"))
            added = daemons.run_plugin(network.binary, "ADD", config, f"pod-{number}", space.path, path=(network.plugins,),
                                       prefix=network.namespace.command())
            if added.status != 0:
                raise process.Failed(f"ADD: {added}")
            addresses = {6 if ":" in each["address"] else 4: each["address"].partition("/")[0]
                         for each in added.output["ips"]}
            pods.append(SimpleNamespace(space=space, addresses=addresses))
        for address in pods[1].addresses.values():
            pods[0].space.ping(address, count=1)
        yield pods


def measure(session, scenario, runs, once):
    """{quantity: {peer: [a figure a run]}}. `once(client, server, directory)` gives {quantity: figure} of a pair."""
    chosen = session.choose_peers(for_scenario("cni"), scenario)
    found = {}
    for run in range(1, runs + 1):
        for name, peer in chosen.items():
            directory = session.make_directory(name)
            with pair(peer, directory) as (client, server):
                figures = once(client, server, directory)
            for quantity, figure in figures.items():
                found.setdefault(quantity, {each: [] for each in chosen})[name].append(figure)
            say(f"{scenario} run {run} of {runs}, {name}: " + ", ".join(
                f"{' x '.join(map(str, quantity)) if isinstance(quantity, tuple) else quantity} {figure:.1f}" for quantity, figure in figures.items()))
    return found
