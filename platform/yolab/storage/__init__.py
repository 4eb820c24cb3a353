"""Where runs, sweeps and what belongs to them are kept."""

from yolab.storage.folder import Folder
from yolab.storage.named import is_remote, local_file, storage_at
from yolab.storage.place import Storage

__all__ = ["Folder", "Storage", "is_remote", "local_file", "storage_at"]
