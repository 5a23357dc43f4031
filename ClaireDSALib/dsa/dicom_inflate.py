"""Unpack deflated data sets (PS3.5 annex A.5) with a limit on what they may grow to."""

from __future__ import annotations

import zlib
from typing import BinaryIO

from pydicom.dataset import FileMetaDataset
from pydicom.filebase import DicomBytesIO
from pydicom.filewriter import write_file_meta_info
from pydicom.uid import UID

from ClaireDSALib.dsa.decode_codecs import EXPLICIT_LITTLE
from ClaireDSALib.dsa.decode_errors import UnusableError
from ClaireDSALib.dsa.dicom_bytes import ByteSource, Spool

_MAX_INFLATED_BYTES = 8 * 2**30
_MAX_INFLATION = 1100
"""Deflate cannot expand further than about 1032 times."""


def inflate(stream: BinaryIO, source: ByteSource) -> ByteSource:
    """Unpack a deflated data set behind a fresh plain file header (PS3.5 annex A.5)."""
    spool = Spool()
    meta = FileMetaDataset()
    meta.TransferSyntaxUID = UID(EXPLICIT_LITTLE)
    head = DicomBytesIO()
    write_file_meta_info(head, meta, enforce_standard=False)
    spool.append(b"\0" * 128 + b"DICM" + head.getvalue())
    limit = min(_MAX_INFLATED_BYTES, _MAX_INFLATION * source.size)
    unpacker = zlib.decompressobj(-zlib.MAX_WBITS)
    while chunk := stream.read(1 << 16):
        while chunk and not unpacker.eof:
            spool.append(unpacker.decompress(chunk, 1 << 20))
            chunk = unpacker.unconsumed_tail
        if spool.size > limit:
            msg = f"the deflated data set unpacks to more than {limit} bytes"
            raise UnusableError(msg)
    return spool.slice_from(0)
