"""The shards that every batch is cut into, so that a run's result doesn't depend on how many workers it has."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import TypeVar

import torch
import torch.distributed as dist
from torch import Tensor, nn

from yolab.training.batch_norm import own_norms
from yolab.training.distributed import Workers

Node = tuple[int, int]  # of the tree of sums: its first shard, and the one after its last
Value = TypeVar("Value")


def held_by(rank: int, workers: int, shards: int) -> range:
    """Return the shards that a worker has: neighbours, and as many as the others have, to within one."""
    return range(rank * shards // workers, (rank + 1) * shards // workers)


class Shards:
    """`count` parts of each batch, each a logical worker (EasyScale, SC'23): its images, its statistics of batch norm
    and its means in the loss are its own, whichever process has it.

    Between two steps of the optimiser the gradients and statistics of each shard wait apart. They are added along one
    binary tree over all shards, so that the sums have the same bits however many workers there are.
    """

    def __init__(self, workers: Workers, count: int, model: nn.Module) -> None:
        self.count, self.held = count, held_by(workers.rank, workers.size, count)
        self._workers = workers
        self._parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
        self._statistics = [buffer for norm in own_norms(model) for buffer in norm.buffers()]
        self._averaged = [buffer for buffer in self._statistics if buffer.is_floating_point()]  # the rest counts
        self._agreed: list[Tensor] = []
        self._kept: dict[int, tuple[list[Tensor | None], list[Tensor]]] = {}

    @contextmanager
    def turn(self, shard: int) -> Iterator[None]:
        """Let the gradients and the statistics in the model be those of a shard, while it is worked on."""
        if self.count == 1:
            yield
            return
        if not self._kept:
            self._agreed = [buffer.clone() for buffer in self._statistics]
        gradients, statistics = self._kept.get(shard, ([None] * len(self._parameters), self._agreed))
        for parameter, gradient in zip(self._parameters, gradients):
            parameter.grad = gradient
        for buffer, own in zip(self._statistics, statistics):
            buffer.copy_(own)
        yield
        self._kept[shard] = (
            [parameter.grad for parameter in self._parameters],
            [buffer.clone() for buffer in self._statistics],
        )

    @torch.no_grad()
    def merge(self) -> None:
        """Put the sum of all shards' gradients and the mean of their statistics into the model, on every worker."""
        if self.count == 1:
            return
        used = [number for number, gradient in enumerate(self._kept[self.held[0]][0]) if gradient is not None]
        leaves = {(shard, shard + 1): self._in_order(shard, used) for shard in self.held}
        self._kept = {}
        parts = {node: _sum(*node, leaves, _add) for node in _whole_nodes(0, self.count, self.held)}
        total = next(iter(parts.values())) if self._workers.size == 1 else self._exchanged(parts)
        for number, gradient in zip(used, total):
            self._parameters[number].grad = _like(self._parameters[number], gradient)
        for buffer, summed in zip(self._averaged, total[len(used) :]):
            buffer.copy_(summed / self.count)

    def _in_order(self, shard: int, used: list[int]) -> list[Tensor]:
        """Return the gradients and statistics of a shard, each as a row of its numbers in the order of its memory."""
        gradients, statistics = self._kept[shard]
        rows = [_row(self._parameters[number], gradients[number]) for number in used]
        return rows + [buffer for buffer in statistics if buffer.is_floating_point()]

    def _exchanged(self, parts: Mapping[Node, list[Tensor]]) -> list[Tensor]:
        """Return the sums over all workers' shards, of the sums that this worker has over parts of the tree.

        Each worker gets a stretch of all the numbers from everyone, goes on along the tree, and tells it everyone.
        """
        size = self._workers.size
        lengths = [len(tensor) for tensor in next(iter(parts.values()))]
        stretch = -(-sum(lengths) // size)
        [like, *_] = next(iter(parts.values()))
        sent = like.new_zeros(len(parts), size * stretch)
        for row, tensors in zip(sent, parts.values()):
            torch.cat(tensors, out=row[: sum(lengths)])
        sent = sent.view(len(parts), size, stretch).transpose(0, 1).reshape(-1, stretch)
        nodes = [_whole_nodes(0, self.count, held_by(rank, size, self.count)) for rank in range(size)]
        counts = [len(each) for each in nodes]
        received = like.new_empty(sum(counts), stretch)
        dist.all_to_all_single(received, sent, counts, [len(parts)] * size)
        known = {node: [row] for node, row in zip((node for each in nodes for node in each), received)}
        [own] = _sum(0, self.count, known, _add)
        total = like.new_empty(size * stretch)
        dist.all_gather_single(total, own)
        return list(total[: sum(lengths)].split(lengths))


def _middle(start: int, end: int) -> int:
    return (start + end) // 2


def _whole_nodes(start: int, end: int, held: range) -> list[Node]:
    """Return the largest nodes of the tree over [start, end) whose shards are all held."""
    if held.start <= start and end <= held.stop:
        return [(start, end)]
    if end <= held.start or held.stop <= start:
        return []
    middle = _middle(start, end)
    return _whole_nodes(start, middle, held) + _whole_nodes(middle, end, held)


def _sum(start: int, end: int, known: Mapping[Node, Value], add: Callable[[Value, Value], Value]) -> Value:
    """Return the sum along the tree over [start, end), from the nodes that are known."""
    if (start, end) in known:
        return known[start, end]
    middle = _middle(start, end)
    return add(_sum(start, middle, known, add), _sum(middle, end, known, add))


def _add(left: list[Tensor], right: list[Tensor]) -> list[Tensor]:
    torch._foreach_add_(left, right)
    return left


def _row(parameter: Tensor, gradient: Tensor | None) -> Tensor:
    """Return a gradient's numbers in the order in which its parameter has them in memory, which leaves no gaps."""
    assert gradient is not None
    if gradient.stride() != parameter.stride():
        gradient = torch.empty_like(parameter).copy_(gradient)
    return gradient.as_strided((gradient.numel(),), (1,))


def _like(parameter: Tensor, row: Tensor) -> Tensor:
    return row.as_strided(parameter.shape, parameter.stride(), row.storage_offset())
