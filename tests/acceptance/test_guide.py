"""docs/cluster.md, block by block, on machines of its own: what `make cluster-demo` runs."""

import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from pathlib import Path

import pytest

from tests.acceptance.conftest import REPOSITORY, clean_environment
from tests.acceptance.nodes import ISOLATED, OUTSIDE, Nodes
from tests.acceptance.servers import postgres_server

pytestmark = [pytest.mark.acceptance, pytest.mark.timeout(900)]
BLOCKS = re.findall(r"^```sh\n# on ([^\n]+)\n(.*?)^```$", (REPOSITORY / "docs" / "cluster.md").read_text(), re.M | re.S)


@pytest.fixture
def nodes(tmp_path: Path) -> Iterator[Nodes]:
    nodes = Nodes(tmp_path)
    print("Three nodes", "in network namespaces." if ISOLATED else "on loopback: namespaces need root and iproute2.")
    yield nodes
    nodes.end()


def test_the_guide_to_a_cluster_is_right_line_by_line(nodes: Nodes, tmp_path: Path) -> None:
    own = {name: value for name, value in clean_environment().items() if not name.startswith(("AWS_", "RAY_"))}
    own |= {"PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}
    own |= {"SERVICES": OUTSIDE, "HEAD": nodes.address(0), "XDG_CACHE_HOME": str(nodes.own / "cache")}
    machines = {  # None is no node
        "the machine of the servers": (None,),
        "the head": (0,),
        "each other node": (1, 2),
        "the head, when the nodes are there": (0,),
        "a laptop": (None,),
    }
    assert [where for where, _ in BLOCKS] == list(machines)
    with postgres_server() as (_, store), ExitStack() as stays:
        for where, lines in BLOCKS:
            if "when the nodes are there" in where:
                nodes.wait_for(3)
            for node in machines[where]:
                print(f"\n# on {where}\n{lines}")
                told = {"POSTGRES": store, "NODE": nodes.address(node or 0)}
                within = [] if node is None else nodes.place(node, tmp_path)
                typed = subprocess.Popen(
                    [*within, "bash", "-euc", lines],
                    cwd=tmp_path,
                    env=own | told,
                    stdout=subprocess.PIPE,
                    stderr=subprocess.PIPE,
                    text=True,
                    start_new_session=True,
                )
                stays.callback(end, typed.pid)
                out, errors = typed.communicate(timeout=600)
                print(out, errors)
                assert typed.returncode == 0, (where, out, errors)
    assert "is now shapes version 1" in errors


def end(group: int) -> None:
    """End what a block left running."""
    with suppress(ProcessLookupError):
        os.killpg(group, signal.SIGKILL)
