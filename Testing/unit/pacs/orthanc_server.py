"""A real Orthanc with its DICOMweb plugin on loopback, in a temporary folder."""

from __future__ import annotations

import json
import shutil
import socket
import subprocess
import time
from pathlib import Path

import requests

PROGRAM = shutil.which("Orthanc") or "/usr/sbin/Orthanc"
PLUGIN = Path("/usr/share/orthanc/plugins/libOrthancDicomWeb.so")
USER, PASSWORD = "tester", "a-password-for-tests"
_PATIENCE_S = 60.0


def missing() -> str:
    """Why Orthanc cannot be started here, empty when it can."""
    if not Path(PROGRAM).is_file():
        return "Orthanc is not installed (Debian package orthanc)"
    return "" if PLUGIN.is_file() else "Orthanc's DICOMweb plugin is not installed (Debian package orthanc-dicomweb)"


class Orthanc:
    """One server; a context manager."""

    def __init__(self, folder: Path, *, modalities: dict | None = None, **settings: object) -> None:
        self.folder = folder
        self.title, self.web_port, self.dicom_port = "ORTHANC", free_port(), free_port()
        self.settings = {
            "Name": "test",
            "StorageDirectory": str(folder / "db"),
            "IndexDirectory": str(folder / "db"),
            "Plugins": [str(PLUGIN)],
            "HttpPort": self.web_port,
            "DicomPort": self.dicom_port,
            "DicomAet": self.title,
            "RemoteAccessAllowed": False,
            "AuthenticationEnabled": True,
            "RegisteredUsers": {USER: PASSWORD},
            "DicomAlwaysAllowStore": True,
            "DicomAlwaysAllowFind": True,
            "DicomAlwaysAllowGet": True,
            "DicomModalities": modalities or {},
            "OverwriteInstances": False,
            "HttpThreadsCount": 4,
            "DicomWeb": {"Enable": True, "Root": "/dicom-web/"},
            **settings,
        }
        self.password_file = folder / "password"

    def __enter__(self) -> Orthanc:
        self.folder.mkdir(parents=True, exist_ok=True)
        self.password_file.write_text(PASSWORD + "\n")
        configuration = self.folder / "orthanc.json"
        configuration.write_text(json.dumps(self.settings))
        self._log = (self.folder / "log.txt").open("wb")
        self._process = subprocess.Popen([PROGRAM, str(configuration)], stdout=self._log, stderr=subprocess.STDOUT)
        deadline = time.monotonic() + _PATIENCE_S
        while time.monotonic() < deadline and self._process.poll() is None:
            try:
                if self.get("/system").ok:
                    return self
            except requests.ConnectionError:
                time.sleep(0.05)
        self.__exit__()
        text = (self.folder / "log.txt").read_text(errors="replace")[-2000:]
        msg = f"Orthanc did not start: {text}"
        raise RuntimeError(msg)

    def __exit__(self, *_: object) -> None:
        self._process.kill()  # closing its database in order takes seconds, and nobody wants it
        self._process.wait()
        self._log.close()

    @property
    def web_url(self) -> str:
        return f"dicomweb+http://127.0.0.1:{self.web_port}/dicom-web"

    @property
    def dicom_url(self) -> str:
        return f"dicom://{self.title}@127.0.0.1:{self.dicom_port}"

    def get(self, path: str) -> requests.Response:
        return requests.get(f"http://127.0.0.1:{self.web_port}{path}", auth=(USER, PASSWORD), timeout=10)

    def instances(self) -> dict[str, str]:
        """SOP Instance UID -> Orthanc's own identifier, of everything it has."""
        found = self.get("/instances?expand").json()
        return {one["MainDicomTags"]["SOPInstanceUID"]: one["ID"] for one in found}

    def file(self, sop_instance_uid: str) -> bytes:
        """The stored file, byte for byte."""
        return self.get(f"/instances/{self.instances()[sop_instance_uid]}/file").content

    def clear(self) -> None:
        """Delete everything."""
        base = f"http://127.0.0.1:{self.web_port}"
        for one in self.get("/patients").json():
            requests.delete(f"{base}/patients/{one}", auth=(USER, PASSWORD), timeout=10)

    def changes(self) -> int:
        """How often an object was newly stored since the start."""
        found = self.get("/changes?limit=100000").json()["Changes"]
        return sum(one["ChangeType"] == "NewInstance" for one in found)


def free_port() -> int:
    """A port that was free a moment ago."""
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]
