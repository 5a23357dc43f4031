"""A server of associations that a slow, greedy or lying peer cannot tie up.

pynetdicom reads what a peer announces, however long it takes and however much it is. Here each read has
a deadline and a size, objects go to disk while they arrive, and TLS is negotiated beside the loop that
accepts connections.
"""

from __future__ import annotations

import contextlib
import logging
import queue
import socket
import ssl
import struct
import time
from collections.abc import Callable
from io import BytesIO
from typing import TYPE_CHECKING, Any, cast

from pydicom.uid import UID
from pynetdicom.dimse import DIMSEServiceProvider
from pynetdicom.dimse_messages import C_STORE_RQ
from pynetdicom.pdu_primitives import A_P_ABORT, P_DATA
from pynetdicom.transport import AssociationSocket, RequestHandler, ThreadedAssociationServer

from ClaireDSALib.dsa.decode_codecs import IMPLICIT_LITTLE
from ClaireDSALib.pacs.access import AccessControl, Limits
from ClaireDSALib.pacs.spool import IncomingObject

if TYPE_CHECKING:
    from pynetdicom.association import Association

_LOG = logging.getLogger(__name__)

_PDU_HEADER_BYTES = 6
_PDU_TYPES = frozenset(range(1, 8))
_PDU_SLACK_BYTES = 64 * 1024
"""An association request may be longer than a data unit: 128 proposed contexts with many syntaxes each."""
_READ_BYTES = 64 * 1024
_MAX_COMMAND_BYTES = 64 * 1024
_MAX_QUERY_BYTES = 1024 * 1024

Refused = Callable[[str, str], None]
"""``refused(address, reason)``: somebody was turned away."""


class GuardedServer(ThreadedAssociationServer):
    """Association server that knows whom to admit.

    Parameters
    ----------
    access : AccessControl
    begin_object : callable
        Makes the :class:`IncomingObject` of each C-STORE request.
    refused : callable
        Told ``(address, reason)`` when a connection or association is refused or cut off.
    """

    daemon_threads = True
    request_queue_size = 128

    def __init__(
        self,
        *arguments: Any,
        access: AccessControl,
        begin_object: Callable[[], IncomingObject],
        refused: Refused,
        **options: Any,
    ) -> None:
        self.access, self.begin_object, self.refused = access, begin_object, refused
        super().__init__(*arguments, **{**options, "request_handler": _GuardedHandler})

    def get_request(self) -> tuple[socket.socket, Any]:
        """Accept only: a TLS handshake here would let one silent peer stop everybody."""
        return cast(socket.socket, self.socket).accept()

    def verify_request(self, request: Any, client_address: Any) -> bool:  # noqa: ARG002
        """Judge a connection by where it comes from, before a thread is spent on it."""
        reason = self.access.admit(client_address[0])
        if reason:
            self.refused(client_address[0], reason)
        return not reason

    def finish_request(self, request: Any, client_address: Any) -> None:
        """In the connection's own thread: negotiate TLS, then start the association."""
        address = client_address[0]
        try:
            request = self._encrypted(request)
            request.settimeout(self.access.limits.pdu_s)
        except (OSError, ValueError) as problem:
            self.access.leave(address)
            self.refused(address, f"the TLS handshake failed ({_plain(problem)})")
            with contextlib.suppress(OSError):
                request.close()
            return
        try:
            super().finish_request(request, client_address)
        except BaseException:
            self.access.leave(address)
            raise

    def handle_error(self, request: Any, client_address: Any) -> None:  # noqa: ARG002
        """A connection that fails in a way nobody foresaw costs a log line, not the service."""
        _LOG.exception("a connection from %s failed", client_address[0])

    def _encrypted(self, request: socket.socket) -> socket.socket:
        if self.ssl_context is None:
            return request
        request.settimeout(self.access.limits.negotiation_s)
        return self.ssl_context.wrap_socket(request, server_side=True)


class _GuardedHandler(RequestHandler):
    """Builds associations from guarded parts."""

    def _create_association(self) -> Association:
        assoc = super()._create_association()
        server = cast(GuardedServer, self.server)
        with contextlib.suppress(queue.Empty):
            assoc.dul.event_queue.get_nowait()  # the plain socket announced the connection; ours does so again
        guarded = _GuardedSocket(assoc, self.request, server.access.limits, server.refused)
        provider = _SpoolingProvider(assoc, server.begin_object, server.refused)
        assoc.dul.socket, assoc.dimse = guarded, provider
        assoc.dul.daemon = assoc.daemon = True

        def protected(reactor: Callable[[], None]) -> Callable[[], None]:
            def run() -> None:
                try:
                    reactor()
                except Exception as problem:  # noqa: BLE001 - whatever hostile bytes cause ends this association only
                    server.refused(self.client_address[0], f"broke the protocol ({type(problem).__name__}: {problem})")
                    assoc.is_aborted, assoc.is_established, assoc._kill = True, False, True
                    assoc.dul.kill_dul()
                    guarded._shutdown_socket()

            return run

        def run_association() -> None:
            try:
                protected(assoc.run_reactor)()
            finally:
                server.access.leave(self.client_address[0])
                guarded.complain_of_silence()
                provider.discard_unfinished()

        assoc.run = run_association  # type: ignore[method-assign]
        assoc.dul.run = protected(assoc.dul.run_reactor)  # type: ignore[method-assign]
        return assoc


class _GuardedSocket(AssociationSocket):
    """Reads with a deadline, and no more than was agreed."""

    def __init__(self, assoc: Association, connection: socket.socket, limits: Limits, refused: Refused) -> None:
        super().__init__(assoc, client_socket=connection)
        self._limits, self._refused = limits, refused
        self._address = connection.getpeername()[0]
        self._opened_at = time.monotonic()
        self._has_spoken = False
        self._object_since: float | None = None

    def recv(self, nr_bytes: int) -> bytearray:
        """Return ``nr_bytes`` bytes, fewer when the peer hung up.

        Raises
        ------
        OSError
            When it takes too long or is too much; the association ends.
        """
        if nr_bytes > self._limits.max_pdu_bytes + _PDU_SLACK_BYTES:
            self._cut_off(f"announced a data unit of {nr_bytes} bytes")
        seconds = self._limits.pdu_s if self._has_spoken else self._limits.negotiation_s
        data = self._read(nr_bytes, time.monotonic() + seconds, seconds)
        if nr_bytes == _PDU_HEADER_BYTES and len(data) == nr_bytes:
            self._judge_header(data)
        elif not self._has_spoken:
            self.assoc.dul.to_user_queue.put(A_P_ABORT())  # hung up: nobody need wait for a request
        return data

    def complain_of_silence(self) -> None:
        """Report a peer that held the connection without a word; one that hung up at once was a port check."""
        if not self._has_spoken and time.monotonic() - self._opened_at >= self._limits.negotiation_s:
            self._refused(self._address, f"no association request within {self._limits.negotiation_s:g} s")
            self._has_spoken = True

    def _shutdown_socket(self) -> None:
        """Close in any case; pynetdicom leaves a socket open that the other side has closed already."""
        connection = cast(socket.socket, self.socket)
        with contextlib.suppress(OSError, AttributeError):
            connection.shutdown(socket.SHUT_RDWR)
        with contextlib.suppress(OSError, AttributeError):
            connection.close()

    def _read(self, nr_bytes: int, deadline: float, seconds: float) -> bytearray:
        data = bytearray()
        while len(data) < nr_bytes:
            left = deadline - time.monotonic()
            if left <= 0 or self.socket is None:
                self._cut_off(f"took more than {seconds:g} s for {nr_bytes} bytes")
            connection = cast(socket.socket, self.socket)
            connection.settimeout(max(left, 0.001))
            try:
                chunk = connection.recv(min(_READ_BYTES, nr_bytes - len(data)))
            except TimeoutError:
                continue
            if not chunk:
                break
            data += chunk
        return data

    def _judge_header(self, header: bytearray) -> None:
        kind = struct.unpack_from(">B", header)[0]
        if kind not in _PDU_TYPES or (not self._has_spoken and kind != 1):
            self._cut_off("does not speak DICOM")
        self._has_spoken = True
        message = self.assoc.dimse.message
        if message is None:
            self._object_since = None
        elif self._object_since is None:
            self._object_since = time.monotonic()
        elif time.monotonic() - self._object_since > self._limits.object_s:
            self._cut_off(f"took more than {self._limits.object_s:g} s for one object")

    def _cut_off(self, reason: str) -> None:
        self._has_spoken = True
        self._refused(self._address, reason)
        raise ConnectionAbortedError(reason)


class _SpoolingProvider(DIMSEServiceProvider):
    """Lets the data set of a C-STORE request flow to disk, and bounds everything else that is kept in memory."""

    def __init__(self, assoc: Association, begin_object: Callable[[], IncomingObject], refused: Refused) -> None:
        super().__init__(assoc)
        self._begin_object, self._refused = begin_object, refused
        self._unfinished: set[_Sink] = set()

    def receive_primitive(self, primitive: P_DATA) -> None:
        """Take one data unit; its fragments one by one, for the first may be a command and the next its data."""
        try:
            for fragment in primitive.presentation_data_value_list:
                one = P_DATA()
                one.presentation_data_value_list = cast(Any, [list(fragment)])  # it insists on lists
                super().receive_primitive(one)
                self._prepare_for_data()
        except Exception as problem:  # noqa: BLE001 - whatever hostile bytes cause ends this association only
            self._refused(self.assoc.requestor.address, f"sent a damaged message ({type(problem).__name__})")
            self.discard_unfinished()
            self.dul.event_queue.put("Evt19")  # invalid data unit: abort (PS3.8 table 9-10)

    def discard_unfinished(self) -> None:
        """Throw away objects that nobody answered before the association ended."""
        for sink in list(self._unfinished):
            sink.close()

    def _prepare_for_data(self) -> None:
        message = self.message
        if message is None:
            return
        if (
            message.encoded_command_set.tell() > _MAX_COMMAND_BYTES
            or cast(BytesIO, message.data_set).tell() > _MAX_QUERY_BYTES
        ):
            msg = "a command or query is longer than any real one"
            raise ValueError(msg)
        if isinstance(message, C_STORE_RQ) and message._data_set_file is None:
            sink = _Sink(self._begin_object(), _file_head(message, self.assoc), self._unfinished)
            message._data_set_file, message._data_set_path = cast(Any, sink), sink.incoming.path


class _Sink:
    """What pynetdicom takes for a temporary file."""

    def __init__(self, incoming: IncomingObject, head: bytes, unfinished: set[_Sink]) -> None:
        self.incoming, self._unfinished = incoming, unfinished
        unfinished.add(self)
        self.name = str(incoming.path)
        self.file = self
        incoming.write(head)

    def write(self, data: bytes) -> None:
        self.incoming.write(data)

    def flush(self) -> None:
        """Once at the end is enough, see :meth:`IncomingObject.finish`."""

    def close(self) -> None:
        """Forget the file; one that was kept has another name by now."""
        self._unfinished.discard(self)
        self.incoming.discard()


def incoming_of(request: Any) -> IncomingObject | None:
    """Return the object that a C-STORE request brought; None when it brought none."""
    sink = request._dataset_file
    return sink.incoming if isinstance(sink, _Sink) else None


def _file_head(message: Any, assoc: Association) -> bytes:
    """Preamble and file meta group (PS3.10 section 7.1) for a data set that arrives without."""
    from pynetdicom.dsutils import create_file_meta, encode_file_meta

    command, context = message.command_set, assoc._accepted_cx.get(message.context_id)
    meta = create_file_meta(
        sop_class_uid=command.AffectedSOPClassUID,
        sop_instance_uid=command.AffectedSOPInstanceUID,
        transfer_syntax=context.transfer_syntax[0] if context is not None else UID(IMPLICIT_LITTLE),
    )
    return b"\0" * 128 + b"DICM" + encode_file_meta(meta)


def _plain(problem: Exception) -> str:
    if isinstance(problem, ssl.SSLError):
        return problem.reason or type(problem).__name__
    return str(problem)
