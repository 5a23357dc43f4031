"""In and out of a PACS: a receiver with a durable queue, and DICOMweb and DIMSE clients.

The receiver (``claire-dsa listen``) is a :class:`~ClaireDSALib.pacs.station.Station`; the clients
(``claire-dsa fetch`` and ``push``) are in :mod:`ClaireDSALib.pacs.fetch` and
:mod:`ClaireDSALib.pacs.push`. Nothing is imported here, so that importing the package is free.
"""
