"""What ``claire-dsa listen`` and ``fetch`` do once their options are understood."""

from __future__ import annotations

import logging
import signal
import sqlite3
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ClaireDSALib.cli.console import BAD_USAGE, DONE, NOTHING_USABLE, SOME_FAILED, bar, complain, say, say_json
from ClaireDSALib.dsa.strict_json import read_object
from ClaireDSALib.pacs.remote import Remote


def fetch_studies(
    remote: Remote,
    out: Path,
    *,
    studies: Sequence[str],
    where: Sequence[str],
    most: int,
    everything: bool,
    as_json: bool,
) -> int:
    """Fetch named and searched studies and return the exit code."""
    from ClaireDSALib.pacs.fetch import ANGIOGRAPHY, Fetched, fetch_study
    from ClaireDSALib.pacs.http_session import RemoteError

    found: dict[str, Fetched] = {}
    try:
        source = _source(remote)
        wanted = _wanted(source, remote, studies, where, most)
        for uid in wanted:
            with bar("fetching") as tell:
                found[uid] = fetch_study(
                    source,
                    uid,
                    out,
                    modalities=() if everything else ANGIOGRAPHY,
                    told=lambda done, total: tell(done / max(total, 1), f"fetching, {done} of {total}"),
                )
    except (RemoteError, ValueError) as problem:
        complain(str(problem))
        return BAD_USAGE if isinstance(problem, ValueError) else NOTHING_USABLE
    if not found:
        complain("no study matches")
        return NOTHING_USABLE
    if as_json:
        say_json(
            {
                uid: {"folder": str(one.folder), "objects": one.n_objects, "new": one.n_new, "failed": one.failed}
                for uid, one in found.items()
            }
        )
    for one in found.values():
        if not as_json:
            say(f"{one.n_objects} objects, {one.n_new} of them new: {one.folder}")
        for uid, reason in one.failed.items():
            complain(f"  not fetched, {uid}: {reason}")
    return SOME_FAILED if any(one.failed for one in found.values()) else DONE


def _source(remote: Remote) -> Any:
    if remote.kind == "web":
        from ClaireDSALib.pacs.dicomweb import DicomWeb
        from ClaireDSALib.pacs.http_session import HttpSession

        return DicomWeb(HttpSession(remote))
    from ClaireDSALib.pacs.dimse_fetch import DimseSource

    return DimseSource(remote)


def _wanted(source: Any, remote: Remote, studies: Sequence[str], where: Sequence[str], most: int) -> list[str]:
    from ClaireDSALib.pacs.identity import is_uid

    named = [*studies, *([remote.study_uid] if remote.study_uid else [])]
    for uid in named:
        if not is_uid(uid):
            msg = f"{uid!r} is no Study Instance UID"
            raise ValueError(msg)
    if not named and not where:
        msg = "name a study in the address or with --study, or search with --where KEYWORD=VALUE"
        raise ValueError(msg)
    query = {}
    for one in where:
        name, equals, value = one.partition("=")
        if not equals or not name:
            msg = f"--where is written KEYWORD=VALUE; got {one!r}"
            raise ValueError(msg)
        query[name] = value
    if query:
        found = source.studies(query, most=most + 1)
        if len(found) > most:
            msg = f"more than {most} studies match; narrow the search or raise --most"
            raise ValueError(msg)
        named += found
    return list(dict.fromkeys(named))


def listen_settings(path: Path | None, options: dict[str, Any], device: str | None) -> Any:
    """Settings of a receiver from a JSON file and the command line, which wins.

    Raises
    ------
    ValueError
        For a file that cannot be read, an unknown name, or a value outside its range.
    """
    from ClaireDSALib.pacs.access import Peer
    from ClaireDSALib.pacs.settings import ListenSettings

    try:
        data = read_object(path) if path is not None else {}
    except (OSError, ValueError) as problem:
        msg = f"{path} cannot be read: {problem}"
        raise ValueError(msg) from problem
    data.update({name: value for name, value in options.items() if value is not None})
    if options.get("peers"):
        data["peers"] = [Peer.parse(text) for text in options["peers"]]
    if device is not None:
        data["analysis"] = {**data.get("analysis", {}), "device": device}
    return ListenSettings.from_dict(data)


def serve(settings: Any, *, verbose: bool) -> int:
    """Run a receiver until it is told to end; return the exit code."""
    logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(levelname)s %(message)s")
    logging.getLogger("ClaireDSALib").setLevel(logging.DEBUG if verbose else logging.INFO)
    for name in ("pynetdicom", "pydicom"):  # they log identifiers of patients, and peers' mistakes as errors of ours
        logging.getLogger(name).setLevel(logging.CRITICAL)
    from ClaireDSALib.pacs.station import Station

    station = None
    try:
        station = Station(settings)
        station.start()
    except (RuntimeError, ValueError, OSError, sqlite3.Error) as problem:
        complain(f"the receiver cannot start: {problem}")
        if station is not None:
            station.stop()
        return NOTHING_USABLE
    ended = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: ended.set())
    say(f"{settings.ae_title} listens on {settings.host}:{station.port}; health on 127.0.0.1:{station.health_port}")
    say("Research software, not a medical device. Ctrl+C ends it; what was received is kept.")
    while not ended.wait(1.0):
        pass
    station.stop()
    return DONE


def show_or_retry(folder: Path, retry: Sequence[str], *, as_json: bool) -> int:
    """List the studies of a receiver's folder, after taking back those named by ``retry``."""
    from ClaireDSALib.pacs.identity import short_key
    from ClaireDSALib.pacs.journal import Journal
    from ClaireDSALib.pacs.study_queue import StudyQueue

    path = folder / "queue.sqlite"
    if not path.is_file():
        complain(f"there is no queue in {folder}")
        return NOTHING_USABLE
    journal = Journal(path)
    try:
        queue = StudyQueue(journal)
        keys = {short_key(str(one["study_uid"])): str(one["study_uid"]) for one in queue.studies()}
        unknown = [key for key in retry if not queue.try_again(keys.get(key, key))]
        for key in unknown:
            complain(f"no study {key} was set aside")
        studies = [{"study": short_key(str(one["study_uid"])), **one} for one in queue.studies()]
        if as_json:
            say_json(studies)
        else:
            for one in studies:
                say(f"{one['study']}  {one['state']:9}  {one['reason']}".rstrip())
            say(f"{len(studies)} studies")
    finally:
        journal.close()
    return SOME_FAILED if unknown else DONE
