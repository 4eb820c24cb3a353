import hashlib
import io
import json
import threading
import zipfile
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import SimpleNamespace

import pytest
from typer.testing import CliRunner

from tests.data.conftest import Tiny
from yolab.cli.data import app
from yolab.data import coco_download
from yolab.data.coco_download import Archive, Split, get
from yolab.data.digest import content_digest
from yolab.data.verify import verify
from yolab.errors import UsageError, YolabError
from yolab.tracking import data_version


class Mirror:
    """A server of archives on this machine. It can break off after so many bytes, and may not know of ranges."""

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}
        self.ranges = True
        self.breaks_off_after: list[int] = []
        self.asked: list[str | None] = []
        mirror = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                content = mirror.files.get(self.path)
                mirror.asked.append(self.headers["Range"])
                if content is None:
                    self.send_error(404)
                    return
                begin = int(self.headers["Range"].removeprefix("bytes=").removesuffix("-")) if mirror.ranges else 0
                self.send_response(206 if mirror.ranges else 200)
                self.send_header("Content-Length", str(len(content) - begin))
                self.end_headers()
                end = begin + mirror.breaks_off_after.pop(0) if mirror.breaks_off_after else len(content)
                self.wfile.write(content[begin:end])

            def log_message(self, *_: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.address = f"http://127.0.0.1:{self.server.server_port}"

    def publish(self, path: str, members: dict[str, bytes]) -> Archive:
        buffer = io.BytesIO()
        with zipfile.ZipFile(buffer, "w") as archive:
            for name, content in members.items():
                archive.writestr(name, content)
        self.files[f"/{path}"] = content = buffer.getvalue()
        return Archive(path, len(content), hashlib.sha256(content).hexdigest())


@pytest.fixture
def mirror(monkeypatch: pytest.MonkeyPatch) -> Iterator[Mirror]:
    monkeypatch.setattr(coco_download.time, "sleep", lambda seconds: None)
    served = Mirror()
    thread = threading.Thread(target=served.server.serve_forever, daemon=True)
    thread.start()
    yield served
    served.server.shutdown()
    thread.join()
    served.server.server_close()


@pytest.fixture
def published(mirror: Mirror, tiny: Tiny, monkeypatch: pytest.MonkeyPatch) -> dict[str, Split]:
    annotations = {f"annotations/instances_{s}.json": json.dumps(tiny.content[s]).encode() for s in tiny.content}
    described = mirror.publish("annotations/both.zip", annotations)
    splits = {}
    for name in tiny.content:
        images = {f"{name}/{path.name}": path.read_bytes() for path in tiny.folder(name).iterdir()}
        splits[name] = Split(
            mirror.publish(f"zips/{name}.zip", images), described, f"annotations/instances_{name}.json"
        )
    monkeypatch.setattr(coco_download, "SPLITS", splits)
    return splits


def test_what_comes_of_the_archives_is_the_data_set_packed(mirror, published, tiny, tmp_path):
    told = []
    packed = get(tmp_path / "coco", list(published), mirror.address, lambda *done: told.append(done))
    assert {name: split.images for name, split in packed.items()} == {"train": 2, "val": 2}
    assert verify(tmp_path / "coco").ok
    assert content_digest(tmp_path / "coco", ["train", "val"]) == content_digest(tiny.root, ["train", "val"])
    assert sorted(path.name for path in tmp_path.iterdir()) == ["coco", "tiny"]
    assert told[-1] == ("val, images packed", 2, 2)


@pytest.mark.parametrize("pinned_above", [False, True])
def test_the_command_pins_the_folder_but_renews_no_pin_of_a_folder_above(mirror, published, tmp_path, pinned_above):
    (tmp_path / ".dvc").mkdir()
    (tmp_path / ".dvc" / "config").write_text("[core]\n    no_scm = True\n")
    (tmp_path / "data").mkdir()
    if pinned_above:
        (tmp_path / "data" / "note").write_text("pinned")
        data_version.pin(tmp_path / "data")
    pins = {path: path.read_text() for path in tmp_path.rglob("*.dvc") if path.is_file()}
    done = CliRunner().invoke(app, ["coco", str(tmp_path / "data" / "coco"), "--mirror", mirror.address, "--json"])
    assert done.exit_code == 0, done.output
    assert json.loads(done.stdout)["splits"]["val"] == {"images": 2, "shards": 1}
    if pinned_above:
        assert "data.dvc pins all of data" in " ".join(done.stderr.split())
        assert pins == {path: path.read_text() for path in pins}
    assert (tmp_path / "data" / "coco.dvc").exists() != pinned_above


def test_a_download_that_breaks_off_goes_on_where_it_ended(mirror, published, tmp_path):
    mirror.breaks_off_after = [100, 50, 0]
    get(tmp_path / "coco", list(published), mirror.address)
    assert mirror.asked[:4] == ["bytes=0-", "bytes=100-", "bytes=150-", "bytes=150-"]


def test_a_server_without_ranges_sends_all_of_it_again(mirror, published, tmp_path):
    mirror.ranges, mirror.breaks_off_after = False, [100]
    get(tmp_path / "coco", list(published), mirror.address)
    assert verify(tmp_path / "coco").ok


def test_a_server_that_gives_nothing_ends_it_and_the_next_command_goes_on(mirror, published, tmp_path):
    mirror.breaks_off_after = [100, *[0] * 5]
    with pytest.raises(YolabError, match=r"100 of \d+ bytes are there"):
        get(tmp_path / "coco", list(published), mirror.address)
    assert [path.name for path in tmp_path.glob("coco*")] == ["coco.downloads"]
    mirror.asked.clear()
    get(tmp_path / "coco", list(published), mirror.address)
    assert mirror.asked[0] == "bytes=100-"


def test_another_file_than_the_published_one_is_refused(mirror, published, tmp_path):
    path = "/annotations/both.zip"
    mirror.files[path] = bytes(len(mirror.files[path]))
    with pytest.raises(YolabError, match="is not the published file"):
        get(tmp_path / "coco", list(published), mirror.address)
    assert [path.name for path in tmp_path.glob("coco*/*")] == ["train.zip"]


def test_a_file_that_is_not_there_and_an_address_that_is_none_are_told_at_once(mirror, published, tmp_path):
    mirror.files.clear()
    with pytest.raises(YolabError, match="404"):
        get(tmp_path / "coco", list(published), mirror.address)
    assert len(mirror.asked) == 1
    with pytest.raises(UsageError, match="begins with http"):
        get(tmp_path / "coco", list(published), "images.example.org")


def test_a_link_to_another_disk_is_filled_there(mirror, published, tmp_path):
    (tmp_path / "disk").mkdir()
    (tmp_path / "coco").symlink_to(tmp_path / "disk")
    get(tmp_path / "coco", list(published), mirror.address)
    assert (tmp_path / "coco").is_symlink()
    assert verify(tmp_path / "coco").ok


def test_a_disk_that_is_too_small_is_told_before_anything_comes(mirror, published, tmp_path, monkeypatch):
    monkeypatch.setattr(coco_download.shutil, "disk_usage", lambda path: SimpleNamespace(free=100))
    with pytest.raises(UsageError, match="COCO needs"):
        get(tmp_path / "coco", list(published), mirror.address)
    assert not mirror.asked
