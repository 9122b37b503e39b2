"""Object stores addressed by URI: the only room that knows S3.

store         `Store`: read, write, write once, list, verify
s3_objects    objects in any S3-compatible store, with retries up to a deadline
local_objects objects in a local folder
home          where this machine's own state lies (`./.aufleet`) and which root is in use
local_server  a real S3 server on loopback: start, stop, status
seaweedfs     the program behind it
"""

from aufleet.storage.home import root_uri, state_dir
from aufleet.storage.store import Store, StoredObject, open_store, sha256_of

__all__ = ["Store", "StoredObject", "open_store", "root_uri", "sha256_of", "state_dir"]
