"""A real Ray cluster for tests: each node in a network namespace with an address and a folder of its own, where there
are root and iproute2, else all on loopback."""

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil

from tests.acceptance.servers import BUCKET_KEYS

ISOLATED = os.geteuid() == 0 and shutil.which("ip") is not None
PORT, S3_PORT, MLFLOW_PORT = 6379, 5001, 5000
OUTSIDE = "10.231.77.254" if ISOLATED else "127.0.0.1"  # what is no node, and all nodes reach: servers, this process
_BRIDGE = "yolab-bridge"
_RAY = [str(Path(sys.executable).with_name("ray")), "start", "--block", "--object-store-memory=100000000"]
# a node that is lost is one after seconds, not after a minute
_QUICK = {
    "RAY_health_check_period_ms": "1000",
    "RAY_health_check_timeout_ms": "2000",
    "RAY_health_check_failure_threshold": "3",
}


class Nodes:
    """Nodes 0, 1, …, of which 0 is the head. Where they are isolated, each has a folder `own` that no other sees."""

    def __init__(self, folder: Path, dashboard: bool = False) -> None:
        """`dashboard`: whether the head has one, which takes jobs."""
        self.folder, self.own, self.dashboard = folder, folder / "own", dashboard
        self.own.mkdir()
        self.scratch = self.own / "scratch"  # for temporary files, small enough to be filled
        self.scratch.mkdir()
        (folder / "token").write_text("of this test alone, long enough")
        self.environment = {
            **os.environ,
            **BUCKET_KEYS,
            "XDG_CACHE_HOME": str(self.own / "cache"),
            "TMPDIR": str(self.scratch),
            "RAY_TMPDIR": "/tmp",  # where it is without the line above
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",  # as jobs find Python
            "RAY_metrics_report_interval_ms": "1000",
            "RAY_AUTH_MODE": "token",
            "RAY_AUTH_TOKEN_PATH": str(folder / "token"),
            "RAY_ADDRESS": f"{self.address(0)}:{PORT}",
            "AWS_ENDPOINT_URL": f"http://{OUTSIDE}:{S3_PORT}",
        }
        if ISOLATED:
            _ip("link", "add", _BRIDGE, "type", "bridge")
            _ip("address", "add", f"{OUTSIDE}/24", "dev", _BRIDGE)
            _ip("link", "set", _BRIDGE, "up")
        self._keepers: dict[int, subprocess.Popen[bytes]] = {}  # of the namespaces of each node
        self._roots: dict[int, subprocess.Popen[bytes]] = {}

    def address(self, node: int) -> str:
        return f"10.231.77.{node + 1}" if ISOLATED else "127.0.0.1"

    def place(self, node: int, folder: Path) -> list[str]:
        """Return the words that let a command run on a node, in a folder; its namespaces are there from then on."""
        if not ISOLATED:
            return []
        if node not in self._keepers:
            _connect(node, self.address(node))
        if node not in self._keepers or self._keepers[node].poll() is not None:
            # processes and Ray's own files are the node's, as on a machine: by others' a driver would take another
            # node for its own
            hidden = ["/tmp/ray", *([str(self.own)] if node else [])]
            hiding = " && ".join(f"mkdir -p {folder} && mount -t tmpfs none {folder}" for folder in hidden)
            hiding += f" && mkdir -p {self.scratch} && mount -t tmpfs -o size=128m none {self.scratch}"
            keeping = ["ip", "netns", "exec", _name(node), "unshare", "--mount", "--pid", "--fork", "--mount-proc"]
            keeping += ["sh", "-c", f"{hiding} && echo ready && exec sleep infinity"]
            keeper = self._keepers[node] = subprocess.Popen(keeping, stdout=subprocess.PIPE)
            assert keeper.stdout
            assert keeper.stdout.readline() == b"ready\n"
        [kept] = psutil.Process(self._keepers[node].pid).children()
        return ["nsenter", "--target", str(kept.pid), "--net", "--mount", "--pid", "env", "-C", str(folder)]

    def begin(self, node: int, cpus: int = 1, **options: str) -> None:
        """Start a node, or start it again."""
        words = [*_RAY, f"--num-cpus={cpus}", f"--node-ip-address={self.address(node)}"]
        words += [f"--{option.replace('_', '-')}={value}" for option, value in options.items()]
        environment = {name: value for name, value in self.environment.items() if name != "RAY_ADDRESS"}
        if node == 0:
            words += ["--head", f"--port={PORT}", f"--include-dashboard={self.dashboard}"]
            words += [f"--dashboard-host={self.address(0)}"] if self.dashboard else []
            environment |= _QUICK
        else:
            words += [f"--address={self.environment['RAY_ADDRESS']}"]
        with (self.folder / f"node-{node}.log").open("ab") as log:
            self._roots[node] = subprocess.Popen(
                [*self.place(node, self.folder), *words],
                env=environment,
                start_new_session=True,
                stdout=log,
                stderr=log,
            )

    def kill(self, node: int) -> None:
        """End a node at once, with all that runs on it."""
        for process in self.processes(node):
            with suppress(psutil.NoSuchProcess):  # gone with the first, as all are children of a namespace's
                process.kill()
        for ended in (self._roots, self._keepers):
            if node in ended:
                ended[node].wait()

    def runs(self, node: int) -> bool:
        return self._roots[node].poll() is None

    def processes(self, node: int) -> list[psutil.Process]:
        """Return what runs on a node."""
        if ISOLATED:
            found = [int(word) for word in _ip("netns", "pids", _name(node), check=False).split()]
            return [psutil.Process(each) for each in found if psutil.pid_exists(each)]
        root = self._roots[node].pid
        return [*psutil.Process(root).children(recursive=True), psutil.Process(root)] if psutil.pid_exists(root) else []

    def fill(self, node: int) -> None:
        """Leave no room for what a node's processes write for themselves."""
        filling = ["dd", "if=/dev/zero", f"of={self.scratch / 'full'}", "bs=1M"]
        subprocess.run([*self.place(node, self.folder), *filling], capture_output=True)

    def empty(self, node: int) -> None:
        """Give that room back."""
        subprocess.run([*self.place(node, self.folder), "rm", "-f", str(self.scratch / "full")], check=True)

    def cut(self, node: int) -> None:
        """Take a node off the network."""
        _ip("link", "set", _cable(node), "down")

    def mend(self, node: int) -> None:
        """Put a node back on the network."""
        _ip("link", "set", _cable(node), "up")

    def start(self, command: Sequence[str], folder: Path, node: int = 0, **more: str) -> "subprocess.Popen[str]":
        """Start a command on a node."""
        return subprocess.Popen(
            [*self.place(node, folder), *command],
            cwd=folder,
            env=self.environment | more,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def run(
        self, command: Sequence[str], folder: Path, node: int = 0, **more: str
    ) -> "subprocess.CompletedProcess[str]":
        """Run a command on a node to its end."""
        running = self.start(command, folder, node, **more)
        try:
            out, errors = running.communicate(timeout=300)
        finally:
            end(running)
        return subprocess.CompletedProcess(command, running.returncode, out, errors)

    def there(self) -> dict[str, str]:
        """Return the nodes that the cluster has, by their ids, with their addresses."""
        look = "import ray; ray.init(logging_level='ERROR'); "
        look += "print('found', *(n['NodeID'] + ' ' + n['NodeManagerAddress'] for n in ray.nodes() if n['Alive']))"
        done = self.run([sys.executable, "-c", look], self.folder)
        words = done.stdout.partition("found")[2].split()
        return dict(zip(words[::2], words[1::2]))

    def wait_for(self, count: int) -> None:
        """Wait until so many nodes are there."""
        deadline = time.monotonic() + 120
        while len(there := self.there()) != count:
            assert time.monotonic() < deadline, f"the cluster has {there}, and not {count} nodes"
            time.sleep(1)

    def end(self) -> None:
        """End all nodes, and take away what joined them."""
        for node in {*self._roots, *self._keepers}:
            self.kill(node)
            if ISOLATED:
                _ip("netns", "delete", _name(node), check=False)
                # a namespace, and its cable with it, lives as long as its last process
                _ip("link", "delete", _cable(node), check=False)
        if ISOLATED:
            _ip("link", "delete", _BRIDGE, check=False)


def end(running: "subprocess.Popen[str]") -> None:
    """Kill a command that was started on a node."""
    if running.poll() is None:
        for process in psutil.Process(running.pid).children(recursive=True):
            with suppress(psutil.NoSuchProcess):
                process.kill()
        running.kill()
        running.wait()


@contextmanager
def cluster(folder: Path, count: int, dashboard: bool = False) -> Iterator[Nodes]:
    """Give a cluster of so many nodes of one CPU."""
    nodes = Nodes(folder, dashboard)
    try:
        for node in range(count):
            nodes.begin(node)
            if node == 0 or not ISOLATED:  # in one folder two that start at once take the same names
                nodes.wait_for(node + 1)
        nodes.wait_for(count)
        yield nodes
    finally:
        nodes.end()


def _name(node: int) -> str:
    return f"yolab-{node}"


def _cable(node: int) -> str:
    return f"yolab-cable-{node}"


def _connect(node: int, address: str) -> None:
    name, cable = _name(node), _cable(node)
    _ip("netns", "add", name)
    _ip("link", "add", cable, "type", "veth", "peer", "name", "eth0", "netns", name)
    _ip("link", "set", cable, "master", _BRIDGE, "up")
    _ip("-n", name, "address", "add", f"{address}/24", "dev", "eth0")
    for device in ("eth0", "lo"):
        _ip("-n", name, "link", "set", device, "up")
    # it leads nowhere; but by it a process finds out which of its machine's addresses the others see
    _ip("-n", name, "route", "add", "default", "via", OUTSIDE)


def _ip(*words: str, check: bool = True) -> str:
    return subprocess.run(["ip", *words], check=check, capture_output=True, text=True).stdout
