"""Lazily decoded frames: bytes on disk -> stored values -> normalised values (contrast dark, unsigned)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
import numpy.typing as npt

from ClaireDSALib.dsa.decode_codecs import NATIVE, FrameFormat, decode
from ClaireDSALib.dsa.decode_errors import DecodeError
from ClaireDSALib.dsa.dicom_bytes import ByteSource, read_bytes
from ClaireDSALib.dsa.dicom_fragments import Span
from ClaireDSALib.dsa.pixels import Normalisation
from ClaireDSALib.dsa.series import Frame, FrameSource


@dataclass(frozen=True)
class DicomFrames:
    """Frames of one SOP instance.

    Parameters
    ----------
    source : ByteSource
    form : FrameFormat
    spans : tuple of tuple of (offset, length)
        Fragments of every frame.
    normalisation : Normalisation
    big_endian : bool
    name : str
        How to call the run in an error message; nothing of the patient.
    """

    source: ByteSource = field(repr=False)
    form: FrameFormat
    spans: tuple[tuple[Span, ...], ...] = field(repr=False)
    normalisation: Normalisation = field(default_factory=Normalisation)
    big_endian: bool = False
    name: str = "run"

    @property
    def shape(self) -> tuple[int, int, int]:
        return len(self.spans), self.form.rows, self.form.columns

    @property
    def dtype(self) -> np.dtype:
        table = self.normalisation.table
        return self.form.dtype if table is None else table.dtype

    def read(self, index: int) -> Frame:
        """Decode frame ``index`` into fresh memory: ``(H, W)``, contrast dark.

        Raises
        ------
        DecodeError
            When the frame is damaged or the file has gone.
        """
        return self.read_into(index, np.empty(self.shape[1:], self.form.dtype))

    def read_into(self, index: int, buffer: npt.NDArray) -> Frame:
        """Decode frame ``index``, using ``buffer`` of ``(H, W)`` as memory where its dtype fits."""
        if buffer.dtype != self.form.dtype:
            buffer = np.empty(self.shape[1:], self.form.dtype)
        try:
            stored = self._stored(self.spans[index], buffer)
        except (OSError, EOFError) as error:
            msg = f"frame {index + 1} of {self.name} cannot be read: {_reason(error)}"
            raise DecodeError(msg) from error
        except DecodeError as error:
            msg = f"frame {index + 1} of {self.name} cannot be decoded: {error}"
            raise DecodeError(msg) from error
        return self.normalisation.apply(stored)

    def _stored(self, spans: Sequence[Span], buffer: npt.NDArray) -> npt.NDArray:
        if self.form.transfer_syntax in NATIVE:
            return self._native(spans[0], buffer)
        return decode(b"".join(read_bytes(self.source, *span) for span in spans), self.form, buffer)

    def _native(self, span: Span, buffer: npt.NDArray) -> npt.NDArray:
        count = self.source.read_into(span[0], buffer.data.cast("B"))
        if count < span[1]:
            msg = f"{count} of {span[1]} bytes are there"
            raise EOFError(msg)
        if self.big_endian and buffer.dtype.itemsize == 2:
            buffer.byteswap(inplace=True)
        return buffer


@dataclass(frozen=True)
class SelectedFrames:
    """Some frames of another source, in another order: what is left when duplicates are dropped."""

    base: FrameSource
    indices: tuple[int, ...]

    @property
    def shape(self) -> tuple[int, int, int]:
        return len(self.indices), *self.base.shape[1:]

    @property
    def dtype(self) -> np.dtype:
        return self.base.dtype

    def read(self, index: int) -> Frame:
        return self.base.read(self.indices[index])

    def read_into(self, index: int, buffer: npt.NDArray) -> Frame:
        into = getattr(self.base, "read_into", None)
        return self.base.read(self.indices[index]) if into is None else into(self.indices[index], buffer)


@dataclass(frozen=True)
class JoinedFrames:
    """Single-frame instances, or several multi-frame ones, one behind the other."""

    parts: tuple[DicomFrames, ...] = field(repr=False)

    def __post_init__(self) -> None:
        kinds = {(part.shape[1:], part.dtype) for part in self.parts}
        if len(kinds) != 1:
            msg = f"frames of one run must share size and type; got {sorted(map(str, kinds))}"
            raise ValueError(msg)

    @cached_property
    def _where(self) -> tuple[tuple[int, int], ...]:
        return tuple((p, k) for p, part in enumerate(self.parts) for k in range(part.shape[0]))

    @property
    def shape(self) -> tuple[int, int, int]:
        return len(self._where), *self.parts[0].shape[1:]

    @property
    def dtype(self) -> np.dtype:
        return self.parts[0].dtype

    def read(self, index: int) -> Frame:
        part, frame = self._where[index]
        return self.parts[part].read(frame)

    def read_into(self, index: int, buffer: npt.NDArray) -> Frame:
        part, frame = self._where[index]
        return self.parts[part].read_into(frame, buffer)


def _reason(error: OSError | EOFError) -> str:
    # An OSError's own text carries the path, and paths carry names of patients.
    return str(error) if isinstance(error, EOFError) else error.strerror or type(error).__name__
