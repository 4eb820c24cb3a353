"""The images of a split with their objects: what is learned from, and what scoring needs of the annotations."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from operator import index as as_int
from pathlib import Path
from typing import Any, overload

import numpy as np

from yolab.data import outlines as tracing
from yolab.data.columns import Texts, bounds, integers, numbers, protect
from yolab.data.images import ImageFolder
from yolab.data.outlines import Outlines


@dataclass(frozen=True)
class Sample:
    """One image and its objects, those marked as crowds left out."""

    images: ImageFolder
    file_name: str
    image_id: int
    width: int
    height: int
    boxes: np.ndarray  # (objects, 4) float32, x1 y1 x2 y2 in pixels, within the image
    classes: np.ndarray  # (objects,) int64, 0..classes-1
    outlines: Outlines | None = None  # the polygons of those that have any, in pixels; only read to learn from

    @property
    def path(self) -> Path:
        """Where the file is, or was before it was packed."""
        return self.images.folder / self.file_name


@dataclass(frozen=True, eq=False)
class Samples(Sequence[Sample]):
    """Samples as columns: each is made when it is asked for, of views into them. The objects of sample i are those from
    bounds[i] to before bounds[i + 1]; `outlines` has those of all objects, numbered through."""

    folders: tuple[ImageFolder, ...]
    folder_of: np.ndarray  # (samples,) place in `folders`
    file_names: Texts
    image_ids: np.ndarray  # (samples,)
    sizes: np.ndarray  # (samples, 2) int64, width and height
    bounds: np.ndarray  # (samples + 1,)
    boxes: np.ndarray  # (objects, 4) float32
    classes: np.ndarray  # (objects,) int64
    outlines: Outlines | None = None

    def __post_init__(self) -> None:
        protect(self)
        if self.outlines is not None:
            protect(self.outlines)

    @classmethod
    def of(cls, samples: Iterable[Sample]) -> "Samples":
        samples = list(samples)
        folders = tuple({id(sample.images): sample.images for sample in samples}.values())
        place = {id(folder): number for number, folder in enumerate(folders)}
        object_bounds = bounds([len(sample.boxes) for sample in samples])
        return cls(
            folders,
            np.array([place[id(sample.images)] for sample in samples], np.int64),
            Texts.of(sample.file_name for sample in samples),
            integers([sample.image_id for sample in samples]),
            np.array([[sample.width, sample.height] for sample in samples], np.int64).reshape(-1, 2),
            object_bounds,
            np.concatenate([np.zeros((0, 4), np.float32), *(sample.boxes for sample in samples)]),
            np.concatenate([np.zeros(0, np.int64), *(sample.classes for sample in samples)]),
            tracing.joined([sample.outlines for sample in samples], object_bounds),
        )

    @classmethod
    def joined(cls, parts: Sequence["Samples"]) -> "Samples":
        """Return all samples of all parts, one part after the other."""
        folder_bounds = bounds([len(part.folders) for part in parts])
        return cls(
            tuple(folder for part in parts for folder in part.folders),
            np.concatenate([part.folder_of + first for part, first in zip(parts, folder_bounds)]),
            Texts.joined([part.file_names for part in parts]),
            np.concatenate([part.image_ids for part in parts]),
            np.concatenate([part.sizes for part in parts]),
            bounds(np.concatenate([np.diff(part.bounds) for part in parts])),
            np.concatenate([part.boxes for part in parts]),
            np.concatenate([part.classes for part in parts]),
            tracing.joined([part.outlines for part in parts], bounds([len(part.boxes) for part in parts])),
        )

    def __len__(self) -> int:
        return len(self.image_ids)

    @overload
    def __getitem__(self, index: int) -> Sample: ...
    @overload
    def __getitem__(self, index: slice) -> tuple[Sample, ...]: ...
    def __getitem__(self, index: int | slice) -> Sample | tuple[Sample, ...]:
        if isinstance(index, slice):
            return tuple(self[number] for number in range(*index.indices(len(self))))
        index = range(len(self))[as_int(index)]
        first, last = self.bounds[index : index + 2].tolist()
        width, height = self.sizes[index].tolist()
        return Sample(
            self.folders[self.folder_of[index]],
            self.file_names[index],
            int(self.image_ids[index]),
            width,
            height,
            self.boxes[first:last],
            self.classes[first:last],
            self._outlines(index) if self.outlines is not None else None,
        )

    @property
    def image_of_object(self) -> np.ndarray:
        """(objects,) the sample that each belongs to."""
        return np.repeat(np.arange(len(self)), np.diff(self.bounds))

    def moved(self, to: Mapping[Path, Path]) -> "Samples":
        """Return the samples with their images in other folders, `to` which those of their data sets have moved."""
        folders = [ImageFolder(to[each.folder.parent] / each.folder.name, each.upright) for each in self.folders]
        return replace(self, folders=tuple(folders))

    def relabelled(self, label_of: np.ndarray) -> "Samples":
        """Return the samples with other labels, label_of (classes,); the objects that get -1 are gone."""
        labels = label_of[self.classes]
        kept = labels >= 0
        return replace(
            self,
            bounds=bounds(kept)[self.bounds],
            boxes=self.boxes[kept],
            classes=labels[kept],
            outlines=self.outlines.only(kept) if self.outlines is not None else None,
        )

    @cached_property
    def _polygon_bounds(self) -> tuple[np.ndarray, np.ndarray]:
        """For each sample, and after the last, its first polygon and that polygon's first point."""
        assert self.outlines is not None
        polygons = np.searchsorted(self.outlines.owners, self.bounds)
        return polygons, bounds(self.outlines.lengths)[polygons]

    def _outlines(self, index: int) -> Outlines | None:
        assert self.outlines is not None
        polygons, points = (slice(*each[index : index + 2].tolist()) for each in self._polygon_bounds)
        if polygons.start == polygons.stop:
            return None
        owners = self.outlines.owners[polygons] - self.bounds[index]
        return Outlines(self.outlines.points[points], self.outlines.lengths[polygons], owners)


def _stated(area: float | None, own: float) -> float:
    return own if area is None else area


@dataclass(frozen=True, eq=False)
class Truth(Sequence[dict[str, Any]]):
    """What scoring needs of annotations, crowds too, as columns; each comes as the JSON has it, with the box's area
    where the data set doesn't state one, and no crowd where it doesn't say."""

    ids: np.ndarray
    image_ids: np.ndarray
    category_ids: np.ndarray
    boxes: np.ndarray  # (annotations, 4) float64, x y width height
    areas: np.ndarray
    crowds: np.ndarray  # (annotations,) int8

    def __post_init__(self) -> None:
        protect(self)

    @classmethod
    def of(cls, annotations: Sequence[Mapping[str, Any]]) -> "Truth":
        boxes = np.array([annotation["bbox"] for annotation in annotations], np.float64).reshape(-1, 4)
        own_areas = (boxes[:, 2] * boxes[:, 3]).tolist()
        return cls(
            integers([annotation["id"] for annotation in annotations]),
            integers([annotation["image_id"] for annotation in annotations]),
            integers([annotation["category_id"] for annotation in annotations]),
            boxes,
            numbers([_stated(annotation.get("area"), own) for annotation, own in zip(annotations, own_areas)]),
            np.array([annotation.get("iscrowd") or 0 for annotation in annotations], np.int8),
        )

    def __len__(self) -> int:
        return len(self.ids)

    @overload
    def __getitem__(self, index: int) -> dict[str, Any]: ...
    @overload
    def __getitem__(self, index: slice) -> tuple[dict[str, Any], ...]: ...
    def __getitem__(self, index: int | slice) -> dict[str, Any] | tuple[dict[str, Any], ...]:
        if isinstance(index, slice):
            return tuple(self._rows(index))
        index = range(len(self))[as_int(index)]
        return next(self._rows(slice(index, index + 1)))

    def __iter__(self) -> Iterator[dict[str, Any]]:
        return self._rows(slice(None))

    def _rows(self, which: slice) -> Iterator[dict[str, Any]]:
        names = ("id", "image_id", "category_id", "bbox", "area", "iscrowd")
        columns = (self.ids, self.image_ids, self.category_ids, self.boxes, self.areas, self.crowds)
        return (dict(zip(names, row)) for row in zip(*(column[which].tolist() for column in columns)))

    def relabelled(self, id_of: Mapping[int, int | None]) -> "Truth":
        """Return the annotations with other category ids; those that get None are gone."""
        new = [id_of[category] for category in self.category_ids.tolist()]
        kept = np.array([category is not None for category in new], bool)
        return Truth(
            self.ids[kept],
            self.image_ids[kept],
            integers([category for category in new if category is not None]),
            self.boxes[kept],
            self.areas[kept],
            self.crowds[kept],
        )
